"""The node's cache: copies, on this machine's disk, of array data that must not be mapped where it lies.

A segment is immutable and its name is never given twice, so a copy is never stale. All processes of a user on the node
share the files and their pages in memory. They are unlinked, and never truncated or rewritten: so what is mapped from
them stays valid. How they lie in the folder is `shelf`'s matter; here is who fetches what, when.

Who fetches a key holds a lock that ends with him; others wait, and find the file. If a fetcher was stopped (Ctrl-Z, a
debugger) and has not written for `shelf.PATIENCE` seconds, each of those who wait fetches for himself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wendelin.storage.arrays import filesystems, shelf
from wendelin.storage.arrays.fetchers import THREADS, fetchers
from wendelin.storage.arrays.locks import byte_of, close_held, wait_lock
from wendelin.storage.arrays.shelf import Shelf, free_bytes, unlink
from wendelin.storage.database import paths
from wendelin.storage.database.urls import parse_bytes
from wendelin.storage.errors import DamagedSegmentError, StorageFullError, UsageError

#: Writes all bytes of a segment to a new, empty file, from offset 0 on. It runs in any thread; it is called a second
#: time, with another file, when the disk was full; it may raise what it likes.
Fetch = Callable[[int], None]

#: A key, the bytes that it has, and what fetches them.
Job = tuple[str, int, Fetch]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Stats:
    """`files` and `bytes` now, `limit` of this object; `hits`, `misses` and `evictions` of all processes.

    They count from the start of the machine. A process writes its hits down after 256 of them and at each miss: the
    last ones of a process that ended are not in it.
    """

    files: int
    bytes: int
    limit: int
    hits: int
    misses: int
    evictions: int


class NodeCache:
    """Files in `folder` (made with mode 0700; on a local file system), at most `limit` bytes of them.

    `limit`: None takes `$WENDELIN_CACHE_SIZE` (such as 20GB), else half of what this file system has free, what the
    cache itself holds counted as free. Any number of objects, threads, processes and forked children may share a
    folder. Raises `UsageError` for a wrong `$WENDELIN_CACHE_SIZE`, `ResourceError` when the folder cannot be made.
    """

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self._shelf = Shelf(folder)
        with self._shelf.lock_file() as lock, self._shelf.books(lock) as books:
            held = books.bytes
            self._shelf.remove_leftovers()
        self._shelf.limit = _chosen_limit(folder, held) if limit is None else limit

    @property
    def folder(self) -> Path:
        return self._shelf.folder

    @property
    def limit(self) -> int:
        return self._shelf.limit

    def opened(self, key: str, nbytes: int, fetch: Fetch) -> int:
        """A read-only descriptor of the complete file of `key`, fetched if it is not there; the caller closes it.

        Two that want the same key at the same time fetch it once. A file that has not `nbytes` bytes is replaced.
        One that is larger than `limit` is not kept: it goes away with its last descriptor and mapping.

        Raises `DamagedSegmentError` when `fetch` wrote another number of bytes, `StorageFullError` when there is no
        room even without the other files, ValueError when `key` has more than letters, digits, - and _, and whatever
        `fetch` raises. Nothing is left behind then.
        """
        fd = self._shelf.find(key, nbytes)
        return self._missed(key, nbytes, fetch) if fd is None else fd

    def opened_all(self, jobs: Iterable[Job]) -> Generator[tuple[str, int], None, None]:
        """The key and an open descriptor of each job, in their order; a few are fetched ahead, in parallel.

        The caller closes the descriptors; those that he did not take are closed with the generator. However small the
        cache is, nothing is fetched twice. Raises as `opened` does, when it is the turn of that job.
        """
        left: deque[tuple[Job, Future[int] | int]] = deque()
        source = iter(jobs)
        try:
            while True:
                while len(left) < 2 * THREADS and (job := next(source, None)) is not None:
                    left.append((job, self._begun(job)))
                if not left:
                    return
                job, found = left[0]
                if isinstance(found, Future):
                    # What has not begun is done here: so this ends even if all threads wait for something.
                    found = self.opened(*job) if found.cancel() else found.result()
                left.popleft()
                yield job[0], found
        finally:
            for _, found in left:
                _forget(found)

    def prefetch(self, jobs: Iterable[Job]) -> None:
        """Bring what is not there, in parallel, as far as the cache holds it; returns when it is there.

        Raises as `opened` does. For more than the cache holds, iterate over `opened_all` instead.
        """
        with contextlib.closing(self.opened_all(self._fitting(jobs))) as found:
            for _, fd in found:
                os.close(fd)

    def ahead(self, jobs: Iterable[Job]) -> None:
        """Bring what will probably be wanted, in the background, when nothing else is to do. Never waits.

        What fails is logged (debug) and forgotten; what is too much at once, or for the cache, is left out.
        """
        pool = fetchers()
        for key, nbytes, fetch in self._fitting(jobs):
            path = self._shelf.path(key)
            if not os.path.lexists(path):
                pool.ahead(path, partial(self._bring, key, nbytes, fetch))

    def stats(self) -> Stats:
        """What the cache holds, and how it was used. Looks at every file; removes what killed processes left."""
        with self._shelf.lock_file() as lock, self._shelf.books(lock) as books:
            sizes = [size for _, _, size in self._shelf.files()]
            books.bytes = sum(sizes)
            return Stats(len(sizes), books.bytes, self.limit, books.hits, books.misses, books.evictions)

    def _begun(self, job: Job) -> Future[int] | int:
        found = self._shelf.find(job[0], job[1])
        return fetchers().submit(partial(self.opened, *job)) if found is None else found

    def _bring(self, key: str, nbytes: int, fetch: Fetch) -> None:
        os.close(self.opened(key, nbytes, fetch))

    def _fitting(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Jobs until the cache would be full of them: more would push out the first ones."""
        room = self.limit
        for job in jobs:
            room -= job[1]
            if room < 0:
                return
            yield job

    def _missed(self, key: str, nbytes: int, fetch: Fetch) -> int:
        with self._shelf.lock_file() as lock:
            begun = time.monotonic()
            mine = wait_lock(lock, byte_of(key), lambda: self._is_there(key) or self._stands_still(key, begun))
            fd = self._shelf.find(key, nbytes)
            if fd is not None:
                return fd
            name = key if mine else f"{key}.{os.getpid()}-{threading.get_ident()}"
            try:
                return self._fetched(lock, name, key, nbytes, fetch)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._shelf.make_room(lock, error, nbytes)
            try:
                return self._fetched(lock, name, key, nbytes, fetch)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                raise self._no_room(key, nbytes, error) from error

    def _is_there(self, key: str) -> bool:
        return os.path.lexists(self._shelf.path(key))

    def _stands_still(self, key: str, since: float) -> bool:
        """Whether the one who fetches `key` has written nothing for too long, as seen since `since`."""
        waited = time.monotonic() - since
        return waited > shelf.PATIENCE and time.time() - self._shelf.written_at(key) > shelf.PATIENCE

    def _fetched(self, lock: int, name: str, key: str, nbytes: int, fetch: Fetch) -> int:
        """Fetch into a part called `name`, then put it into its place; a read-only descriptor of it."""
        writing, part = self._shelf.new_part(lock, name)
        reading = -1
        try:
            fetch(writing)
            size = os.fstat(writing).st_size
            if size != nbytes:
                raise DamagedSegmentError(
                    errno.EIO,
                    f"{size:,} bytes came for the segment {key} instead of {nbytes:,}: the database was damaged from "
                    "outside; bring it back from a backup, or abort and delete the array",
                )
            reading = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
            self._shelf.insert(lock, part, key, nbytes)
        except BaseException:
            if reading >= 0:
                os.close(reading)
            unlink(part)
            raise
        finally:
            close_held(writing)
        return reading

    def _no_room(self, key: str, nbytes: int, error: OSError) -> StorageFullError:
        return StorageFullError(
            error.errno,
            f"no room for a copy of the segment {key}, {nbytes:,} bytes, in the node's cache {self.folder} "
            f"({os.strerror(error.errno or 0)}), although all that could go was removed: free space there, limit the "
            "cache with WENDELIN_CACHE_SIZE, or move it with WENDELIN_HOME=/path/to/a/folder; then read again",
        )


