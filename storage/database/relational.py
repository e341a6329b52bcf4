"""PostgreSQL and sqlite3, through RelStorage (optional packages).

- History is kept, as in a FileStorage.
- Every commit is on the disk when it returns: PostgreSQL does so by itself, sqlite3 is told to (`synchronous=FULL`),
  and a folder of blobs is synced by `DurableBlobs` before the vote returns.
- A client that voted and then stopped (a debugger, Ctrl-Z, a machine that is gone) holds locks. PostgreSQL ends its
  session after the URL's `transaction_timeout` and takes its transaction back; others wait twice as long. The limit
  is set for storing connections only: a reading one is idle in its transaction for as long as its user thinks.
- A stopped process that holds sqlite3's lock cannot be made to let go: others get an error that names it.
"""

from __future__ import annotations

import contextlib
import importlib
from functools import partial
from typing import Any

from wendelin.storage.database import paths
from wendelin.storage.database.blobcache import take_over
from wendelin.storage.database.refusals import translated
from wendelin.storage.database.urls import PostgresqlURL, SqliteURL, without_password
from wendelin.storage.errors import MissingPackageError, ServerGoneError, UnavailableError

INSTALL = "pip install 'wendelin-workbench[postgresql]'"


def open_storage(url: PostgresqlURL | SqliteURL, *, read_only: bool = False) -> Any:
    """The RelStorage of `url`; makes its tables in an empty database unless `read_only`.

    Raises `MissingPackageError` without RelStorage or a driver, `ServerGoneError` when PostgreSQL refuses.
    """
    if isinstance(url, SqliteURL):
        return _sqlite(url, read_only)
    return _postgresql(url, read_only)


def _postgresql(url: PostgresqlURL, read_only: bool) -> Any:
    driver = _needed("psycopg2", url)
    adapter = _needed("relstorage.adapters.postgresql.adapter", url).PostgreSQLAdapter
    blobs = url.blob_dir or paths.private_folder(paths.cache_folder(url.url)) / "blobs"
    if not url.shared:
        take_over(paths.private_folder(blobs))
    # Who waits for a stopped client has to wait longer than that client may hold its locks.
    wait = {"commit_lock_timeout": 2 * url.transaction_timeout, "driver": "psycopg2"}
    options = _options(url, read_only, blob_dir=str(blobs), shared_blob_dir=url.shared, **wait)
    try:
        if read_only and not _has_tables(driver, url):
            raise _empty(url)
        opened = adapter(dsn=dsn(url), options=options)
        opened.connmanager.add_on_store_opened(partial(_limit, url.transaction_timeout))
        return _storage(url, opened, options)
    except driver.Error as error:
        # Not `from error`: libpq repeats the connection's parameters in some of its messages.
        raise _refused(url, error) from None


def _sqlite(url: SqliteURL, read_only: bool) -> Any:
    adapter = _needed("relstorage.adapters.sqlite.adapter", url).Sqlite3Adapter
    if read_only and not (url.folder / "main.sqlite3").exists():
        raise _empty(url)
    paths.private_folder(url.folder)
    wait = {"commit_lock_timeout": url.transaction_timeout}
    options = _options(url, read_only, blob_dir=str(url.folder / "blobs"), shared_blob_dir=True, **wait)
    with translated(url.folder):
        return _storage(url, adapter(str(url.folder), {"synchronous": "FULL"}, options=options), options)


def _limit(seconds: float, cursor: Any, restart: bool = False) -> None:
    """Let PostgreSQL end a storing session that is silent in its transaction, or whose machine is gone.

    Committed at once: a rollback would take the settings back.
    """
    if restart:
        return
    settings = {
        "idle_in_transaction_session_timeout": round(seconds * 1000),
        "tcp_user_timeout": round(seconds * 1000),
        "tcp_keepalives_idle": max(1, round(seconds / 2)),
        "tcp_keepalives_interval": max(1, round(seconds / 6)),
        "tcp_keepalives_count": 3,
    }
    for name, value in settings.items():
        cursor.execute(f"SET {name} = {value}")
    cursor.connection.commit()


def _has_tables(driver: Any, url: PostgresqlURL) -> bool:
    with contextlib.closing(driver.connect(dsn(url))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('transaction') IS NOT NULL")
        return bool(cursor.fetchone()[0])


def _storage(url: PostgresqlURL | SqliteURL, adapter: Any, options: Any) -> Any:
    _needed("relstorage.storage", url)
    from wendelin.storage.database.sqlstorage import DurableBlobs, SqlStorage

    blobs = DurableBlobs(options, adapter) if options.shared_blob_dir else None
    return SqlStorage(adapter, options=options, blobhelper=blobs)


def _options(url: PostgresqlURL | SqliteURL, read_only: bool, **named: Any) -> Any:
    options = _needed("relstorage.options", url).Options
    return options(name=url.url, read_only=read_only, create_schema=not read_only, keep_history=True, **named)


def dsn(url: PostgresqlURL) -> str:
    """The connection string for libpq, with the password: not for messages."""
    words = {"dbname": url.database, "user": url.user, "password": url.password, "host": url.host}
    pairs = [*words.items(), ("port", str(url.port or "")), *url.parameters]
    return " ".join(f"{name}={_quoted(value)}" for name, value in pairs if value)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _needed(module: str, url: PostgresqlURL | SqliteURL) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{url.url} needs the package {module.partition('.')[0]}, which is not installed ({error}): {INSTALL}"
        ) from error


def _refused(url: PostgresqlURL, error: Exception) -> ServerGoneError:
    said = without_password(str(error)).strip()
    if url.password:
        said = said.replace(url.password, "***")
    return ServerGoneError(
        f"PostgreSQL does not open {url.url}: {said}. Check host, port, user, password and database, "
        f"for example with psql, then call again"
    )


def _empty(url: PostgresqlURL | SqliteURL) -> UnavailableError:
    return UnavailableError(
        f"there is no database in {url.url} to read; make one by opening it for writing: wendelin.connect({url.url!r})"
    )
