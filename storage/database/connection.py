"""ZODB's connection and database, told about arrays at the boundaries of transactions.

The connection is itself the synchronizer of its transaction manager: ZODB calls `beforeCompletion` ahead of every
commit and abort, `afterCompletion` behind it and `newTransaction` when a transaction begins. Overriding these keeps
the order right: written pages are stored before objects, and views follow after the connection saw the new state.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import ZODB.Connection
import ZODB.DB
from ZODB.blob import Blob
from ZODB.Connection import RootConvenience, TransactionMetaData
from ZODB.POSException import ConflictError, ConnectionStateError, POSKeyError
from ZODB.utils import z64

from wendelin.storage.arrays.checksums import note_own
from wendelin.storage.arrays.forms import blob_folder
from wendelin.storage.arrays.interrupts import uninterrupted
from wendelin.storage.arrays.owner import ArrayOwner
from wendelin.storage.arrays.savepoints import ArraySavepoint
from wendelin.storage.folder import Folder
from wendelin.storage.history.refusals import packed_away, refused
from wendelin.storage.history.snapshots import board, snapshot

if TYPE_CHECKING:
    from wendelin.storage.history.tags import Tag


class Connection(ZODB.Connection.Connection):
    """A ZODB connection whose arrays are mapped into memory. Belongs to one thread at a time, never to a fork."""

    #: Where the database is, without passwords. Set by `wendelin.connect`.
    url: str = ""

    #: Whether this connection can store anything. Set by `wendelin.connect`.
    read_only: bool = False

    #: Of an earlier state that a tag on an array or a folder names, the oid of that tag: only its objects show.
    shown: bytes | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.arrays = ArrayOwner(self)
        self.saving = False  # within a savepoint
        self._in_commit = False
        self._slot = 0
        self._begun: Any = None  # what the storage was told to commit, until it is told to finish it or give it up

    def open(self, *args: Any, **options: Any) -> None:
        """Called by the database when the connection leaves its pool."""
        self.arrays = ArrayOwner(self)
        self.shown = None
        self._board = self.db().board
        self._slot = self._board.slot()
        super().open(*args, **options)
        self._note_snapshot()

    def close(self, primary: bool = True) -> None:
        """Close, unless array views hold changes that were neither committed nor aborted."""
        if primary and self.opened and not self.arrays.forked:
            written = self.arrays.uncommitted()
            if written:
                names = ", ".join(repr(array) for array in written[:5])
                raise ConnectionStateError(
                    f"{names} changed since the last commit: call transaction.commit() or transaction.abort() first"
                )
        self.arrays.release()
        super().close(primary)
        if not self.arrays.forked:
            self._board.give_back(self._slot)
        self._slot = 0

    def setstate(self, obj: Any) -> None:
        """Load an object. A forked child shares the parent's socket and must not speak on it."""
        self.arrays.refuse_if_forked()
        try:
            super().setstate(obj)
        except POSKeyError as error:
            if self.before is None:
                raise
            raise packed_away(self, error) from error

    def register(self, obj: Any) -> None:
        """An object is about to change, which an earlier state refuses."""
        if self.before is not None:
            raise refused(self, obj)
        super().register(obj)

    @property
    def root(self) -> Any:
        """What gives the root folder, when it is called."""
        return super().root if self.shown is None else RootConvenience(self.get(self.shown).content)

    def tag(self, name: str, obj: Any = None, note: str = "") -> Tag:
        """A name for the state that this transaction's commit leaves, as `connect(url, at=name)` opens it.

        Packing keeps it. With `obj`, an array, a folder or the path of one, only these are kept, as they were
        committed. Raises `TagError`, and `UncommittedChangesError` for an `obj` that changed in this transaction.
        """
        from wendelin.storage.history.tags import tag

        return tag(self, name, obj, note)

    def tags(self) -> list[Tag]:
        """All tags of the database, by name."""
        from wendelin.storage.history.tags import tags

        return tags(self)

    def untag(self, name: str) -> None:
        """Remove a tag in this transaction. Raises `TagError` when there is none of that name."""
        from wendelin.storage.history.tags import untag

        untag(self, name)

    def show(self, tag: bytes) -> None:
        """Show what a tag keeps, only; that is kept anyway, so packing needs not be held back."""
        self.shown = tag
        self._board.note(self._slot, z64)

    def _note_snapshot(self) -> None:
        if self._slot and self.shown is None:
            self._board.note(self._slot, snapshot(self))

    def newTransaction(self, transaction: Any, sync: bool = True) -> None:
        """A transaction begins: see what others committed, in living views too."""
        if self.arrays.forked:
            return
        super().newTransaction(transaction, sync)
        self._note_snapshot()
        if sync:
            self.arrays.began(transaction)
        self.arrays.follow()
        if sync:
            self.arrays.join_for_views()

    def beforeCompletion(self, transaction: Any) -> None:
        """Ahead of a commit: store what was written through views."""
        self.arrays.before_completion(transaction)
        super().beforeCompletion(transaction)

    def afterCompletion(self, transaction: Any) -> None:
        """Behind a commit or abort: views show what is stored now."""
        with uninterrupted():
            begun, self._begun = self._begun, None
            if begun is not None:  # Ctrl-C kept the transaction from giving it up: others would wait for ever
                self._normal_storage.tpc_abort(begun)
            self.arrays.after_completion(transaction)
            if not self.arrays.forked:
                super().afterCompletion(transaction)

    def tpc_begin(self, transaction: Any) -> None:
        """Begin to commit. Ctrl-C waits: a storage that has taken its lock and not noted for whom would keep it."""
        with uninterrupted():
            try:
                super().tpc_begin(transaction)
            finally:
                self._begun = transaction.data(self)

    def tpc_abort(self, transaction: Any) -> None:
        """Give up a commit. Ctrl-C waits, for the same reason."""
        with uninterrupted():
            super().tpc_abort(transaction)
            self._begun = None

    def tpc_finish(self, transaction: Any) -> None:
        """Make the commit final. Ctrl-C waits: a storage that it stopped here would close itself for good."""
        with uninterrupted():
            super().tpc_finish(transaction)
            self._begun = None

    def _store_objects(self, writer: Any, transaction: Any) -> None:
        """Store an object with the new ones it refers to; if that fails, disown those that were not stored.

        ZODB gives new objects their oid ahead of storing them. When an object cannot be pickled, those behind it
        would keep an oid that the database does not have, and storing them again later would store nothing.
        """
        remembering = _Remembering(writer)
        try:
            super()._store_objects(remembering, transaction)
        except BaseException:
            for obj in remembering.unfinished():
                oid = obj._p_oid
                if obj._p_jar is self and obj._p_serial == z64 and oid not in self._added:
                    self._creating.pop(oid, None)
                    if self._cache.get(oid) is None:
                        del obj._p_jar
                        del obj._p_oid
            raise

    def commit(self, transaction: Any) -> None:
        """Store the transaction's objects; what was saved for savepoints is stored with them."""
        self._in_commit = True
        try:
            super().commit(transaction)
        finally:
            self._in_commit = False

    def _invalidate_creating(self, creating: Any = None) -> None:
        """Objects made since a savepoint are not stored after all: new arrays among them keep their contents."""
        super()._invalidate_creating(creating)
        self.arrays.disown()

    def savepoint(self) -> Any:
        """A savepoint of objects and of arrays, new ones too."""
        if self._in_commit:
            return super().savepoint()
        self.saving = True
        try:
            objects = super().savepoint()
        finally:
            self.saving = False
        return _Savepoint(objects, ArraySavepoint(self.arrays))


