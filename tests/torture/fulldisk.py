"""A disk that is full, or a quota that is used up, from the n-th write of this process on.

Only what takes room fails: writing, syncing, growing, and new names. Reading, removing and truncating work, as they do
on a real one. `tests/storage/test_disk_full.py` also has real full disks, for servers.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ZODB.FileStorage

_CALLS = ("write", "writev", "pwrite", "pwritev", "sendfile", "fsync", "rename", "replace", "link", "mkdir")


class Disk:
    """Counts calls that need room; from the n-th on they fail, or only that one does."""

    def __init__(self) -> None:
        self._left = 0
        self._lasting = False
        self._number = errno.ENOSPC
        self._writing: Callable[..., Any] = os.write
        self.refused: list[str] = []

    def fill(self, calls: int, *, lasting: bool, number: int = errno.ENOSPC) -> None:
        """Refuse the n-th call from now on, and all behind it when `lasting`, with the error `number`."""
        self._left, self._lasting, self._number, self.refused = calls, lasting, number, []

    def free(self) -> None:
        self._left = 0

    def need(self, what: str) -> None:
        if not self._left:
            return
        if self._left > 1:
            self._left -= 1
            return
        if not self._lasting:
            self._left = 0
        self.refused.append(what)
        raise OSError(self._number, os.strerror(self._number))

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.need(name)
            return real(*arguments, **named)

        return call

    def creating(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """`os.open`, where a new name takes room."""

        def call(path: Any, flags: int, *rest: Any, **named: Any) -> Any:
            if flags & os.O_CREAT:
                self.need("open")
            return real(path, flags, *rest, **named)

        return call

    def opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """`open` whose files for writing bytes ask this disk whenever their buffer is written."""

        def call(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            writes = any(letter in mode for letter in "wax+")
            if not writes or "b" not in mode or isinstance(file, int):
                return real(file, mode, buffering, *rest, **named)
            if "w" in mode and not Path(file).exists():
                self.need("open")
            raw = _File(os.fspath(file), mode.replace("b", ""), disk=self)
            if not buffering:
                return raw
            return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

        return call


class _File(io.FileIO):
    def __init__(self, file: str, mode: str, disk: Disk) -> None:
        super().__init__(file, mode)
        self._disk = disk

    def write(self, data: Any) -> int:
        self._disk.need(f"write {Path(str(self.name)).name}")
        return super().write(data)


@contextmanager
def full_disk() -> Iterator[Disk]:
    """A disk under this process, not full yet."""
    assert ZODB.FileStorage
    disk = Disk()
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, disk.wrapped(name, getattr(os, name)))
        patch.setattr(os, "open", disk.creating(os.open))
        patch.setattr(sys.modules["ZODB.FileStorage.FileStorage"], "fsync", os.fsync)  # its own name for it
        opener = disk.opener(io.open)
        patch.setattr(io, "open", opener)
        patch.setattr(builtins, "open", opener)
        yield disk
