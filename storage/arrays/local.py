"""Where array data lies on this node, as files that can be mapped.

A blob on a local disk is mapped as it is. All else is brought into a local file first: tiny pages out of database
objects, and pages that are put together, into a *gathering file* of this connection, which has no name, is only
appended to, and goes with the last mapping of it; chunks of storages without blobs, and blobs on network or FUSE file
systems (where an I/O error under a mapping would kill the process), into the node's cache.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ZODB.blob import Blob

from wendelin.storage.arrays import segments
from wendelin.storage.arrays.pages import Pages, Parts
from wendelin.storage.arrays.patches import Patched
from wendelin.storage.arrays.reader import Reader
from wendelin.storage.arrays.remote import Place, RemoteFiles
from wendelin.storage.arrays.runs import PAGE, Run
from wendelin.storage.arrays.segments import Draft
from wendelin.storage.arrays.tail import Assembled
from wendelin.storage.database import paths
from wendelin.storage.errors import StorageFullError

#: Bytes from which on a gathering file is left to its mappings and a new one begins.
GENERATION = 64 << 20

#: Bytes copied at once.
_STEP = 8 << 20


def scratch_folder() -> str:
    """A private folder on a local disk, for files without names: `$WENDELIN_SCRATCH`, else below the user's cache."""
    chosen = os.environ.get("WENDELIN_SCRATCH")
    folder = Path(chosen).expanduser().absolute() if chosen else paths.home() / "cache" / "scratch"
    return str(paths.private_folder(folder))


class LocalFiles:
    """The files that one connection maps its arrays from. Descriptors it gives are good until the next call."""

    def __init__(self, remote: Callable[[], RemoteFiles] | None = None) -> None:
        self._remote = remote
        self.near = False  # what is stored lies on this node: mapping more than was asked for brings nothing
        self._gathering: _Gathering | None = None
        self._known: OrderedDict[int, tuple[_Gathering, int]] = OrderedDict()

    def places(self, number: int, source: Any, runs: list[Run], sources: dict[int, Any]) -> Iterator[Place]:
        """For runs of one segment: where to map them from."""
        if isinstance(source, Draft):
            yield from ((start, length, source.fd, offset) for start, length, _, offset in runs)
        elif isinstance(source, Pages | Assembled | Patched):
            gathering, at = self._gathered(number, source, max(o + n for _, n, _, o in runs), sources)
            yield from ((start, length, gathering.fd, at + offset) for start, length, _, offset in runs)
        elif isinstance(source, Parts) and self._remote is not None:
            for some in self._remote().parts(number, source, runs):
                yield from self._large(*some)
        else:
            yield from self._large(number, source, runs)

    def _large(self, number: int, source: Any, runs: list[Run]) -> Iterator[Place]:
        if self._remote is not None and (remote := self._remote()).is_remote(source):
            yield from remote.places(number, source, runs)
        else:
            needed = max(offset + length for _, length, _, offset in runs)
            with segments.opened(source, needed * PAGE) as fd:
                yield from ((start, length, fd, offset) for start, length, _, offset in runs)

    def bring(self, sources: Iterable[Any]) -> None:
        """What is to be mapped next may come from elsewhere, all at once."""
        blobs = [source for source in sources if isinstance(source, Blob)]
        if self._remote is not None and len(blobs) > 1:
            self._remote().bring_blobs(blobs)

    def together(self, runs: list[Run], sources: dict[int, Any]) -> Place:
        """Some runs and the holes between them, copied to a stretch of the gathering file: one mapping shows them.

        Where the disk is full the file lies in memory: what was committed shows all the same.
        """
        gathering = self._room()
        try:
            at = gathering.copy(runs, sources)
        except StorageFullError:
            gathering = self._gathering = _Gathering(in_memory=True)
            at = gathering.copy(runs, sources)
        return runs[0][0], runs[-1][0] + runs[-1][1] - runs[0][0], gathering.fd, at

    def _gathered(self, number: int, source: Any, pages: int, sources: dict[int, Any]) -> tuple[_Gathering, int]:
        found = self._known.get(number)
        if found is not None:
            self._known.move_to_end(number)
            return found
        if isinstance(source, Assembled):
            pages = source.pages
        elif isinstance(source, Pages):
            pages = max(pages, -(-len(source.data) // PAGE))
        place = self.together([(0, pages, number, 0)], {**sources, number: source})
        assert self._gathering is not None
        self._known[number] = (self._gathering, place[3])
        return self._known[number]

    def _room(self) -> _Gathering:
        if self._gathering is None or self._gathering.pages * PAGE >= GENERATION or self._gathering.in_memory:
            previous, self._gathering = self._gathering, _Gathering()
            # What lies in older files than the last one is read again when it is asked for.
            self._known = OrderedDict((n, at) for n, at in self._known.items() if at[0] is previous)
        return self._gathering


class _Gathering:
    """A file without a name that is appended to; it goes with the last mapping of it."""

    def __init__(self, *, in_memory: bool = False) -> None:
        self.pages = 0
        self.in_memory = in_memory
        self.folder = "" if in_memory else scratch_folder()
        self.fd = os.memfd_create("wendelin") if in_memory else _nameless(self.folder)

    def copy(self, runs: list[Run], sources: dict[int, Any]) -> int:
        """Append pages of segments, as far from each other as the runs are; the page at which the first one lies."""
        base = self.pages - runs[0][0]
        with Reader(sources) as reader:
            for start, length, number, offset in runs:
                for page in range(0, length, _STEP // PAGE):
                    some = min(_STEP // PAGE, length - page)
                    self._add(reader.read(number, (offset + page) * PAGE, some * PAGE), base + start + page)
        at, self.pages = self.pages, base + runs[-1][0] + runs[-1][1]
        return at

    def _add(self, data: bytes, page: int) -> None:
        if not self.in_memory:
            segments.append(self.fd, data, page * PAGE, self.folder)
            return
        os.ftruncate(self.fd, page * PAGE + len(data))
        with mmap.mmap(self.fd, len(data), offset=page * PAGE) as memory:
            memory[:] = data

    def __del__(self) -> None:
        fd = self.__dict__.pop("fd", None)
        if fd is not None:
            os.close(fd)


def _nameless(folder: str) -> int:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without such files
        fd, path = tempfile.mkstemp(prefix="gathered-", dir=folder)
        Path(path).unlink()
        return fd