def node_cache(url: str) -> NodeCache:
    """The cache for the database `url` (without its password); one object for a process.

    It lies in the home's cache folder, or, when the home is on a network, in a private folder of ``/var/tmp``: mapped
    files must be on this node. Raises as `NodeCache` does.
    """
    folder = paths.cache_folder(url)
    if filesystems.remote_kind(_nearest(folder)):
        folder = paths.node_folder() / folder.name
    folder /= "segments"
    named = os.environ.get("WENDELIN_CACHE_SIZE")
    if (folder, named) not in _caches:
        _caches[folder, named] = NodeCache(folder)
    return _caches[folder, named]


_caches: dict[tuple[Path, str | None], NodeCache] = {}


def _nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return path if path.exists() else _nearest(path.parent)


def _chosen_limit(folder: Path, held: int) -> int:
    named = os.environ.get("WENDELIN_CACHE_SIZE")
    if not named:
        return (free_bytes(folder) + held) // 2
    try:
        return parse_bytes("WENDELIN_CACHE_SIZE", named)
    except ValueError as error:
        raise UsageError(f"{error}: unset it, or export WENDELIN_CACHE_SIZE=20GB") from None


def _forget(found: Future[int] | int) -> None:
    """Close a descriptor that nobody took, also one that is still to come."""
    if isinstance(found, int):
        os.close(found)
    elif not found.cancel():
        found.add_done_callback(_close_result)


def _close_result(future: Future[int]) -> None:
    if future.exception() is None:
        os.close(future.result())
