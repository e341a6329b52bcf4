"""The log of an extent map: plain values in memory, bytes as they are stored.

A pickler that looks for persistent references asks at every single number, so a record holds its numbers as bytes. A
ZEO server imports this module to resolve conflicts: it needs nothing but `persistent`.
"""

from __future__ import annotations

import copy
import itertools
import operator
import struct
import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from wendelin.storage.arrays.runs import Interval, Run

#: Kinds of entries: what a program changed; bytes of the tail that got their fixed place; bytes that were moved.
WRITE, SEAL, MOVE = 0, 1, 2

#: (number, token, kind, runs): one transaction's changes. Numbers count, tokens are random.
Entry = tuple[int, int, int, list[Run]]

#: (number, blocks written, blocks sealed): of the entries that were folded, that one was the last to touch them.
Passed = tuple[int, list[Interval], list[Interval]]

#: What was folded: as a list, or as it is stored.
Summary = list[Passed] | bytes | tuple[bytes, ...]

State = dict[str, Any]

#: Number and bytes of a patch (see `wendelin.storage.arrays.patches`); before, a patch took four bytes for its length.
_PATCH, _PATCH_BEFORE = struct.Struct("<qH"), struct.Struct("<qI")

#: An entry of one page that has the token for its segment, as most patches: kind + 1, number, token, page.
_PAGE = struct.Struct("<BIqI")

#: Any other entry: 0, and how many numbers follow.
_ANY = struct.Struct("<BI")


#: The plain numbers of a state: pages_per_block, number, rows, sealed (both -1 for None), shaped, reshaped.
_NUMBERS = struct.Struct("<qqqqq?")

#: Before a column of a summary: the bytes of each of its numbers, and how many there are.
_COLUMN = struct.Struct("<BI")

#: Before columns of a summary of today; compressed ones of before begin with a byte of zlib's.
_NARROW = b"\x01"

#: Pages and numbers from which on 32 bits do not do.
_LARGE = 1 << 32


