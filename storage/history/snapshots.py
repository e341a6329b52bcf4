"""Who looks at which state: so that packing keeps what open snapshots may still map.

Each connection has a slot on its process's *board* for its database: eight bytes in a small file that is mapped into
memory, so noting a snapshot at each transaction costs no system call. The file lies where the storage makes its blobs
and is locked as long as its process lives: whoever packs reads all boards whose lock is held, and removes the others.
Where processes share no folder (blobs over the wire, storages without blobs), a board tells its own process only.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import secrets
import struct
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ZODB.utils import p64, u64

#: Names of the files, in the folder where uncommitted blobs lie.
PREFIX = ".snapshots-"

#: Connections that one process may have open to one database and be seen with. Others are not seen.
SLOTS = 4096

_SLOT = struct.Struct("<Q")


@dataclass(frozen=True)
class Held:
    """A state that a process still looks at."""

    tid: bytes
    pid: int


class Board:
    """The slots of this process for one database; with `folder`, where others can read them."""

    def __init__(self, folder: str | None) -> None:
        self._lock = threading.Lock()
        self._free = list(range(SLOTS, 0, -1))
        self._used: set[int] = set()
        self._slots, path, fd = _mapped(folder)
        self._slots[: _SLOT.size] = _SLOT.pack(os.getpid())
        self._end = weakref.finalize(self, _removed, path, fd, os.getpid())

    def slot(self) -> int:
        """A slot for a connection; 0, which is none, when there are too many."""
        with self._lock:
            if not self._free:
                return 0
            found = self._free.pop()
            self._used.add(found)
        return found

    def note(self, slot: int, tid: bytes) -> None:
        """A connection looks at the state of `tid` from now on."""
        if slot:
            _SLOT.pack_into(self._slots, slot * _SLOT.size, u64(tid))

    def give_back(self, slot: int) -> None:
        """A connection looks at nothing any more."""
        if slot:
            _SLOT.pack_into(self._slots, slot * _SLOT.size, 0)
            with self._lock:
                if slot in self._used:
                    self._used.discard(slot)
                    self._free.append(slot)

    def held(self) -> list[Held]:
        """The states this process looks at."""
        return _read(self._slots)


_boards: weakref.WeakValueDictionary[tuple[str, int], Board] = weakref.WeakValueDictionary()
_making = threading.Lock()


def board(folder: str | None) -> Board:
    """This process's board for the database whose uncommitted blobs lie in `folder`. Keep it as long as you use it."""
    if folder is None:
        return Board(None)
    with _making:
        key = (os.path.realpath(folder), os.getpid())
        found = _boards.get(key)
        if found is None:
            found = _boards[key] = Board(folder)
        return found


def held_in(folder: str | None) -> list[Held]:
    """The states that processes look at whose boards lie in `folder`. Boards of dead processes are removed."""
    if folder is None:
        return []
    out: list[Held] = []
    for path in Path(folder).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):  # it may end just now
            out += _of_the_living(path)
    return out


def snapshot(connection: Any) -> bytes:
    """The transaction whose state a connection shows."""
    if connection.before is not None:
        return bytes(p64(u64(connection.before) - 1))
    start = getattr(connection._storage, "_start", None)
    return bytes(p64(u64(start) - 1) if start else connection._storage.lastTransaction())


def _of_the_living(path: Path) -> list[Held]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read(os.pread(fd, _SLOT.size * (SLOTS + 1), 0))
        path.unlink(missing_ok=True)
        return []
    finally:
        os.close(fd)


def _read(slots: Any) -> list[Held]:
    pid, *tids = (number for (number,) in _SLOT.iter_unpack(bytes(slots)))
    return [Held(p64(tid), pid) for tid in tids if tid]


def _mapped(folder: str | None) -> tuple[mmap.mmap, str | None, int]:
    nbytes = _SLOT.size * (SLOTS + 1)
    if folder is not None:
        unnamed = str(Path(folder, f"{PREFIX}{secrets.token_hex(8)}"))
        with contextlib.suppress(OSError):  # who may only read is not seen
            fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                os.posix_fallocate(fd, 0, nbytes)  # a full disk must not show as a signal later
                return mmap.mmap(fd, nbytes), unnamed, fd
            except OSError:
                _removed(unnamed, fd, os.getpid())
    return mmap.mmap(-1, nbytes), None, -1


def _removed(path: str | None, fd: int, pid: int) -> None:
    if path is None or os.getpid() != pid:
        return
    with contextlib.suppress(OSError):
        Path(path).unlink()
    with contextlib.suppress(OSError):
        os.close(fd)
