"""Copies a wendelin.core database into a database of ours.

Everything is first built, over many small transactions, in a folder of its own with a name that says so. The last
transaction moves it to where it belongs, which costs nothing, and removes that folder: nothing half-copied is ever
seen under its own name. Each transaction also stores how far it came, so an import that was cut goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import transaction
from ZODB.POSException import ConflictError, POSError

import wendelin
from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.errors import (
    ImportInterruptedError,
    NameTakenError,
    ServerGoneError,
    SourceError,
    UnavailableError,
    UsageError,
)
from wendelin.storage.folder import Folder
from wendelin.storage.wendelin_core.classes import BigArray, BigFile
from wendelin.storage.wendelin_core.source import Source, opened
from wendelin.storage.wendelin_core.walk import Item, Note, Path, Walk, counterpart

#: Bytes of one transaction, roughly.
BATCH = 128 << 20

#: What one thing that is no array counts for in a transaction.
_SMALL = 16 << 10

#: Changes when the order or the layout of an import does, so that one begun by another version starts again.
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Copied:
    """An array of the source: where it comes to lie, what it is, and how many of its blocks are stored."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    blocks: int


@dataclass
class Summary:
    """What an import found, or did."""

    source: str
    arrays: list[Copied] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("folder", "array", "value", "alias"), 0))
    names: set[str] = field(default_factory=set)  # those at the top
    notes: list[Note] = field(default_factory=list)
    resumed: bool = False

    @property
    def blocks(self) -> int:
        """Stored blocks of all arrays."""
        return sum(array.blocks for array in self.arrays)


def survey(source: Source) -> Summary:
    """What there is to copy, without reading array data."""
    found = Summary(source.name)
    walk = Walk(source)
    for item in walk:
        found.counts[item.kind] += 1
        found.names.add(item.path[0])
        if item.kind == "array":
            like = counterpart(item.thing)
            blocks = _count(source, item.thing)
            found.arrays.append(Copied("/".join(item.path), like.shape, like.dtype, like.order, blocks))
    found.notes = list(walk.notes.values())
    return found


def import_database(
    source: str,
    url: str | None = None,
    *,
    into: str = "",
    dry_run: bool = False,
    started: Callable[[Summary], object] = lambda found: None,
    progress: Callable[[int], object] = lambda blocks: None,
    batch: int = BATCH,
) -> Summary:
    """Copy the wendelin.core database `source` into the database `url`, beneath the folder `into` or its root.

    Parameters
    ----------
    source
        The path of a Data.fs (or of its folder), or ``zeo://host:port``. It is only read, as it is at this moment.
    dry_run
        Only look; nothing is written.
    started, progress
        Called with what was found before copying begins, and with the number of blocks whenever some were copied.
    batch
        Bytes of one transaction, about: what is held in memory.

    Notes
    -----
    *Crash*: whenever it is cut, names appear all or not at all, and calling it again goes on where it was.

    Raises
    ------
    SourceError
        The source cannot be read.
    NameTakenError
        A name at the top of the source is taken already in the target.
    ImportInterruptedError
        Another import of the source runs, or the target changed under it: call again.
    """
    with opened(source) as opened_source:
        found = survey(opened_source)
        if dry_run:
            _check_names_of(url, into, found)
            return found
        manager = transaction.TransactionManager()
        target = wendelin.connect(url, transaction_manager=manager)
        try:
            _check_names(target.root(), into, found, target.url)
            transfer = _Transfer(opened_source, target, manager, batch, progress)
            found.resumed = transfer.done > (0, 0)
            started(found)
            try:
                transfer.run()
                transfer.publish(into, found)
            except ConflictError as error:
                raise ImportInterruptedError(
                    f"{target.url} was changed by another program at the same place: {error}. If no other import of "
                    f"{source!r} runs, call this again; it goes on where it stopped"
                ) from error
        finally:
            manager.abort()
            target.close()
    return found


def _check_names_of(url: str | None, into: str, found: Summary) -> None:
    try:
        target = wendelin.connect(url, read_only=True, transaction_manager=transaction.TransactionManager())
    except ServerGoneError:
        raise
    except UnavailableError:
        return  # there is no such database yet
    try:
        _check_names(target.root(), into, found, target.url)
    finally:
        target.close()


def _check_names(root: Any, into: str, found: Summary, url: str) -> None:
    if not isinstance(root, Folder):
        raise NameTakenError(
            f"{url} is a database of another program (its root is a {type(root).__name__}): name another one to copy "
            "into, such as local:///folder"
        )
    place: Any = root
    if into:
        try:
            root.get(into)
        except ValueError as error:
            raise UsageError(f"--into PREFIX: {error}") from None
        parts = into.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            place = root.get(path)
            if place is None:
                return
            if not isinstance(place, Folder):
                raise NameTakenError(f"{path!r} in {url} is a {type(place).__name__}, no folder: choose another --into")
    taken = sorted(name for name in found.names if name in place)
    if taken:
        where = f"the folder {into!r} of {url}" if into else url
        named = ", ".join(map(repr, taken[:5])) + (f" and {len(taken) - 5} more" if len(taken) > 5 else "")
        raise NameTakenError(
            f"{where} holds {named} already, and nothing is overwritten: copy into a folder of its own with "
            "--into PREFIX (import_database(…, into=PREFIX)), or rename what is there"
        )