class Packer:
    """Makes a state what is stored of it. Only what came to its log since the last time is packed anew."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._segments: dict[int, Any] = {}
        self._log = self._patches = b""
        self._others: list[int] = []  # segments that are no patches

    def copy(self) -> Packer:
        """Another one that remembers the same."""
        return copy.copy(self)

    def packed_log(self, entries: list[Entry], segments: dict[int, Any]) -> tuple[tuple[bytes], bytes]:
        """Entries, and those of the segments that are patches."""
        self._pack(entries, segments)
        return (self._log,), self._patches

    def packed(self, state: State) -> State:
        """All as a few pieces of bytes, in one tuple, and the references: each object is one more for a pickler."""
        self._pack(state["entries"], state["segments"])
        rows, sealed = (-1 if state[name] is None else state[name] for name in ("rows", "sealed"))
        numbers = state["pages_per_block"], state["number"], rows, sealed, state["shaped"], state["reshaped"]
        return {
            "packed": (
                _NUMBERS.pack(*numbers),
                self._log,
                self._patches,
                packed_summary(state["passed"]),
                _bytes_of(list(itertools.chain.from_iterable(state["tail"]))),
                _bytes_of(self._others),
                [state["segments"][number] for number in self._others],
                state["base"],
            )
        }

    def _pack(self, entries: list[Entry], segments: dict[int, Any]) -> None:
        if not _begins(entries, self._entries):
            self._entries, self._log = [], b""
        if not (_begins(segments, self._segments) and _begins(segments.values(), self._segments.values())):
            self._segments, self._patches, self._others = {}, b"", []
        self._log += _packed_entries(entries[len(self._entries) :])
        for number, segment in itertools.islice(segments.items(), len(self._segments), None):
            if isinstance(segment, bytes):
                self._patches += _PATCH.pack(number, len(segment)) + segment
            else:
                self._others = [*self._others, number]
        self._entries, self._segments = entries, segments


def _begins(all_of_it: Collection[Any], first: Collection[Any]) -> bool:
    """Whether something begins with the very objects of `first`."""
    return len(first) <= len(all_of_it) and all(map(operator.is_, first, all_of_it))


def packed(state: State) -> State:
    """A state as it is stored."""
    return Packer().packed(state)


def upgraded(state: State) -> State:
    """A stored state of any version as one of today, unpacked. Issue 2 kept one list of runs, no log and no tail."""
    if "packed" in state:
        return _opened(state["packed"])
    if "entries" in state:
        return state if isinstance(state["entries"], list) else _unpacked(state)
    recent = state["recent"]
    return {
        "pages_per_block": state["pages_per_block"],
        "number": 1 if recent else 0,
        "entries": [(1, 0, WRITE, recent)] if recent else [],
        "passed": [],
        "segments": state["segments"],
        "base": state["base"],
        "tail": [],
        "sealed": None,
        "rows": None,
        "shaped": 0,
        "reshaped": False,
    }


def _opened(packed: tuple[bytes, bytes, bytes, Summary, bytes, bytes, list[Any], Any]) -> State:
    plain, log, patches, passed, tail, others, segments, base = packed
    pages_per_block, number, rows, sealed, shaped, reshaped = _NUMBERS.unpack(plain)
    return {
        "pages_per_block": pages_per_block,
        "number": number,
        "rows": None if rows < 0 else rows,
        "sealed": None if sealed < 0 else sealed,
        "shaped": shaped,
        "reshaped": reshaped,
        "entries": list(_unpacked_entries(log)),
        "passed": passed,
        "tail": _tuples(_ints_of(tail), 3),
        "segments": {**dict(zip(_ints_of(others), segments, strict=True)), **dict(pieces(_PATCH, patches))},
        "base": base,
    }


def _unpacked(state: State) -> State:
    """A state of before all of it was packed."""
    before = isinstance(state["entries"], bytes)
    numbers, references = state["segments"]
    rest = {name: value for name, value in state.items() if name != "patches"}
    return {
        **rest,
        "entries": list(_entries(_ints_of(state["entries"])) if before else _unpacked_entries(state["entries"][0])),
        "tail": _tuples(_ints_of(state["tail"]), 3),
        "segments": {
            **dict(zip(_ints_of(numbers), references, strict=True)),
            **dict(pieces(_PATCH_BEFORE if before else _PATCH, state.get("patches", b""))),
        },
    }


def unpacked_log(entries: tuple[bytes], patches: bytes) -> tuple[list[Entry], dict[int, bytes]]:
    """What `Packer.packed_log` has packed."""
    return list(_unpacked_entries(entries[0])), dict(pieces(_PATCH, patches))


def _packed_entries(entries: Iterable[Entry]) -> bytes:
    """Entries as bytes; those of two lists, one behind the other, are those of the joined list."""
    out: list[bytes] = []
    for number, token, kind, runs in entries:
        page, length, segment, offset = runs[0] if len(runs) == 1 else (_LARGE, 0, 0, 0)
        if segment == token and length == 1 and not offset and max(number, page) < _LARGE:
            out.append(_PAGE.pack(kind + 1, number, token, page))
        else:
            numbers = [number, token, kind, len(runs), *itertools.chain.from_iterable(runs)]
            out += [_ANY.pack(0, len(numbers)), _bytes_of(numbers)]
    return b"".join(out)


def _unpacked_entries(raw: bytes) -> Iterator[Entry]:
    at = 0
    while at < len(raw):
        if raw[at]:
            kind, number, token, page = _PAGE.unpack_from(raw, at)
            at += _PAGE.size
            yield number, token, kind - 1, [(page, 1, token, 0)]
        else:
            end = at + _ANY.size + 8 * _ANY.unpack_from(raw, at)[1]
            yield from _entries(_ints_of(raw[at + _ANY.size : end]))
            at = end


def _entries(log: list[int]) -> Iterator[Entry]:
    at = 0
    while at < len(log):
        number, token, kind, size = log[at : at + 4]
        yield number, token, kind, _tuples(log[at + 4 : at + 4 + 4 * size], 4)
        at += 4 + 4 * size


def packed_chunk(runs: list[Run], segments: dict[int, Any]) -> State:
    """Some runs of a base as they are stored."""
    numbers = _bytes_of(segments), list(segments.values())
    return {"runs": (_bytes_of(itertools.chain.from_iterable(runs)),), "segments": numbers}


def unpacked_chunk(state: State) -> State:
    """A stored chunk of any version."""
    if isinstance(state["runs"], list):
        return state
    numbers, references = state["segments"]
    segments = dict(zip(_ints_of(numbers), references, strict=True))
    return {"runs": _tuples(_ints_of(state["runs"][0]), 4), "segments": segments}


def packed_summary(passed: Summary) -> Summary:
    """What was folded, as it is stored: compressed bytes. It changes rarely, and is looked at rarely."""
    return (b"", _columns(passed)) if passed and isinstance(passed, list) else passed


def longer_summary(passed: Summary, more: list[Passed]) -> Summary:
    """`passed` and what was done since, where nothing is summed up: only what was added lately is packed anew."""
    if not isinstance(passed, tuple) or len(passed) < 2:
        return packed_summary([*unpacked_summary(passed), *more])
    late = [some for raw in passed[2:] for some in _uncolumned(raw)]
    return (b"", passed[1], _columns(late + more))


def _columns(passed: list[Passed]) -> bytes:
    """What was folded as compressed columns of similar numbers: they take a tenth of what rows take."""
    intervals = [interval for _, written, sealed in passed for interval in (*written, *sealed)]
    numbers = [number for number, _, _ in passed]
    columns = (
        numbers[:1],
        [after - before for before, after in itertools.pairwise(numbers)],
        [len(written) for _, written, _ in passed],
        [len(sealed) for _, _, sealed in passed],
        [lo for lo, _ in intervals],
        [hi - lo for lo, hi in intervals],
    )
    return _NARROW + zlib.compress(b"".join(map(_column, columns)))


def _column(numbers: list[int]) -> bytes:
    """Numbers from 0 on in as few bytes each as the largest one needs."""
    size = max(max(numbers, default=0).bit_length() + 7, 8) // 8
    return _COLUMN.pack(size, len(numbers)) + b"".join(number.to_bytes(size, "little") for number in numbers)


def _columns_of(raw: bytes) -> Iterator[list[int]]:
    at = 0
    while at < len(raw):
        size, count = _COLUMN.unpack_from(raw, at)
        at += _COLUMN.size
        end = at + size * count
        yield [int.from_bytes(raw[i : i + size], "little") for i in range(at, end, size)]
        at = end


def unpacked_summary(passed: Summary) -> list[Passed]:
    """What was folded, of any version."""
    if isinstance(passed, list):
        return passed
    if isinstance(passed, bytes) or len(passed) == 1:
        return _passed(_ints_of(passed if isinstance(passed, bytes) else zlib.decompress(passed[0])))
    return [some for raw in passed[1:] for some in _uncolumned(raw)]


def _uncolumned(raw: bytes) -> list[Passed]:
    if raw.startswith(_NARROW):
        first, steps, written, sealed, los, lengths = _columns_of(zlib.decompress(raw[len(_NARROW) :]))
        return _joined([*first, *steps], written, sealed, los, lengths)
    numbers = _ints_of(zlib.decompress(raw))
    count = numbers[0]
    names, written, sealed = (numbers[1 + i * count : 1 + (i + 1) * count] for i in range(3))
    rest = numbers[1 + 3 * count :]
    half = len(rest) // 2
    return _joined(names, written, sealed, rest[:half], rest[half:])


def _joined(
    steps: list[int], written: list[int], sealed: list[int], los: list[int], lengths: list[int]
) -> list[Passed]:
    intervals = iter([(lo, lo + length) for lo, length in zip(los, lengths, strict=True)])
    return [
        (number, list(itertools.islice(intervals, some)), list(itertools.islice(intervals, more)))
        for number, some, more in zip(itertools.accumulate(steps), written, sealed, strict=True)
    ]


def pieces(head: struct.Struct, raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Pieces that stand one behind the other, each behind a head of its number and its length."""
    at = 0
    while at < len(raw):
        number, length = head.unpack_from(raw, at)
        at += head.size
        yield number, raw[at : at + length]
        at += length


def _passed(numbers: list[int]) -> list[Passed]:
    out: list[Passed] = []
    at = 0
    while at < len(numbers):
        number, written, sealed = numbers[at : at + 3]
        intervals = _tuples(numbers[at + 3 : at + 3 + 2 * (written + sealed)], 2)
        out.append((number, intervals[:written], intervals[written:]))
        at += 3 + 2 * (written + sealed)
    return out


def _bytes_of(numbers: Iterable[int]) -> bytes:
    if not numbers:
        return b""
    values = array("q", numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _ints_of(raw: bytes) -> list[int]:
    values = array("q", raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def _tuples(numbers: list[int], size: int) -> list[Any]:
    return list(zip(*(numbers[i::size] for i in range(size)), strict=True))
