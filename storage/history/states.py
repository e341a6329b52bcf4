"""States: which ones a database has, and which of them a moment names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import transaction
from ZODB.utils import p64, u64, z64

from wendelin.storage.errors import MomentError, NoHistoryError, StateGoneError
from wendelin.storage.history.moments import last_tid, moment, time_of, told
from wendelin.storage.history.tags import Tag, tags_of

if TYPE_CHECKING:
    from wendelin.storage.database.connection import DB, Connection

#: Stretches of a transaction's number, a minute and a day, in which a database that lists all of them is asked.
_WINDOWS = (1 << 32, 1440 << 32, None)


@dataclass(frozen=True)
class State:
    """What transaction `tid` left; of a tag that keeps some objects only, the oid of that tag."""

    tid: bytes
    tag: bytes | None = None


def state(db: DB, at: Any) -> State:
    """The state that `at` names; see `moment`. Whether it was packed away, `refuse_gone` tells.

    Raises `MomentError` for what names none, `StateGoneError` for a time in the future, `NoHistoryError`.
    """
    if getattr(db.storage, "keep_history", True) is False:
        raise NoHistoryError(
            f"{db.storage.getName()} keeps no history, only its latest state: connect to it without at=, or copy it "
            "into a database that keeps history"
        )
    named = moment(at)
    if isinstance(named, str):
        return _tagged(db, named)
    newest = db.lastTransaction()
    if isinstance(named, datetime):
        tid = last_tid(named)
        if tid > newest and named > datetime.now(UTC):
            raise _missing(db, f"{named.isoformat()} lies in the future")
        return State(min(tid, newest))
    if named > newest:
        raise _missing(db, f"there is no transaction {named.hex()} yet")
    return State(named)


def _tagged(db: DB, name: str) -> State:
    with reading(db) as connection:
        tags = tags_of(connection)
        tag: Tag | None = None if tags is None else tags.get(name)
        if tag is None:
            known = ", ".join(repr(each) for each in (tags.names() if tags is not None else ())) or "none"
            raise MomentError(
                f"{name!r} is neither a time nor a transaction, and no tag has that name (tags: {known}): write a time "
                "as '2026-01-01T12:00+00:00', or make the tag with conn.tag(name)"
            )
        tag._p_activate()
        if tag.content is None:
            return State(tag._p_serial)
        assert tag._p_oid is not None
        return State(db.lastTransaction(), tag._p_oid)


@contextmanager
def reading(db: DB) -> Iterator[Connection]:
    """A connection for a moment, with a transaction manager of its own."""
    connection = db.open(transaction.TransactionManager())
    try:
        yield connection
    finally:
        connection.transaction_manager.abort()
        connection.close()


@contextmanager
def latest(db: DB) -> Iterator[Any]:
    """A storage of its own for a moment, which sees all that was committed: an SQL database's may look at the past."""
    storage = db._mvcc_storage.new_instance()
    try:
        storage.poll_invalidations()
        yield storage
    finally:
        storage.release()


def refuse_gone(db: DB, tid: bytes, *, has_root: bool) -> None:
    """Raise `StateGoneError` for a state before the first one or one that was packed away, naming those there are.

    `has_root`: whether the database's root was found in that state.
    """
    following = None if tid >= db.lastTransaction() else following_transaction(db.storage, tid)
    if following is not None and following.status == "p":
        raise _missing(db, f"the state of {time_of(tid):%Y-%m-%d %H:%M:%S} UTC was packed away")
    if not has_root:
        raise _missing(db, f"the database did not exist at {time_of(tid):%Y-%m-%d %H:%M:%S} UTC")


def following_transaction(storage: Any, tid: bytes) -> Any:
    """The first transaction after `tid`, None when there is none. A database's own list is not read further."""
    start = u64(tid) + 1
    windows = _WINDOWS if hasattr(storage, "_adapter") else (None,)  # RelStorage fetches all it is asked for
    for window in windows:
        found = _first(storage, p64(start), None if window is None else p64(start + window))
        if found is not None:
            return found
    return None


def _first(storage: Any, start: bytes | None, stop: bytes | None) -> Any:
    with transactions_from(storage, start, stop) as found:
        return next(found, None)


@contextmanager
def transactions_from(storage: Any, start: bytes | None = None, stop: bytes | None = None) -> Iterator[Any]:
    """Transactions in the order of their commits, as the storage has them, packed ones too."""
    found = storage.iterator(start, stop)
    try:
        yield iter(found)
    finally:
        close = getattr(found, "close", None)
        if close is not None:
            close()


def oldest(storage: Any) -> bytes | None:
    """The oldest state that can be read; None in an empty database."""
    last: bytes | None = None
    with transactions_from(storage) as found:
        for each in found:
            if each.status != "p":
                return last or bytes(each.tid)
            last = bytes(each.tid)
    return last


def _missing(db: DB, why: str) -> StateGoneError:
    first, newest = oldest(db.storage), db.lastTransaction()
    if first is None or newest == z64:
        return StateGoneError(f"{why}; nothing was committed to this database yet")
    times = f"the states from {told(first)} to now" if first < newest else f"only the latest state, of {told(newest)}"
    return StateGoneError(f"{why}: this database has {times}; wendelin.history(conn) lists its transactions")
