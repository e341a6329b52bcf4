"""A shelf: files of one folder that the processes of a node share, limited in bytes, the least recently used out first.

* A file is written as ``<key>.part`` and renamed when it is complete: under its final name nothing is ever torn,
  whoever is killed. Its writer holds a flock on it, so that a leftover is told from work.
* After a restart of the *machine* the shelf begins anew: files are not synced, and what a power failure left of one
  could be zeros of the right size. The kernel's boot id, noted in ``.books``, tells.
* Recency is the time of modification, which a hit sets. The sum of the sizes stands in ``.books`` and is raised
  *before* the rename: if somebody is killed between, it is too high, never too low; each eviction counts anew. So
  neither a hit nor most insertions look at the whole folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from wendelin.storage.arrays.locks import close_held, open_held, unlock, wait_lock
from wendelin.storage.database import paths

#: Seconds that a process waits for another one that holds a lock and does nothing.
PATIENCE = 30.0

#: Hits that are counted in memory before they are written down.
_BATCH = 256

_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_BOOKS, _LAYOUT = ".books", struct.Struct("<36sQQQQ")
_PART = ".part"
_BOOKS_BYTE = 0


@dataclass
class Books:
    """What the processes share: the machine's run (boot id), bytes in all, and counts since its start."""

    boot: bytes
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Shelf:
    """The files in `folder`, which is made if it is missing (mode 0700), at most `limit` bytes of them.

    Holds no descriptor, lock or thread between calls: any number of objects, threads, processes and forked children may
    share a folder. Raises `ResourceError` when the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit = 0
        self._prefix = f"{folder}/"
        self._hits, self._pid = 0, os.getpid()
        paths.private_folder(folder)

    def path(self, key: str) -> str:
        """Where the file of `key` lies, if it does. Raises ValueError when `key` is no file name of ours."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of the cache: it has 1 to 200 letters, digits, - and _")
        return self._prefix + key

    def find(self, key: str, nbytes: int) -> int | None:
        """A read-only descriptor of the file of `key`, now the most recently used; None when it is not there.

        One of another size is removed. Paths are text: making a `Path` would take as long as opening the file.
        """
        path = self.path(key)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(fd).st_size != nbytes:
            os.close(fd)
            unlink(path)
            return None
        with contextlib.suppress(OSError):
            _touch(fd)
        self._hits += 1
        if self._hits >= _BATCH:
            with self.lock_file() as lock, self.books(lock):
                pass
        return fd

    @contextlib.contextmanager
    def lock_file(self) -> Iterator[int]:
        """A descriptor whose bytes can be locked (`locks`); all locks are given back at the end."""
        try:
            fd = open_held(self._prefix + _BOOKS, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # somebody removed the folder
            paths.private_folder(self.folder)
            fd = open_held(self._prefix + _BOOKS, os.O_RDWR | os.O_CREAT)
        try:
            yield fd
        finally:
            close_held(fd)

    @contextlib.contextmanager
    def books(self, lock: int) -> Iterator[Books]:
        """The books, for this caller alone; what he changes is written down.

        If the one who has them was stopped, they are read only: the next eviction counts anew.
        """
        until = time.monotonic() + PATIENCE
        alone = wait_lock(lock, _BOOKS_BYTE, lambda: time.monotonic() > until)
        try:
            books = self._read(lock)
            yield books
            if alone:
                self._write(lock, books)
        finally:
            if alone:
                unlock(lock, _BOOKS_BYTE)

    def new_part(self, lock: int, name: str) -> tuple[int, str]:
        """A descriptor and the path of a new, empty file to fetch into; end it with `insert` or `unlink`, then close.

        `name`: the key, or a name of this thread's own. What a killed process left under it is removed.
        """
        path = self._prefix + name + _PART
        with self.books(lock):  # so that nobody takes it for a leftover before it is locked
            unlink(path)
            fd = open_held(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd, path

    def written_at(self, key: str) -> float:
        """When (as `time.time`) the one who fetches `key` last wrote; 0.0 when nobody does."""
        try:
            return os.stat(self._prefix + key + _PART).st_mtime  # noqa: PTH116  paths are text here: see `find`
        except FileNotFoundError:
            return 0.0

    def insert(self, lock: int, part: str, key: str, nbytes: int) -> None:
        """Make the file `part` the one of `key`, then evict others; one larger than the limit is only unlinked."""
        with self.books(lock) as books:
            books.misses += 1
            if nbytes > self.limit:
                unlink(part)
                return
            books.bytes += nbytes
            self._write(lock, books)
            _touch(part)
            os.rename(part, self.path(key))  # noqa: PTH104  paths are text here: see `find`
            if books.bytes > self.limit:
                self._evict(books, keep=key)

    def make_room(self, lock: int, error: OSError, nbytes: int) -> None:
        """After `error`: evict until the file system has `nbytes` free, or nothing is left.

        A quota does not show in what is free: then all goes.
        """
        with self.books(lock) as books:
            for _, name, size in sorted(self.files()):
                if error.errno == errno.ENOSPC and free_bytes(self.folder) >= nbytes:
                    break
                unlink(self._prefix + name)
                books.bytes = max(0, books.bytes - size)
                books.evictions += 1

    def files(self) -> list[tuple[int, str, int]]:
        """Time of use (ns), name and size of each file. Removes what killed processes left; hold the books."""
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_PART):
                    _unlink_leftover(entry.path)
                elif _KEY.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        state = entry.stat(follow_symlinks=False)
                        found.append((state.st_mtime_ns, entry.name, state.st_size))
        return found

    def remove_leftovers(self) -> None:
        """Remove what killed processes did not finish; hold the books."""
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_PART):
                    _unlink_leftover(entry.path)

    def _evict(self, books: Books, keep: str) -> None:
        """Unlink the least recently used until the limit is kept; then as many as a sixteenth of it holds.

        So the folder is looked at again only when that much was inserted, and only small files go before they must.
        """
        files = self.files()
        total = sum(size for _, _, size in files)
        low = self.limit - self.limit // 16
        for _, name, size in sorted(files):
            if total <= self.limit and total - size < low:
                break
            if name != keep:
                unlink(self._prefix + name)
                total -= size
                books.evictions += 1
        books.bytes = total

    def _read(self, lock: int) -> Books:
        if self._pid != os.getpid():  # a forked child: the parent counts its hits itself
            self._hits, self._pid = 0, os.getpid()
        raw = os.pread(lock, _LAYOUT.size, 0)
        boot = boot_id()
        books = Books(*_LAYOUT.unpack(raw)) if len(raw) == _LAYOUT.size else Books(b"")
        if books.boot != boot:
            for _, name, _ in self.files():
                unlink(self._prefix + name)
            books = Books(boot)
        books.hits += self._hits
        self._hits = 0
        return books

    def _write(self, lock: int, books: Books) -> None:
        with contextlib.suppress(OSError):  # no room for a first page: the next one begins anew
            os.pwrite(lock, _LAYOUT.pack(*astuple(books)), 0)


def boot_id() -> bytes:
    """36 characters that the kernel draws when it starts."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36].ljust(36)
    except OSError:
        return b"unknown".ljust(36)


def free_bytes(folder: Path) -> int:
    """What this user may still write on the file system of `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def unlink(path: str) -> None:
    """Remove a file, if it is there: whoever has it mapped keeps it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  a Path for each file of a large folder costs more


def _unlink_leftover(path: str) -> None:
    """Remove a part whose writer lives no more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlink(path)
    except BlockingIOError:
        return
    finally:
        os.close(fd)


def _touch(file: int | str) -> None:
    now = time.time_ns()
    os.utime(file, ns=(now, now))