class _Transfer:
    """One import on its way. `done` is how far it came: items, and blocks of the array after them."""

    def __init__(
        self, source: Source, target: Any, manager: Any, batch: int, progress: Callable[[int], object]
    ) -> None:
        self._source, self._manager, self._batch, self._progress = source, manager, batch, progress
        self._root: Folder = target.root()
        self._place = f"unfinished import {hashlib.sha256(source.name.encode()).hexdigest()[:12]}"
        self._state = {"source": source.name, "tid": source.tid.hex(), "version": _VERSION}
        self._waiting = 0
        self.done = (0, 0)
        begun = self._root.get(self._place)
        if begun is not None and all(begun.get(key) == value for key, value in self._state.items()):
            self.done = begun["done"]
        else:
            begun = self._root[self._place] = Folder()
            begun.update({**self._state, "tree": Folder()})
        self._begun: Folder = begun
        self._tree: Folder = begun["tree"]
        if "done" not in begun:
            self._checkpoint((0, 0))

    def run(self) -> None:
        """Build everything in the folder of the import."""
        items, _ = self.done
        for number, item in enumerate(Walk(self._source)):
            if number < items:
                if item.kind == "array":
                    self._progress(_count(self._source, item.thing))
                continue
            self._build(number, item)
            self._waiting += _SMALL
            if self._waiting >= self._batch:
                self._checkpoint((number + 1, 0))

    def publish(self, into: str, found: Summary) -> None:
        """Move it all to where it belongs, in one transaction."""
        self._refuse_if_taken_over()
        place = self._root.folder(into) if into else self._root
        for name in self._tree:
            if name in place:
                raise NameTakenError(
                    f"{name!r} was made by another program meanwhile: rename it, or call this again with "
                    "--into PREFIX; what was copied is kept"
                )
            place[name] = self._tree[name]
        del self._root[self._place]
        self._manager.get().note(f"imported {found.source}")
        self._manager.commit()

    def _build(self, number: int, item: Item) -> None:
        path = "/".join(item.path)
        if item.kind == "folder":
            self._tree.folder(path)
        elif item.kind == "alias":
            self._tree[path] = self._tree["/".join(item.thing)]
        elif item.kind == "value":
            self._tree[path] = item.thing
            self._waiting += getattr(item.thing, "nbytes", 0)
        else:
            self._copy(number, item.path, item.thing)

    def _copy(self, number: int, path: Path, source: BigArray | BigFile) -> None:
        """Copy an array's blocks, one in memory at a time; go on with the block after those that are done."""
        first = self.done[1] if number == self.done[0] else 0
        name = "/".join(path)
        if not first:
            self._tree[name] = counterpart(source)
        array = self._tree[name]
        if first:
            self._progress(_count(self._source, source, first))
        file = _file(source)
        for block, stored in file.blktab.items(min=first):
            start = block * file.blksize
            if start >= array.nbytes:
                break  # what was cut off; wendelin.core keeps it
            try:
                self._waiting += _copy_block(array, start, min(start + file.blksize, array.nbytes), stored)
            except POSError as error:
                raise SourceError(
                    f"block {block} of {name!r} in {self._source.name} cannot be read: {error}; repair it first"
                ) from error
            stored._p_deactivate()
            self._progress(1)
            if self._waiting >= self._batch:
                self._source.forget()
                self._checkpoint((number, block + 1))
        source._p_deactivate()

    def _checkpoint(self, done: tuple[int, int]) -> None:
        self._refuse_if_taken_over()
        self._begun["done"] = done
        self._manager.commit()
        self._waiting = 0

    def _refuse_if_taken_over(self) -> None:
        if self._root.get(self._place) is not self._begun:
            raise ImportInterruptedError(f"another import of {self._state['source']!r} took this one over: let it end")


def _copy_block(array: ZBigArray, start: int, stop: int, block: Any) -> int:
    """Write one block's bytes, which lie at [start, stop) of the array; returns how many."""
    view, begin = _bytes(array, start, stop)
    copied = 0
    for offset, content in block.pieces():
        piece = np.frombuffer(content, np.uint8)[: max(stop - start - offset, 0)]
        lo = start - begin + offset
        view[lo : lo + piece.size] = piece
        copied += piece.size
    return copied


def _bytes(array: ZBigArray, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], int]:
    """A view of whole rows of the array, as bytes, that holds [start, stop); and at which byte it begins."""
    axis = 0 if array.order == "C" else array.ndim - 1
    row = array.nbytes // array.shape[axis]
    rows = slice(start // row, -(-stop // row))
    view = array[rows] if array.order == "C" else array[..., rows].T
    flat = view.reshape(-1, copy=False)  # raises rather than copies
    return flat.view(np.uint8), rows.start * row


def _file(array: BigArray | BigFile) -> BigFile:
    return array if isinstance(array, BigFile) else array.zfile


def _count(source: Source, array: BigArray | BigFile, before: int | None = None) -> int:
    """How many blocks within the array are stored; of those before block `before` when it is given."""
    file = _file(array)
    end = -(-counterpart(array).nbytes // file.blksize) if before is None else before
    count = 0
    for count, _ in enumerate(file.blktab.keys(max=end, excludemax=True), 1):
        if count % 10_000 == 0:
            source.forget()
    return count
