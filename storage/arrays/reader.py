"""Reading many pieces of segments, which lie in many files."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from ZODB.blob import Blob

from wendelin.storage.arrays.patches import Patched, applied
from wendelin.storage.arrays.runs import PAGE, Run, clip
from wendelin.storage.arrays.segments import opened, pread, read
from wendelin.storage.arrays.tail import Assembled

#: Files that a `Reader` keeps open.
_OPEN = 64


class Reader:
    """Reads many pieces of many segments; keeps some of their files open meanwhile."""

    def __init__(self, sources: dict[int, Any]) -> None:
        self._sources = sources
        self._files: dict[int, tuple[int, int]] = {}  # descriptor, bytes

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        for fd, _ in self._files.values():
            os.close(fd)
        self._files = {}

    def read(self, number: int, offset: int, nbytes: int) -> bytes:
        """As the function `read`."""
        return self._read(number, offset, nbytes, self._sources)

    def _read(self, number: int, offset: int, nbytes: int, sources: dict[int, Any]) -> bytes:
        source = sources[number]
        if isinstance(source, Patched):
            run, patches = source.layers()
            beneath = b"" if run is None else self._read(run[2], run[3] * PAGE, PAGE, source.segments)
            return applied(beneath, patches)[offset : offset + nbytes]
        if not isinstance(source, Blob):
            return read(source, offset, nbytes, sources)
        fd, size = self._files.get(number) or self._opened(number, source)
        if size < offset + nbytes:
            return read(source, offset, nbytes, sources)  # raises, and says why
        return pread(fd, nbytes, offset)

    def _opened(self, number: int, source: Any) -> tuple[int, int]:
        if len(self._files) >= _OPEN:
            os.close(self._files.pop(next(iter(self._files)))[0])
        with opened(source, 0) as fd:
            self._files[number] = (os.dup(fd), os.fstat(fd).st_size)
        return self._files[number]


def used(runs: list[Run], sources: dict[int, Any]) -> dict[int, Any]:
    """Of `sources` those that `runs` name, and those that the assembled ones of them are made of."""
    numbers = {run[2] for run in runs}
    joined = [source for number, source in sources.items() if number in numbers and isinstance(source, Assembled)]
    numbers.update(part.segment for some in joined for part in some.parts)
    return {number: source for number, source in sources.items() if number in numbers}


def contents(runs: list[Run], sources: dict[int, Any], first: int, count: int) -> npt.NDArray[np.uint8]:
    """What `count` pages from `first` on hold as `runs` have them, as a copy of shape (count, PAGE); zeros in holes."""
    out = np.zeros((count, PAGE), np.uint8)
    for start, length, number, offset in clip(runs, first, first + count):
        raw = read(sources[number], offset * PAGE, length * PAGE, sources)
        out[start - first : start - first + length] = np.frombuffer(raw, np.uint8).reshape(length, PAGE)
    return out
