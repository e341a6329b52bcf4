"""PostgreSQL and sqlite3, through RelStorage (optional packages).

History is kept, as in a FileStorage. Every commit is on the disk when it returns: PostgreSQL does so by itself,
sqlite3 is told to (`synchronous=FULL`). Admitted risk: RelStorage does not sync the directories of a shared folder of
blobs, so a power failure right after a commit may lose a blob; blobs that lie in PostgreSQL itself are safe.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from wendelin.storage.database import paths
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
    options = _options(url, read_only, blob_dir=str(blobs), shared_blob_dir=url.shared, driver="psycopg2")
    try:
        if read_only and not _has_tables(driver, url):
            raise _empty(url)
        return _relstorage(url)(adapter(dsn=dsn(url), options=options), options=options)
    except driver.Error as error:
        # Not `from error`: libpq repeats the connection's parameters in some of its messages.
        raise _refused(url, error) from None


def _sqlite(url: SqliteURL, read_only: bool) -> Any:
    adapter = _needed("relstorage.adapters.sqlite.adapter", url).Sqlite3Adapter
    if read_only and not (url.folder / "main.sqlite3").exists():
        raise _empty(url)
    paths.private_folder(url.folder)
    options = _options(url, read_only, blob_dir=str(url.folder / "blobs"), shared_blob_dir=True)
    with translated(url.folder):
        return _relstorage(url)(adapter(str(url.folder), {"synchronous": "FULL"}, options=options), options=options)


def _has_tables(driver: Any, url: PostgresqlURL) -> bool:
    with contextlib.closing(driver.connect(dsn(url))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('transaction') IS NOT NULL")
        return bool(cursor.fetchone()[0])


def _relstorage(url: PostgresqlURL | SqliteURL) -> Any:
    return _needed("relstorage.storage", url).RelStorage


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
