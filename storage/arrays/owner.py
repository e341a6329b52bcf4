"""The arrays of one connection: who owns their addresses, and what happens to them at transaction boundaries.

Addresses belong to the *connection*, by oid, not to the persistent object, which ZODB may turn into a ghost at any
time. A write through a view tells nobody, so at the end of each transaction the owner asks the kernel what was
written, stores it as a segment and notes it in the extent map, *before* ZODB stores objects. Afterwards the same
addresses show the segment.

One owner serves one connection and, like it, one thread at a time: the one that touched its arrays first in a
transaction.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from persistent import Persistent
from transaction._transaction import Status
from ZODB.POSException import ConflictError, POSKeyError

from wendelin.storage.arrays import flush
from wendelin.storage.arrays.addresses import mappings_allowed, short_of_data
from wendelin.storage.arrays.budget import Spiller
from wendelin.storage.arrays.forms import Form, blob_folder, form_of
from wendelin.storage.arrays.interrupts import uninterrupted
from wendelin.storage.arrays.known import mappings
from wendelin.storage.arrays.local import LocalFiles, scratch_folder
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.arrays.pages import Chunks
from wendelin.storage.arrays.remote import RemoteFiles
from wendelin.storage.arrays.savepoints import Joined
from wendelin.storage.errors import ForeignThreadError, ForkedConnectionError

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray
    from wendelin.storage.arrays.extents import Extents
    from wendelin.storage.arrays.runs import Run
    from wendelin.storage.database.connection import Connection

#: Memories without views that a connection keeps mapped, so that the next slice finds its pages.
KEPT = 256

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


class ArrayOwner:
    """Owns the memories of a connection's arrays."""

    def __init__(self, connection: Connection) -> None:
        self._connection = weakref.ref(connection)
        self._memories: OrderedDict[bytes, ArrayMemory] = OrderedDict()
        self._adopted: list[tuple[ZBigArray, ArrayMemory]] = []
        self._chunks: list[Chunks] = []
        self._transaction: weakref.ref[Any] | None = None
        self._thread: int | None = None
        self._joined = False
        self._committing = False
        self._forks = _forks
        self._files = LocalFiles(self._remote_files)
        self._form: Form | None = None
        self._remote: RemoteFiles | None = None
        self._drafts: tuple[str | None] | None = None
        self._spiller = Spiller(lambda: list(self._memories.values()))

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened the connection."""
        return self._forks != _forks

    @property
    def connection(self) -> Connection:
        connection = self._connection()
        assert connection is not None
        return connection

    @property
    def drafts(self) -> str:
        """The folder where segments are made: the storage's own, else a local one."""
        return self._blob_folder or scratch_folder()

    @property
    def form(self) -> Form:
        """How the storage keeps segments."""
        if self._form is None:
            self._form = form_of(self.connection.db().storage)
        return self._form

    def _remote_files(self) -> RemoteFiles:
        if self._remote is None:
            self._remote = RemoteFiles(self.connection.db(), self.connection.url)
        return self._remote

    @property
    def _blob_folder(self) -> str | None:
        if self._drafts is None:
            self._drafts = (blob_folder(self.connection.db().storage),)
        return self._drafts[0]

    # -- for arrays

    def memory(self, array: ZBigArray) -> ArrayMemory:
        """The addresses of a stored array, showing this transaction's state of it."""
        if not self.forked:
            self._join()
        oid = array._p_oid
        memory = self._memories.get(oid)
        if memory is None:
            self._files.near = self.form.near
            writable = not (self.connection.isReadOnly() or self.connection.before)
            memory = ArrayMemory(
                array.nbytes,
                array.pages_per_block,
                writable=writable,
                files=self._files,
                drafts=self.drafts if writable else None,
            )
            memory.origin = (self._connection, oid)
            self._memories[oid] = memory
        extents = array.extents
        extents._p_activate()
        if memory.serial != extents._p_serial:
            with uninterrupted():
                memory.follow(extents)
        self._memories.move_to_end(oid)
        return memory

    def has_memory(self, array: ZBigArray) -> bool:
        """Whether addresses were ever given to this array here."""
        return array._p_oid in self._memories

    def memory_of(self, oid: bytes) -> ArrayMemory | None:
        """The addresses that an array has here, if any."""
        return self._memories.get(oid)

    def handed_out(self, nbytes: int) -> None:
        """A writable slice of `nbytes` is about to be given, or written to."""
        self._spiller.handed_out(nbytes)

    def adopt(self, array: ZBigArray, memory: ArrayMemory) -> None:
        """Take over the memory of a new array that is being stored right now, and store its contents with it."""
        self._files.near = self.form.near
        memory.files, memory.drafts = self._files, self.drafts
        memory.origin = (self._connection, array._p_oid)
        if memory.draft is not None and self.form.blobs:
            memory.draft.moved(self.drafts)
        self._memories[array._p_oid] = memory
        self._adopted.append((array, memory))
        if self.connection.saving:
            memory.written.expose()  # the commit finds it; until then it is like any array that was written
            self._join()
        else:
            self._store(array, memory)

    def refuse_if_forked(self) -> None:
        """Raise in a child that inherited this connection."""
        if self.forked:
            raise ForkedConnectionError(
                "this connection belongs to the process that forked this one: here its arrays can be read as far as "
                "they were mapped, not written; open your own with wendelin.connect()"
            )

    # -- transaction boundaries, called by the connection

    def began(self, transaction: Any) -> None:
        """A transaction begins: from its commit (not its abort) on, written pages are stored."""
        self._thread, self._joined = None, False
        if transaction is not None:
            self._transaction = weakref.ref(transaction)
            transaction.addBeforeCommitHook(self._mark)

    def before_completion(self, transaction: Any) -> None:
        """Store what was written, if this is a commit.

        A transaction that began implicitly (no `begin()`, no slice taken) is unknown here; abort and commit look the
        same then, so it is treated as a commit: an abort afterwards drops what was stored.
        """
        if getattr(transaction, "status", None) is Status.COMMITTED:  # an interrupt kept its end from being seen
            return
        known = self._transaction is not None and self._transaction() is transaction
        committing, self._committing = self._committing, False
        if known and not committing:
            return
        before: list[tuple[Extents, dict[str, Any]]] = []
        try:
            self._refuse_foreign_thread()
            for array, memory in self._written_to():
                if self.forked and memory.dirty():
                    self.refuse_if_forked()
                array.extents._p_activate()
                before.append((array.extents, dict(array.extents.__dict__)))
                self._store(array, memory)
        except BaseException:
            for extents, state in before:
                extents.__dict__.clear()
                extents.__dict__.update(state)
            transaction.addBeforeCommitHook(self._mark)  # a commit that is tried again must find the changes again
            raise

    def after_completion(self, transaction: Any) -> None:
        """Before the connection looks at the new state: throw away what was not committed."""
        committed = getattr(transaction, "status", None) is Status.COMMITTED
        self._committing = False
        self._transaction = self._thread = None
        self._joined = False
        self._spiller.settled()
        with uninterrupted():
            self.disown()
            self._adopted.clear()
            chunks, self._chunks = self._chunks, []
            for part in (part for some in chunks for part in some.parts if committed):
                part.forget_file()
            if self.forked:
                return
            for memory in self._memories.values():
                if memory.written.handed_out:
                    memory.committed() if committed else memory.revert()

    def follow(self) -> None:
        """The connection sees another state now: let living views show it; others follow when they are asked."""
        if self.forked:
            return
        with uninterrupted():
            for oid, memory in list(self._memories.items()):
                if memory.has_views:
                    self._follow(oid, memory)
                else:
                    memory.written.rest()
            self._forget_unused()

    def join_for_views(self) -> None:
        """A transaction was begun while views live: its savepoints see what is written through them."""
        if any(memory.written.handed_out and memory.writable for memory in self._memories.values()):
            self._join_transaction()

    def uncommitted(self) -> list[ZBigArray]:
        """Arrays that were written through views since the last boundary."""
        return [array for array, memory in self._written_to() if memory.changed()]

    def release(self) -> None:
        """The connection closes: addresses stay with the views that live, showing what they show now."""
        self._memories.clear()
        self._adopted.clear()
        self._spiller.settled()

    # -- savepoints

    def snapshot(self) -> dict[bytes, list[Run]]:
        """What `restore` takes back later: where each array's changes lie now, all of them spilled."""
        self._refuse_foreign_thread()
        return {oid: memory.snapshot() for oid, memory in self._memories.items() if memory.written.handed_out}

    def restore(self, snapshot: dict[bytes, list[Run]]) -> None:
        """Let the arrays show what they did at a `snapshot` of this transaction."""
        for oid, memory in list(self._memories.items()):
            if memory.written.handed_out:
                try:
                    array: Any = self.connection.get(oid)
                    array._p_activate()
                except POSKeyError:  # made since: it is like any new object again
                    continue
                array.extents._p_activate()
                memory.restore(snapshot.get(oid, []), array.extents)
        self.disown()

    def rolled_back(self) -> None:
        """Let the arrays show what they did before this transaction touched them."""
        self._joined = False
        new = [memory for _, memory in self._adopted]
        for memory in self._memories.values():
            if memory.written.handed_out and memory not in new:
                memory.revert()
                memory.serial = None

    # -- the work

    def _mark(self) -> None:
        self._committing = True

    def _join(self) -> None:
        """Make sure that this transaction's commit is told from its abort, and that its savepoints see arrays."""
        self._refuse_foreign_thread()
        self._join_transaction()
        self._thread = threading.get_ident()

    def _join_transaction(self) -> None:
        transaction = self.connection.transaction_manager.get()
        if self._transaction is None or self._transaction() is not transaction:
            self.began(transaction)
        if not self._joined and not self.connection.isReadOnly() and not self.connection.before:
            self._joined = True
            transaction.join(Joined(self))

    def _refuse_foreign_thread(self) -> None:
        if self._thread not in (None, threading.get_ident()):
            raise ForeignThreadError(
                f"thread {threading.current_thread().name!r} used a connection whose transaction runs in another "
                "thread: take the views there and hand them over (arrays of NumPy may be used in any thread), or open "
                "a connection of its own here with wendelin.connect()"
            )

    def _written_to(self) -> Iterator[tuple[ZBigArray, ArrayMemory]]:
        for oid, memory in list(self._memories.items()):
            if memory.written.handed_out:
                yield self.connection.get(oid), memory

    def _store(self, array: ZBigArray, memory: ArrayMemory) -> None:
        extents = array.extents
        extents._p_activate()
        if extents._p_serial != memory.serial is not None:
            raise ConflictError("the array changed under its views; retry the transaction", object=extents)
        self._chunks += flush.store(array, memory, self.drafts, self.form)

    def _follow(self, oid: bytes, memory: ArrayMemory) -> None:
        try:
            array: Persistent = self.connection.get(oid)
            extents = array.extents
            extents._p_activate()
        except POSKeyError:  # deleted and packed away elsewhere: the views keep what they show
            del self._memories[oid]
            return
        if memory.serial != extents._p_serial:
            memory.follow(extents)

    def disown(self) -> None:
        """Give their memory back to new arrays that were not stored after all."""
        for array, memory in self._adopted:
            if array._p_jar is None:
                self._give_back(array, memory)
        self._adopted = [(array, memory) for array, memory in self._adopted if array._p_jar is not None]

    def _give_back(self, array: ZBigArray, memory: ArrayMemory) -> None:
        """A new array was not stored after all: it keeps its contents, like any new Python object."""
        for oid, known in list(self._memories.items()):
            if known is memory:
                del self._memories[oid]
        array.take_back(memory)

    def _forget_unused(self) -> None:
        for oid in list(self._memories):
            if len(self._memories) <= KEPT and mappings() <= mappings_allowed() and not short_of_data():
                return
            if not self._memories[oid].has_views:
                del self._memories[oid]
