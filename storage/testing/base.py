"""How the contract's tests open databases, and close them in the right order."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from transaction import TransactionManager

from wendelin.storage.arrays import compaction, extents, index, segments
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.database.opening import open_database
from wendelin.storage.database.urls import parse

T = TypeVar("T")


class Opener(Protocol):
    """Opens one and the same database each time it is called, in any process: it can be pickled.

    As `functools.partial(function, …)` of a function that a module has.
    """

    def __call__(self, *, read_only: bool = False) -> DB:
        """A database of its own: with its own storage, its own connection to a server."""
        ...


def open_url(url: str, *, read_only: bool = False) -> DB:
    """The database that a URL names, without sharing it with others of this process as `wendelin.connect` does."""
    return open_database(parse(url), read_only=read_only, on_idle=_nothing)


def _nothing() -> None:
    """What an idle database of a test calls: the test closes it."""


class Base:
    """What a storage tells the suite about itself, and what the tests open databases with."""

    #: Whether several processes, or several storages of one process, may write at the same time.
    several_processes = True

    #: Whether the storage keeps blobs. Without them, arrays lie in many small objects.
    blobs = True

    #: Whether the past can be read (`DB.open(before=…)`) and undone.
    keeps_history = True

    # -- to override

    def make_url(self) -> str:
        """The URL of a database, empty or not: each test works below a name of its own, alone."""
        raise NotImplementedError(f"override make_url() or make_opener() in {type(self).__name__}")

    def make_opener(self) -> Opener:
        """What opens the database. Called once a test."""
        return functools.partial(open_url, self.make_url())

    # -- for those who override

    @functools.cached_property
    def folder(self) -> Path:
        """An empty folder of this test, with a path short enough for sockets below it."""
        return Path(self.enter_context(tempfile.TemporaryDirectory(prefix="w-")))

    def enter_context(self, manager: contextlib.AbstractContextManager[T]) -> T:
        """Enter a context that ends with the test, after its databases were closed."""
        return self._parts.enter_context(manager)

    # -- the runners' hooks: pytest's and unittest's, after each test

    def teardown_method(self) -> None:
        """Close the databases, then end what was entered."""
        try:
            self.close_databases()
        finally:
            self._parts.close()

    def tearDown(self) -> None:
        """What unittest calls."""
        self.teardown_method()

    # -- for the tests

    @functools.cached_property
    def open_db(self) -> Opener:
        """Opens the database once more."""
        return self.make_opener()

    @functools.cached_property
    def db(self) -> DB:
        """The test's database, open until `close_databases`."""
        return self.another_db()

    def another_db(self, *, read_only: bool = False) -> DB:
        """Opens the database once more; it is closed with the others."""
        db = self.open_db(read_only=read_only)
        self._open.callback(db.close)
        return db

    def other_db(self) -> DB:
        """A database that another process could have: the same one where only one may be open."""
        return self.another_db() if self.several_processes else self.db

    def connect(self, db: DB | None = None, **options: Any) -> Connection:
        """A connection with a transaction manager of its own, closed with its database."""
        chosen = self.db if db is None else db
        connection: Connection = chosen.open(TransactionManager(), **options)
        self._open.callback(_close, connection)
        return connection

    def close_databases(self) -> None:
        """Close all connections and databases; `db` opens again when it is asked for."""
        self.__dict__.pop("db", None)
        self._open.close()

    @functools.cached_property
    def name(self) -> str:
        """The folder that this test's objects lie in."""
        return f"contract/{uuid.uuid4().hex}"

    def place(self, connection: Connection) -> Any:
        """The `wendelin.Folder` of this test."""
        return connection.root().folder(self.name)

    @functools.cached_property
    def _parts(self) -> contextlib.ExitStack:
        return contextlib.ExitStack()

    @functools.cached_property
    def _open(self) -> contextlib.ExitStack:
        return contextlib.ExitStack()


def _close(connection: Connection) -> None:
    if connection.opened:
        connection.transaction_manager.abort()
        connection.close()


def begin(connection: Connection) -> None:
    """See what others have committed."""
    connection.transaction_manager.begin()


def begin_all(*connections: Connection) -> None:
    """`begin` for each."""
    for connection in connections:
        begin(connection)


def commit(connection: Connection) -> None:
    """Commit the connection's own transaction."""
    connection.transaction_manager.commit()


def abort(connection: Connection) -> None:
    """Abort the connection's own transaction."""
    connection.transaction_manager.abort()


@contextlib.contextmanager
def small_limits() -> Iterator[None]:
    """Reorganise arrays after a few changes instead of after dozens, in this process."""
    limits: list[tuple[Any, str, int]] = [
        (extents, "LOG_ENTRIES", 4),
        (extents, "RECENT", 2),
        (extents, "LOG_PATCHES", 7),
        (index, "CHUNK_RUNS", 8),
        (extents, "TAIL_PIECES", 4),
        (compaction, "TAIL_PIECES", 4),
        (compaction, "RUNS_PER_BLOCK", 4),
        (segments, "PART", 1 << 19),
        (compaction, "PART", 1 << 19),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in limits]
    for module, name, value in limits:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """An environment variable, for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
