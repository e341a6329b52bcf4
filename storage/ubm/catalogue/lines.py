"""Patterns in lines of text, many at a time."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from wendelin.storage.ubm.catalogue.sets import PIECE, Mask

#: Behind each line: no byte of UTF-8. In a part of a pattern: any letter, but no end.
END = b"\xff"

Bytes = NDArray[np.uint8]


def between_stars(pieces: list[bytes], parts: list[str], pattern: re.Pattern[str]) -> Mask:
    """Which lines fit `pattern`, `"*".join(parts)` without brackets. Each piece has `sets.PIECE` lines with their ends.

    As one matches by hand: of each part the first place behind the one before, in all lines at once.
    """
    encoded = [part.encode("utf-8", "surrogatepass").replace(b"?", END) for part in parts]
    wild = any(END in part for part in encoded)
    return np.concatenate(
        [
            np.zeros(0, np.bool_),
            *(
                fitting([data], pattern) if wild and not data.replace(END, b"").isascii() else _between(data, encoded)
                for data in pieces
            ),
        ]
    )


def _between(data: bytes, parts: list[bytes]) -> Mask:
    first, *inner, last = parts if len(parts) > 1 else (*parts, b"")
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == END[0])
    begins = np.concatenate([[0], ends[:-1] + 1])
    fits, reached = _stands_at(text, begins, first), begins + len(first)
    if len(parts) == 1:
        fits &= reached == ends
        return fits
    for part in inner:
        places = np.append(_places(text, part), len(text))
        reached = places[np.searchsorted(places, np.minimum(reached, len(text)))] + len(part)
    fits &= reached + len(last) <= ends
    return fits & _stands_at(text, ends - len(last), last)


def fitting(pieces: list[bytes], pattern: re.Pattern[str]) -> Mask:
    """Which lines fit a pattern; looks at each."""
    match = pattern.match
    texts = (line.decode("utf-8", "surrogatepass") for data in pieces for line in data.split(END)[:PIECE])
    return np.fromiter((match(text) is not None for text in texts), np.bool_)


def _places(text: Bytes, part: bytes) -> NDArray[np.intp]:
    """Where a part begins within the text."""
    size = len(text) - len(part) + 1
    if not part or size <= 0:
        return np.arange(len(text)) if not part else np.zeros(0, np.intp)
    there = np.ones(size, np.bool_)
    for offset, letter in enumerate(part):
        some = text[offset : offset + size]
        there &= (some != letter) if letter == END[0] else (some == letter)
    return np.flatnonzero(there)


def _stands_at(text: Bytes, places: NDArray[np.intp], part: bytes) -> Mask:
    """Whether a part begins at each of these places."""
    fits = places >= 0
    fits &= places + len(part) <= len(text)
    inside = np.where(fits, places, 0)
    for offset, letter in enumerate(part):
        some = text[inside + offset]
        fits &= (some != letter) if letter == END[0] else (some == letter)
    return fits
