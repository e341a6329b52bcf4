"""`connect`: from a URL to a connection.

- One ZODB database per (process, URL, read-only), however many connections: they share its server connection and
  its caches. It opens with its first connection and closes with its last one, or when the process ends.
- A forked child starts with none: the parent's stay the parent's.
- This module imports nothing heavy: a server, and programs that never connect, need it only by name.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from wendelin.storage.database import ondemand
from wendelin.storage.database.urls import DatabaseURL, LocalURL, parse

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection
    from wendelin.storage.database.opening import SharedDB

log = logging.getLogger(__name__)


def connect(
    url: str | None = None, *, read_only: bool = False, at: Any = None, transaction_manager: Any = None
) -> Connection:
    """Open the database that `url` names and return a connection to it.

    Parameters
    ----------
    url
        None: `$WENDELIN_DB`, else your own database, whose server starts on demand and is shared by all your
        processes. Else ``local:///folder``, ``zeo://host:port``, ``zeo:///path/to/socket``, ``file:///folder``,
        ``postgresql://user:password@host:port/name`` or ``sqlite:///folder``; see `wendelin.storage.database.urls`.
    read_only
        The storage itself refuses to write: a commit raises `ZODB.POSException.ReadOnlyError`. ``file://`` then
        takes no lock and shows the state of this moment until all its read-only connections are closed; all other
        kinds follow what others commit.
    at
        An earlier state, to read: a time (a datetime with a zone, or text as ``"2026-01-01T12:00+00:00"``), a
        transaction (8 bytes, an int, 16 hex digits, or an item of `wendelin.history(conn)`), or the name of a tag.
        Nothing is copied; many states can be open at once. A change raises `PastIsReadOnlyError`. Of a tag on an array
        or a folder, ``conn.root()`` holds these only.
    transaction_manager
        Whose transactions the connection joins; None: the calling thread's, `transaction.manager`. Two connections
        to one database that write in the same transaction exclude each other: give the second one a manager of its
        own (``transaction.TransactionManager()``).

    Returns
    -------
    Connection
        ``conn.root()`` is a `wendelin.Folder`. ``conn.url`` is the URL without a password, ``conn.read_only`` as
        asked. A connection belongs to one thread at a time, and to this process: a forked child opens its own.
        Close it with ``conn.close()``.

    Raises
    ------
    DatabaseURLError
        The URL cannot be understood.
    ServerGoneError
        The server does not answer or did not start. Raised by a later use too; the connection works again at the
        next transaction once the server is back.
    DatabaseLockedError
        ``file://`` and another process has it.
    UnavailableError
        There is nothing to read yet (`read_only`).
    StorageFullError, ResourceError
        The machine refuses disk space, folders or sockets.
    MissingPackageError
        The kind of database needs an optional package.
    MomentError, StateGoneError, NoHistoryError
        `at` names no state, one that the database does not have (the message says which it has), or the database
        keeps no earlier states.
    """
    if at is not None:
        from wendelin.storage.history.opening import connect_at

        return connect_at(parse(url), at, transaction_manager)
    return shared(parse(url), read_only=read_only).open(transaction_manager)


class SharedDatabase:
    """One database of this process, open while it has connections."""

    def __init__(self, url: DatabaseURL, read_only: bool) -> None:
        self._url = url
        self._read_only = read_only
        self._lock = threading.RLock()
        self._db: SharedDB | None = None
        self._opening = 0

    def open(self, transaction_manager: Any, before: bytes | None = None) -> Connection:
        """A connection; with `before`, to the state before that transaction, ValueError when it lies in the future."""
        with self._lock:
            db = self._database()
            try:
                if before is not None and hasattr(db.storage, "poll_invalidations"):
                    db.storage.poll_invalidations()  # RelStorage would take what it has not looked at for the future
                    db.storage.afterCompletion()
                connection = db.open(transaction_manager=transaction_manager, before=before)
            finally:
                self._close_if_idle()
        connection.url = self._url.url
        connection.read_only = self._read_only
        return connection

    def open_at(self, at: Any, transaction_manager: Any) -> Connection:
        """A connection to the state that `at` names; see `connect`."""
        from wendelin.storage.history.opening import open_at

        with self._lock:
            db = self._database()
            self._opening += 1  # looking for a tag opens and closes a connection
            try:
                connection = open_at(db, at, transaction_manager)
            finally:
                self._opening -= 1
                self._close_if_idle()
        connection.url = self._url.url
        return connection

    @property
    def storage(self) -> Any:
        """The storage, None while it is not open."""
        return None if self._db is None else self._db.storage

    def _database(self) -> SharedDB:
        if self._db is None:
            from wendelin.storage.database.opening import open_database

            self._db = open_database(self._url, read_only=self._read_only, on_idle=self._close_if_idle)
        else:
            if isinstance(self._url, LocalURL):
                ondemand.ensure(self._url.folder)  # even one that was stopped on purpose
            # A database that is open already may not have heard yet of what another process has just committed.
            with contextlib.suppress(AttributeError):
                self._db.storage.sync()
        return self._db

    def _close_if_idle(self) -> None:
        with self._lock:
            if self._db is not None and not self._db.connections and not self._opening:
                self.close()

    def close(self) -> None:
        with self._lock:
            db, self._db = self._db, None
        if db is not None:
            db.close()


_registry_lock = threading.Lock()
_registry: dict[tuple[DatabaseURL, bool], SharedDatabase] = {}
# Nothing of the parent may be finalised in a forked child: it would speak on the parent's sockets.
_inherited: list[dict[tuple[DatabaseURL, bool], SharedDatabase]] = []


def shared(url: DatabaseURL, *, read_only: bool, anew: bool = False) -> SharedDatabase:
    """The database of this process; with `anew`, the one before closes with its last connection."""
    with _registry_lock:
        if anew or (url, read_only) not in _registry:
            _registry[url, read_only] = SharedDatabase(url, read_only)
        return _registry[url, read_only]


def opened(url: DatabaseURL) -> SharedDatabase | None:
    """The database of this process if it is open for writing."""
    with _registry_lock:
        found = _registry.get((url, False))
    return found if found is not None and found.storage is not None else None


def with_password(url: DatabaseURL) -> DatabaseURL:
    """`url`, which carries no password, as this process has opened it before, perhaps with one."""
    with _registry_lock:
        return next((known for known, _ in _registry if known.url == url.url), url)


def _forked() -> None:
    global _registry_lock, _registry
    _inherited.append(_registry)
    _registry_lock, _registry = threading.Lock(), {}


def _close_all() -> None:
    for (url, _), each in list(_registry.items()):
        try:
            each.close()
        except Exception:
            log.warning("closing %s", url.url, exc_info=True)


os.register_at_fork(after_in_child=_forked)
atexit.register(_close_all)
