"""Array data behind database objects: `Pages`, some bytes; large segments as many `Pages` or as many blobs.

Tiny changes are stored as `Pages`, beside the extent map and in the same write: a blob would cost a file and two
directories more. `Chunks` serve storages that have no blobs, `Parts` those that send blobs over the wire, each whole.
All are immutable once stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from persistent import Persistent

#: Bytes of one chunk. Part of no format: each segment says its own.
CHUNK = 1 << 20

#: Bytes of one blob where blobs come over the wire. Part of no format either; `bench wire` compares sizes.
PART = 8 << 20


class File(Protocol):
    """Whatever has an open file, and keeps it open as long as it lives."""

    fd: int


class Pages(Persistent):
    """Some bytes of an array. They may still lie in a file when they are stored, and are never all in memory then."""

    data: bytes

    def __init__(
        self, data: bytes | None = None, *, file: File | None = None, offset: int = 0, nbytes: int = 0
    ) -> None:
        if data is not None:
            self.data = data
        else:
            self._v_file = (file, offset, nbytes)  # holds the file, which would be closed before this is stored

    def __getstate__(self) -> Any:
        file = self.__dict__.get("_v_file")
        if file is None:
            return super().__getstate__()
        source, offset, nbytes = file
        data = os.pread(source.fd, nbytes, offset)
        assert len(data) == nbytes, f"{len(data)} of {nbytes} bytes are there"
        return {"data": data}

    def __getattr__(self, name: str) -> Any:
        """Bytes that lie in a file still: the same that were stored."""
        if name != "data" or "_v_file" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self.__getstate__()["data"]

    def forget_file(self) -> None:
        """Now that it is stored: read from the database from now on."""
        if self.__dict__.pop("_v_file", None) is not None:
            self._p_deactivate()


class Chunks(Persistent):
    """A segment of `nbytes` in `parts` of `size` bytes, the last one maybe shorter."""

    def __init__(self, nbytes: int, size: int, parts: list[Pages]) -> None:
        self.nbytes = nbytes
        self.size = size
        self.parts = parts


class Parts(Persistent):
    """A segment of `nbytes` as blobs of `size` bytes, the last one maybe shorter."""

    def __init__(self, nbytes: int, size: int, parts: list[Any]) -> None:
        self.nbytes = nbytes
        self.size = size
        self.parts = parts

    def within(self, offset: int, nbytes: int) -> Iterator[tuple[Any, int, int]]:
        """Where `nbytes` from byte `offset` on lie: blob, byte of the blob, bytes."""
        end = offset + nbytes
        while offset < end:
            at = offset % self.size
            some = min(self.size - at, end - offset)
            yield self.parts[offset // self.size], at, some
            offset += some


for _class in (Pages, Chunks, Parts):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
