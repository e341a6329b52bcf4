"""Earlier states that a notebook has open: kept, so that what a cell took from one can be used in the next."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection

#: States that stay open; the one that was not used for longest is closed first. Arrays of NumPy outlive that.
KEPT = 8


class Past:
    """Read-only connections to earlier states of the session's database, each with its own transactions."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[bytes, bytes | None], Connection] = OrderedDict()

    def at(self, db: Any, moment: Any) -> Connection:
        """The connection to the state that `moment` names, opened if it is not open yet."""
        import transaction

        from wendelin.storage.history.opening import open_at
        from wendelin.storage.history.snapshots import snapshot

        connection = open_at(db, moment, transaction.TransactionManager())
        key = snapshot(connection), connection.shown
        known = self._open.pop(key, None)
        if known is not None:
            connection.close()
            connection = known
        self._open[key] = connection
        while len(self._open) > KEPT:
            self._open.popitem(last=False)[1].close()
        return connection

    def close(self) -> None:
        """Close all; arrays of NumPy that were taken from them stay readable."""
        while self._open:
            self._open.popitem()[1].close()
