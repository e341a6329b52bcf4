"""The tail of an array: appended bytes that have no fixed place yet. Plain values only.

A transaction that appends cannot know where its bytes will lie: others may commit an append before it. So appended
bytes are a list of *pieces* `(segment, offset, nbytes)`, in bytes: `nbytes` of a segment from byte `offset` on, one
behind the other from byte `sealed` of the array on; segment 0 stands for zeros. Two transactions that appended merge
by putting one's pieces behind the other's. Later the tail is *sealed*: its bytes become runs of pages.

A piece is written so that it lies right for the place its writer expects: then most of its pages are mapped straight
from its segment. Pages where pieces meet, or of pieces that another append has shifted, are *assembled*.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wendelin.storage.arrays.runs import HOLE, PAGE, Run

Piece = tuple[int, int, int]


class Part(NamedTuple):
    """Bytes of an assembled range: from byte `at` of it on, `nbytes` of `segment` from byte `offset`."""

    at: int
    segment: int
    offset: int
    nbytes: int


class Assembled(NamedTuple):
    """A range of pages that is put together from parts; what no part names is zero."""

    start: int
    pages: int
    parts: tuple[Part, ...]

    @property
    def number(self) -> int:
        """Stands for a segment number: negative, the same for the same bytes."""
        return _number(self.pages, self.parts)


@functools.lru_cache(4096)
def _number(pages: int, parts: tuple[Part, ...]) -> int:
    digest = hashlib.blake2b(repr((pages, parts)).encode(), digest_size=8).digest()
    return -(int.from_bytes(digest, "big") >> 1) - 2


def length(tail: Sequence[Piece]) -> int:
    """Bytes of a tail."""
    return sum(nbytes for _, _, nbytes in tail)


def trimmed(tail: Sequence[Piece], nbytes: int) -> list[Piece]:
    """A tail without its first `nbytes` bytes, which were sealed."""
    out: list[Piece] = []
    for segment, offset, size in tail:
        cut = min(nbytes, size)
        nbytes -= cut
        if cut < size:
            out.append((segment, offset + cut if segment != HOLE else 0, size - cut))
    return out


def cut(tail: Sequence[Piece], nbytes: int) -> list[Piece]:
    """The first `nbytes` bytes of a tail."""
    out: list[Piece] = []
    for segment, offset, size in tail:
        if nbytes <= 0:
            break
        out.append((segment, offset, min(size, nbytes)))
        nbytes -= size
    return out


def joined(tail: Sequence[Piece]) -> list[Piece]:
    """The same bytes in the fewest pieces."""
    out: list[Piece] = []
    for segment, offset, size in tail:
        if out and out[-1][0] == segment and (segment == HOLE or out[-1][1] + out[-1][2] == offset):
            out[-1] = (segment, out[-1][1], out[-1][2] + size)
        elif size:
            out.append((segment, offset, size))
    return out


def laid_out(sealed: int, tail: Sequence[Piece], below: Sequence[Run]) -> tuple[list[Run], list[Assembled]]:
    """Pages of a tail that starts at byte `sealed`: runs that can be mapped as they are, and ranges to assemble.

    `below`: runs that store the page in which `sealed` lies; its first bytes are theirs.
    """
    runs: list[Run] = []
    assembled: list[Assembled] = []
    edges: dict[int, list[Part]] = {}
    if sealed % PAGE:
        edges[sealed // PAGE] = _stored_part(sealed, below)
    for begin, segment, offset, nbytes in _placed(sealed, tail):
        end = begin + nbytes
        first, last = -(-begin // PAGE), end // PAGE
        for lo, hi in [(begin, end)] if first > last else [(begin, first * PAGE), (last * PAGE, end)]:
            if lo < hi:
                edges.setdefault(lo // PAGE, []).append(Part(lo % PAGE, segment, offset + lo - begin, hi - lo))
        if first >= last or segment == HOLE:
            continue
        inside = offset + first * PAGE - begin
        if inside % PAGE == 0:
            runs.append((first, last - first, segment, inside // PAGE))
        else:
            assembled.append(Assembled(first, last - first, (Part(0, segment, inside, (last - first) * PAGE),)))
    assembled += [Assembled(page, 1, parts) for page, parts in _joined(edges)]
    return runs, assembled


def _joined(edges: dict[int, list[Part]]) -> Iterator[tuple[int, tuple[Part, ...]]]:
    for page, parts in edges.items():
        real = tuple(part for part in parts if part.segment != HOLE)
        if real:
            yield page, real


def _stored_part(sealed: int, below: Sequence[Run]) -> list[Part]:
    """The bytes below `sealed` of the page that it lies in."""
    page = sealed // PAGE
    return [
        Part(0, segment, (offset + page - start) * PAGE, sealed % PAGE)
        for start, length, segment, offset in below
        if start <= page < start + length and segment != HOLE
    ]


def _placed(sealed: int, tail: Sequence[Piece]) -> Iterator[tuple[int, int, int, int]]:
    position = sealed
    for segment, offset, nbytes in tail:
        yield position, segment, offset, nbytes
        position += nbytes