class _Savepoint:
    """A savepoint of a connection's objects and of its arrays."""

    def __init__(self, objects: Any, arrays: ArraySavepoint) -> None:
        self._objects, self._arrays = objects, arrays

    def rollback(self) -> None:
        self._objects.rollback()
        self._arrays.rollback()


class _Remembering:
    """An `ObjectWriter` that remembers which objects it did not finish."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._current: Any = None

    def __iter__(self) -> Iterator[Any]:
        for obj in self._writer:
            self._current = obj
            yield obj
        self._current = None

    def serialize(self, obj: Any) -> bytes:
        if isinstance(obj, Blob):
            note_own(obj)
        return self._writer.serialize(obj)  # type: ignore[no-any-return]

    def unfinished(self) -> list[Any]:
        return [obj for obj in (self._current, *self._writer._stack) if obj is not None]


class DB(ZODB.DB):
    """A ZODB database whose root is a `wendelin.Folder` and whose connections map arrays."""

    klass = Connection

    def __init__(self, storage: Any, **options: Any) -> None:
        if not isinstance(storage, str) and storage is not None:
            _ensure_root(storage)
        self.board = board(blob_folder(storage))
        super().__init__(storage, **options)

    def pack(self, t: float | None = None, days: float = 0) -> None:
        """Free what only states before time `t` (seconds since 1970, default now) need, less `days`.

        Goes no further than to the oldest state that a tag on the database names or that a process still looks at.
        """
        from wendelin.storage.history.packing import limit

        super().pack(limit(self, (time.time() if t is None else t) - days * 86400))

    def lastTransaction(self) -> bytes:
        """The newest transaction, up to which `open(at=…)` works.

        RelStorage answers what it looked at last, which for the database's own storage is the past: a storage of a
        connection looks anew.
        """
        storage = self._mvcc_storage.new_instance()
        try:
            storage.poll_invalidations()
            return bytes(storage.lastTransaction())
        finally:
            storage.release()


def _ensure_root(storage: Any) -> None:
    """Give an empty database a Folder as its root; a database that has another root keeps it."""
    try:
        ZODB.utils.load_current(storage, z64)
        return
    except POSKeyError:
        if storage.isReadOnly():
            return
    data = BytesIO()
    pickler = pickle.Pickler(data, 3)
    pickler.dump((Folder, None))
    pickler.dump(Folder().__getstate__())
    transaction = TransactionMetaData(description="initial database creation")
    storage.tpc_begin(transaction)
    try:
        storage.store(z64, z64, data.getvalue(), "", transaction)
        storage.tpc_vote(transaction)
        storage.tpc_finish(transaction)
    except ConflictError:  # another process was first
        storage.tpc_abort(transaction)
    except BaseException:
        storage.tpc_abort(transaction)
        raise


__all__ = ["DB", "Connection"]
