"""Patterns in lines of text, many at a time."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from wendelin.storage.ubm.catalogue.sets import PIECE, Mask

#: Behind each line: no byte of UTF-8.
END = b"\xff"

Bytes = NDArray[np.uint8]


def between_stars(pieces: list[bytes], parts: list[str]) -> Mask:
    """Which lines fit `"*".join(parts)`. Each piece has `sets.PIECE` lines, each with its end.

    As one matches by hand: of each part the first place behind the one before, in all lines at once.
    """
    first, *inner, last = (part.encode("utf-8", "surrogatepass") for part in parts)
    masks = [np.zeros(0, np.bool_)]
    for data in pieces:
        text = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(text == END[0])
        reached = np.concatenate([[0], ends[:-1] + 1])
        fits = _stands_at(text, reached, first)
        reached = reached + len(first)
        for part in inner:
            places = np.append(_places(text, part), len(text))
            reached = places[np.searchsorted(places, np.minimum(reached, len(text)))] + len(part)
        fits &= reached + len(last) <= ends
        fits &= _stands_at(text, ends - len(last), last)
        masks.append(fits)
    return np.concatenate(masks)


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
    there = text[:size] == part[0]
    for offset, letter in enumerate(part[1:], 1):
        there &= text[offset : offset + size] == letter
    return np.flatnonzero(there)


def _stands_at(text: Bytes, places: NDArray[np.intp], part: bytes) -> Mask:
    """Whether a part begins at each of these places."""
    fits = places >= 0
    fits &= places + len(part) <= len(text)
    inside = np.where(fits, places, 0)
    for offset, letter in enumerate(part):
        fits &= text[inside + offset] == letter
    return fits
