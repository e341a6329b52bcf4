"""Opening an earlier state: a read-only connection that shows a database as a transaction left it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import transaction
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

from wendelin.storage.database.connect import SharedDatabase, opened, shared
from wendelin.storage.database.urls import DatabaseURL, FileURL
from wendelin.storage.errors import StateGoneError
from wendelin.storage.history.states import refuse_gone, state

if TYPE_CHECKING:
    from wendelin.storage.database.connection import DB, Connection

#: Connections to one and the same state that may be open before ZODB warns.
SAME_STATE = 1000


def open_at(db: DB, at: Any, transaction_manager: Any = None) -> Connection:
    """A read-only connection to the state of `db` that `at` names. Closing it puts it into the database's pool.

    Raises what `wendelin.connect(url, at=…)` raises.
    """
    found = state(db, at)
    if db.getHistoricalPoolSize() < SAME_STATE:
        db.setHistoricalPoolSize(SAME_STATE)
    before = p64(u64(found.tid) + 1)
    manager = transaction.manager if transaction_manager is None else transaction_manager
    try:
        connection = db.open(transaction_manager=manager, before=before)
    except ValueError as error:  # something was committed and taken back; or a clock that went backwards
        raise StateGoneError(f"{at!r} lies in the future of this database: {error}") from error
    try:
        if found.tag is None:
            refuse_gone(db, found.tid, has_root=_has_root(connection))
        else:
            connection.show(found.tag)
        connection.read_only = True
    except BaseException:
        connection.close()
        raise
    return cast("Connection", connection)


def _has_root(connection: Connection) -> bool:
    try:
        connection.get(z64)._p_activate()
    except POSKeyError:
        return False
    return True


def connect_at(url: DatabaseURL, at: Any, transaction_manager: Any = None) -> Connection:
    """What `wendelin.connect(url, at=…)` calls.

    It stands on the database that this process has open already, else on one that is opened read-only.
    """
    found = opened(url)
    if found is None:
        found = shared(url, read_only=True)
        if isinstance(url, FileURL) and _is_outdated(found, url.folder / "Data.fs"):
            found = shared(url, read_only=True, anew=True)
    return found.open_at(at, transaction_manager)


def _is_outdated(database: SharedDatabase, file: Path) -> bool:
    """Whether a file was written to since it was opened for reading, which shows what it held then."""
    storage = database.storage
    return storage is not None and file.exists() and storage.getSize() != file.stat().st_size
