"""Opens what a URL names: one function a kind of database, each giving a ZODB storage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ZODB.utils import z64

from wendelin.storage.database import ondemand, paths
from wendelin.storage.database.blobcache import take_over
from wendelin.storage.database.client import ServerGone, ZeoStorage
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.database.files import open_folder
from wendelin.storage.database.urls import DatabaseURL, FileURL, LocalURL, PostgresqlURL, SqliteURL, ZeoURL
from wendelin.storage.errors import UnavailableError


class SharedDB(DB):
    """A database that counts its open connections and tells when there are none left."""

    def __init__(self, storage: Any, on_idle: Callable[[], None], **options: Any) -> None:
        self._on_idle = on_idle
        self._counting = threading.Lock()
        self.connections = 0
        super().__init__(storage, **options)

    def open(self, *arguments: Any, **options: Any) -> Connection:
        connection: Connection = super().open(*arguments, **options)
        with self._counting:
            self.connections += 1
        return connection

    def _returnToPool(self, connection: Any) -> None:
        super()._returnToPool(connection)
        with self._counting:
            self.connections -= 1
            idle = not self.connections
        if idle:
            self._on_idle()


def open_database(url: DatabaseURL, *, read_only: bool, on_idle: Callable[[], None]) -> SharedDB:
    """The database of `url`; `on_idle` is called when its last open connection was closed."""
    storage = open_storage(url, read_only=read_only)
    try:
        if read_only and storage.lastTransaction() == z64:
            raise UnavailableError(
                f"the database {url.url} is empty, so there is nothing to read; "
                f"open it once for writing: wendelin.connect({url.url!r})"
            )
        return SharedDB(storage, on_idle)
    except BaseException:
        storage.close()
        raise


def open_storage(url: DatabaseURL, *, read_only: bool = False) -> Any:
    """The ZODB storage of `url`. With `read_only` the storage itself refuses to write.

    Raises `ServerGoneError`, `DatabaseLockedError`, `UnavailableError` (nothing to read), `ResourceError`, and
    `MissingPackageError` when an optional package is needed.
    """
    match url:
        case LocalURL():
            return _local(url, read_only)
        case ZeoURL():
            return _zeo(url, read_only)
        case FileURL():
            return open_folder(url.folder, read_only=read_only)
        case PostgresqlURL() | SqliteURL():
            from wendelin.storage.database import relational

            return relational.open_storage(url, read_only=read_only)


def _local(url: LocalURL, read_only: bool) -> ZeoStorage:
    folder = url.folder
    server = ondemand.ensure(folder)

    def revive() -> str:
        if ondemand.was_stopped(folder):
            # Who stopped it on purpose wants the files for something: only a new connect() starts it again.
            raise ServerGone(f"the server of {url.url} was stopped by `wendelin db stop`. {advice()}")
        return str(ondemand.ensure(folder).socket)

    def advice() -> str:
        return f"Start it with: {ondemand.start_command(folder)}  (log: {ondemand.log_file(folder)})"

    address = ZeoURL(str(server.socket), shared=True)
    return ZeoStorage(address, folder / "blobs", read_only=read_only, shown=url.url, advice=advice, revive=revive)


def _zeo(url: ZeoURL, read_only: bool) -> ZeoStorage:
    def advice() -> str:
        return (
            f"Check that a ZEO server listens at {url.address!r} and serves the storage {url.storage!r}"
            f"{'' if read_only else ' for writing'}; then call again"
        )

    blobs = url.blob_dir or paths.private_folder(paths.cache_folder(url.url)) / "blobs"
    if not url.shared:
        take_over(paths.private_folder(blobs))
    return ZeoStorage(url, blobs, read_only=read_only, shown=url.url, advice=advice)
