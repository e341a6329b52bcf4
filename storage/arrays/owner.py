"""The arrays of one connection: who owns their addresses, and what happens to them at transaction boundaries.

Addresses belong to the *connection*, by oid, not to the persistent object, which ZODB may turn into a ghost at any
time. A write through a view tells nobody, so at the end of each transaction the owner asks the kernel what was
written, stores it as a segment and notes it in the extent map, *before* ZODB stores objects. Afterwards the same
addresses show the segment.

One owner serves one connection and, like it, one thread at a time.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from persistent import Persistent
from transaction._transaction import Status
from ZODB.POSException import ConflictError, POSKeyError

from wendelin.storage.arrays.extents import PAGE, Extents, new_segment_number
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.arrays.runs import Interval, clip, union
from wendelin.storage.arrays.segments import placed
from wendelin.storage.errors import ForkedConnectionError

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray
    from wendelin.storage.database.connection import Connection

#: Memories without views that a connection keeps mapped, so that the next slice finds its pages.
KEPT = 256

#: Runs within one block from which on a commit writes the whole block: reading needs a mapping a run.
RUNS_PER_BLOCK = 8

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
        self._transaction: weakref.ref[Any] | None = None
        self._committing = False
        self._forks = _forks

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened the connection."""
        return self._forks != _forks

    @property
    def connection(self) -> Connection:
        connection = self._connection()
        assert connection is not None
        return connection

    # -- for arrays

    def memory(self, array: ZBigArray) -> ArrayMemory:
        """The addresses of a stored array, showing this transaction's state of it."""
        if not self.forked:
            self._join()
        oid = array._p_oid
        memory = self._memories.get(oid)
        if memory is None:
            writable = not (self.connection.isReadOnly() or self.connection.before)
            memory = ArrayMemory(array.nbytes, array.pages_per_block, writable=writable)
            self._memories[oid] = memory
        extents = array.extents
        extents._p_activate()
        if memory.serial != extents._p_serial:
            memory.follow(extents)
        self._memories.move_to_end(oid)
        return memory

    def adopt(self, array: ZBigArray, memory: ArrayMemory) -> None:
        """Take over the memory of a new array that is being stored right now, and store its contents with it."""
        refuse_savepoint(self.connection._savepoint_storage is not None)
        self._memories[array._p_oid] = memory
        self._adopted.append((array, memory))
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
        if transaction is not None:
            self._transaction = weakref.ref(transaction)
            transaction.addBeforeCommitHook(self._mark)

    def before_completion(self, transaction: Any) -> None:
        """Store what was written, if this is a commit.

        A transaction that began implicitly (no `begin()`, no slice taken) is unknown here; abort and commit look the
        same then, so it is treated as a commit: an abort afterwards drops what was stored.
        """
        known = self._transaction is not None and self._transaction() is transaction
        committing, self._committing = self._committing, False
        if known and not committing:
            return
        try:
            for array, memory in self._written_to():
                if self.forked and memory.dirty():
                    self.refuse_if_forked()
                self._store(array, memory)
        except BaseException:
            transaction.addBeforeCommitHook(self._mark)  # a commit that is tried again must find the changes again
            raise

    def after_completion(self, transaction: Any) -> None:
        """Before the connection looks at the new state: throw away what was not committed."""
        committed = getattr(transaction, "status", None) is Status.COMMITTED
        self._committing = False
        self._transaction = None
        adopted, self._adopted = self._adopted, []
        for array, memory in adopted:
            if array._p_jar is None:
                self._give_back(array, memory)
        if committed or self.forked:
            return
        for memory in self._memories.values():
            if memory.handed_out:
                memory.revert()

    def follow(self) -> None:
        """The connection sees another state now: let living views show it; others follow when they are asked."""
        if self.forked:
            return
        for oid, memory in list(self._memories.items()):
            if memory.has_views:
                self._follow(oid, memory)
            else:
                memory.handed_out = False
        self._forget_unused()

    def uncommitted(self) -> list[ZBigArray]:
        """Arrays that were written through views since the last boundary."""
        return [array for array, memory in self._written_to() if memory.dirty()]

    def release(self) -> None:
        """The connection closes: addresses stay with the views that live, showing what they show now."""
        self._memories.clear()
        self._adopted.clear()

    # -- the work

    def _mark(self) -> None:
        self._committing = True

    def _join(self) -> None:
        """Make sure that this transaction's commit is told from its abort."""
        transaction = self.connection.transaction_manager.get()
        if self._transaction is None or self._transaction() is not transaction:
            self.began(transaction)

    def _written_to(self) -> Iterator[tuple[ZBigArray, ArrayMemory]]:
        for oid, memory in list(self._memories.items()):
            if memory.handed_out:
                yield self.connection.get(oid), memory

    def _store(self, array: ZBigArray, memory: ArrayMemory) -> None:
        """Write an array's dirty pages as one segment and note it in its extent map."""
        extents = array.extents
        extents._p_activate()
        if extents._p_serial != memory.serial is not None:
            raise ConflictError("the array changed under its views; retry the transaction", object=extents)
        end = -(-array.nbytes // PAGE)
        dirty = memory.trim(memory.dirty(), array.nbytes)
        if not dirty:
            return
        pages = _whole_blocks_where_better(dirty, extents, end)
        first, last = pages[0][0], pages[-1][1]
        memory.ensure(first * PAGE, last * PAGE, extents)
        segment = memory.write(pages, self.connection.db().storage.temporaryDirectory())
        number = new_segment_number()
        extents.record(placed(pages, number), number, segment)

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

    def _give_back(self, array: ZBigArray, memory: ArrayMemory) -> None:
        """A new array was not stored after all: it keeps its contents, like any new Python object."""
        for oid, known in list(self._memories.items()):
            if known is memory:
                del self._memories[oid]
        array.take_back(memory)

    def _forget_unused(self) -> None:
        for oid in list(self._memories):
            if len(self._memories) <= KEPT:
                return
            if not self._memories[oid].has_views:
                del self._memories[oid]


def refuse_savepoint(it_would_lose_data: bool) -> None:
    """Raise when a savepoint could not take array contents back."""
    if it_would_lose_data:
        raise NotImplementedError(
            "savepoints do not cover arrays yet: call transaction.commit() instead of transaction.savepoint()"
        )


def _whole_blocks_where_better(dirty: list[Interval], extents: Extents, end: int) -> list[Interval]:
    """Widen to whole blocks where most of a block changed anyway, or where it would fall into too many runs."""
    step = extents.pages_per_block
    widened: list[Interval] = []
    partial: dict[int, list[Interval]] = {}
    for lo, hi in dirty:
        first, last = -(-lo // step), hi // step
        if first >= last:
            edges = [(lo, hi)] if lo // step == (hi - 1) // step else [(lo, first * step), (first * step, hi)]
        else:
            widened.append((first * step, last * step))
            edges = [(lo, first * step), (last * step, hi)]
        for a, b in edges:
            if a < b:
                partial.setdefault(a // step, []).append((a, b))
    for block, intervals in partial.items():
        lo, hi = block * step, min((block + 1) * step, end)
        written = sum(b - a for a, b in intervals)
        if 2 * written >= hi - lo or len(intervals) + _runs_within(extents, lo, hi) > RUNS_PER_BLOCK:
            intervals = [(lo, hi)]
        widened += intervals
    return union(widened)


def _runs_within(extents: Extents, lo: int, hi: int) -> int:
    return len(clip(extents.lookup(lo, hi)[0], lo, hi))
