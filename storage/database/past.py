"""Connections to past states, for who was sent a reference: kept open, because many references name one state.

- A historical connection, like any other, belongs to one thread: so each thread has its own, at most `KEPT`.
- They stand on databases of their own, opened read-only: whoever closes a connection of theirs closes its database,
  with its locks, whatever was received here.
- ``file://`` shows the state of the moment at which it was opened: it is opened again for a newer one.
- A forked child starts with none.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import transaction
from ZODB.utils import p64, u64

from wendelin.storage.database.connect import SharedDatabase, with_password
from wendelin.storage.database.urls import DatabaseURL, FileURL, PostgresqlURL, parse
from wendelin.storage.errors import ServerGoneError, StateGoneError

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection

#: Past states that a thread keeps open.
KEPT = 16

#: Threads that may have one state open before ZODB warns.
_THREADS = 256


class Past:
    """One connection to a past state, and the objects of it that live elsewhere."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._given: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()

    def object(self, oid: bytes) -> Any:
        """An object of this state; KeyError if it has none. The connection stays open as long as it lives."""
        found = self.connection.get(oid)
        self._given[oid] = found
        return found

    def rest(self) -> None:
        """Hold no snapshot of an SQL database open until the next use."""
        storage = getattr(self.connection._normal_storage, "_storage", None)
        if storage is not None and hasattr(storage, "afterCompletion"):
            storage.afterCompletion()

    def close(self) -> bool:
        """Close the connection, unless somebody still holds an object of it; views stay alive."""
        self.connection.cacheMinimize()
        if self._given:
            return False
        self.connection.close()
        return True


_Key = tuple[str, bytes]
_lock = threading.RLock()
_databases: dict[DatabaseURL, SharedDatabase] = {}
_threads: dict[int, OrderedDict[_Key, Past]] = {}
_inherited: list[Any] = []


def past(url: str, tid: bytes) -> Past:
    """This thread's connection to the state that transaction `tid` left in the database `url`.

    Raises `StateGoneError` when the database has no such transaction, and what `wendelin.connect` raises.
    """
    with _lock:
        _reap()
        known = _threads.setdefault(threading.get_ident(), OrderedDict())
    found = known.get((url, tid))
    if found is None:
        _make_room(known, KEPT - 1)
        found = known[url, tid] = Past(_opened(url, tid))
    known.move_to_end((url, tid))
    return found


def _opened(url: str, tid: bytes) -> Connection:
    connection = _connected(url, tid)
    connection.db().setHistoricalPoolSize(_THREADS)
    return connection


def _connected(url: str, tid: bytes) -> Connection:
    parsed = with_password(parse(url))
    before = p64(u64(tid) + 1)
    try:
        return _shared(parsed).open(transaction.TransactionManager(), before)
    except ServerGoneError as error:
        if not isinstance(parsed, PostgresqlURL) or parsed.password:
            raise
        raise ServerGoneError(
            f"{error}. A reference carries no password: set $PGPASSWORD or ~/.pgpass here, or call wendelin.connect() "
            "with it once in this process, before references are opened"
        ) from error
    except ValueError as error:
        if isinstance(parsed, FileURL):
            try:
                return _shared(parsed, anew=True).open(transaction.TransactionManager(), before)
            except ValueError:
                pass
        raise StateGoneError(
            f"{url} knows no transaction {tid.hex()}, which a reference names: it is another database, or was restored "
            "from a backup; send the view again"
        ) from error


def _shared(url: DatabaseURL, *, anew: bool = False) -> SharedDatabase:
    """The database of this process for past states; with `anew`, the one before closes with its connections."""
    with _lock:
        if anew or url not in _databases:
            _databases[url] = SharedDatabase(url, read_only=True)
        return _databases[url]


def _make_room(known: OrderedDict[_Key, Past], allowed: int) -> None:
    """Close what was not used for longest; what somebody holds an array of is kept and counts as used."""
    for key in list(known):
        if len(known) <= allowed:
            return
        if known[key].close():
            del known[key]
        else:
            known.move_to_end(key)


def _reap() -> None:
    """Close what threads that have ended left open."""
    alive = {thread.ident for thread in threading.enumerate()} | {threading.get_ident()}
    for ident in [ident for ident in _threads if ident not in alive]:
        _make_room(_threads[ident], 0)
        if not _threads[ident]:
            del _threads[ident]


def forget() -> None:
    """Close the past states that this thread keeps open and nobody holds an array of; views stay alive."""
    with _lock:
        _reap()
        _make_room(_threads.get(threading.get_ident(), OrderedDict()), 0)


def _forked() -> None:
    global _lock, _databases, _threads
    _inherited.append((_databases, _threads))  # nothing of the parent may be finalised here
    _lock, _databases, _threads = threading.RLock(), {}, {}


def _close_all() -> None:
    for known in list(_threads.values()):
        for some in known.values():
            some.connection.close()
    _threads.clear()


os.register_at_fork(after_in_child=_forked)
atexit.register(_close_all)
