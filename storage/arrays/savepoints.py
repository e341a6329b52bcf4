"""Savepoints of arrays: `transaction.savepoint()` and its `rollback()` take array contents along.

A transaction asks only those who joined it. The connection joins when an object changes, which a write through a view
does not; so the owner joins by itself as soon as it gives a slice. It stores nothing: the connection does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wendelin.storage.arrays.interrupts import uninterrupted

if TYPE_CHECKING:
    from wendelin.storage.arrays.owner import ArrayOwner


class Joined:
    """An owner's part in a transaction."""

    def __init__(self, owner: ArrayOwner) -> None:
        self._owner = owner
        self._key = f"~wendelin:{id(owner)}"

    @property
    def transaction_manager(self) -> Any:
        """Whose transactions it joins."""
        return self._owner.connection.transaction_manager

    def savepoint(self) -> ArraySavepoint:
        """Called by `transaction.savepoint()`."""
        return ArraySavepoint(self._owner)

    def abort(self, transaction: Any) -> None:
        """Called by an abort, whose work the connection does, and by a rollback to before the first slice."""
        with uninterrupted():
            self._owner.rolled_back()

    def tpc_begin(self, transaction: Any) -> None:
        """Nothing of ours to do in a commit."""

    commit = tpc_vote = tpc_finish = tpc_abort = tpc_begin

    def sortKey(self) -> str:
        """Behind all others."""
        return self._key


class ArraySavepoint:
    """What the arrays of a connection were at a savepoint. Writes what has changed to the transaction's files."""

    def __init__(self, owner: ArrayOwner) -> None:
        self._owner = owner
        self._snapshot = owner.snapshot()

    def rollback(self) -> None:
        """Show it again, at the same addresses."""
        with uninterrupted():
            self._owner.restore(self._snapshot)
