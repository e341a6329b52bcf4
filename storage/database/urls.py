"""Names of databases.

A database is named by a URL. `parse` turns it into one of five small records; each knows `url`, the name to show,
which never holds a password. What opens them is elsewhere (`opening`): here is only grammar.

====================================  ==============================================================================
nothing                               `$WENDELIN_DB`, else the user's default database: ``local://<home>/db/default``
``local:///folder``                   served from the folder by ZEO on a UNIX socket; the server starts on demand
``zeo://host:port``                   a ZEO server somewhere
``zeo:///path/to/socket``             a ZEO server on this machine
``file:///folder``                    the folder, opened by one process at a time
``postgresql://user@host:port/name``  PostgreSQL, through RelStorage
``sqlite:///folder``                  sqlite3, through RelStorage
====================================  ==============================================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from wendelin.storage.database import paths
from wendelin.storage.errors import DatabaseURLError

WAIT_TIMEOUT = 10.0
"""Seconds that a call waits for a ZEO server that is not there, unless the URL says `wait_timeout=…`."""

TRANSACTION_TIMEOUT = 30.0
"""Seconds that a stopped client may hold others up, unless the URL of a relational database says so (see
`relational`). A `local://` server has a default and an environment variable of its own (see `server`)."""


@dataclass(frozen=True)
class LocalURL:
    """A folder (Data.fs, blobs) served on demand by a ZEO server on a UNIX socket."""

    folder: Path

    @property
    def url(self) -> str:
        return f"local://{quote(str(self.folder))}"


@dataclass(frozen=True)
class ZeoURL:
    """A ZEO server: `address` is (host, port) or the path of a socket.

    `blob_dir` is the server's own folder of blobs when `shared`, else a cache of this machine, at most
    `blob_cache_size` bytes when that is not 0. `cache_size`: bytes of object cache. `wait_timeout`: seconds.
    """

    address: tuple[str, int] | str
    storage: str = "1"
    wait_timeout: float = WAIT_TIMEOUT
    cache_size: int = 20 << 20
    blob_dir: Path | None = None
    shared: bool = False
    blob_cache_size: int = 0

    @property
    def url(self) -> str:
        if isinstance(self.address, str):
            place = quote(self.address)
        else:
            host, port = self.address
            place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        plain = ZeoURL(self.address)
        query: list[tuple[str, object]] = [
            (name, getattr(self, name))
            for name in ("storage", "wait_timeout", "cache_size", "blob_cache_size")
            if getattr(self, name) != getattr(plain, name)
        ]
        if self.blob_dir is not None:
            query.append(("shared_blob_dir" if self.shared else "blob_dir", self.blob_dir))
        return f"zeo://{place}" + _query(query)


@dataclass(frozen=True)
class FileURL:
    """A folder (Data.fs, blobs) that one process opens for writing."""

    folder: Path

    @property
    def url(self) -> str:
        return f"file://{quote(str(self.folder))}"


@dataclass(frozen=True)
class PostgresqlURL:
    """A PostgreSQL database. The password is in no repr; `parameters` go to libpq as they are.

    Blobs lie in the database, with `blob_dir` as this machine's cache, unless it is `shared` by all clients.
    `transaction_timeout`: seconds between this client's vote and its finish after which others go on without it.
    """

    database: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: int | None = None
    blob_dir: Path | None = None
    shared: bool = False
    parameters: tuple[tuple[str, str], ...] = ()
    transaction_timeout: float = TRANSACTION_TIMEOUT

    @property
    def url(self) -> str:
        """Without the password: libpq then looks into `$PGPASSWORD` and `~/.pgpass`."""
        host = f"[{self.host}]" if ":" in self.host else quote(self.host)
        place = (f"{quote(self.user, safe='')}@" if self.user else "") + host + (f":{self.port}" if self.port else "")
        query: list[tuple[str, object]] = list(self.parameters)
        if self.blob_dir is not None:
            query.append(("shared_blob_dir" if self.shared else "blob_dir", self.blob_dir))
        return f"postgresql://{place}/{quote(self.database)}" + _query(query + _timeout(self.transaction_timeout))


@dataclass(frozen=True)
class SqliteURL:
    """A folder with sqlite3 files and blobs, opened by any number of processes of one machine.

    `transaction_timeout`: seconds that a commit waits for another process's before it raises an error.
    """

    folder: Path
    transaction_timeout: float = TRANSACTION_TIMEOUT

    @property
    def url(self) -> str:
        return f"sqlite://{quote(str(self.folder))}" + _query(_timeout(self.transaction_timeout))


DatabaseURL = LocalURL | ZeoURL | FileURL | PostgresqlURL | SqliteURL


def default_url() -> str:
    """The URL that `wendelin.connect()` opens: `$WENDELIN_DB`, else the user's own database, served on demand."""
    return os.environ.get("WENDELIN_DB") or LocalURL(paths.database_folder()).url


def parse(url: str | None = None) -> DatabaseURL:
    """The database that `url` names; None means `default_url()`. Raises `DatabaseURLError`."""
    text = default_url() if url is None else url
    if not isinstance(text, str):
        raise _wrong(text, f"a URL is text, not {type(text).__name__}")
    if text.startswith(("/", "~", ".")):
        raise _wrong(text, f"this is a path; its URL is file://{quote(str(Path(text).expanduser().absolute()))}")
    scheme, found, _ = text.partition("://")
    parser = _PARSERS.get(scheme.lower())
    if parser is None or not found:
        known = ", ".join(f"{name}://" for name in _PARSERS)
        raise _wrong(text, f"it must begin with one of {known}")
    try:
        parts = urlsplit(text)
        parameters = _parameters(parts)
        parsed = parser(parts, parameters)
        if parameters:
            raise _Mistake(f"{parts.scheme}:// has no parameter {min(parameters)!r}")
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    return parsed


class _Mistake(ValueError):
    """What is wrong with a URL, in words for the user."""


def _wrong(url: object, why: str) -> DatabaseURLError:
    source = " (from $WENDELIN_DB)" if url == os.environ.get("WENDELIN_DB") else ""
    return DatabaseURLError(
        f"{without_password(str(url))!r}{source} is no database URL: {without_password(why)}.\n"
        f"Right forms:\n{FORMS}\n"
        f"For example: wendelin.connect('file:///srv/plant')"
    )


FORMS = """\
  (nothing)                                 your own database, its server starts on demand
  local:///folder                           a folder, its server starts on demand
  zeo://host:port                           a ZEO server; ?storage= wait_timeout= cache_size= blob_dir=
                                            blob_cache_size= shared_blob_dir=
  zeo:///path/to/socket                     a ZEO server on this machine; same parameters
  file:///folder                            a folder, for one process
  postgresql://user:password@host:port/name PostgreSQL; ?blob_dir= shared_blob_dir= transaction_timeout= host=
                                            sslmode= …
  sqlite:///folder                          sqlite3; ?transaction_timeout="""


def without_password(text: str) -> str:
    """`text` with the passwords of URLs in it replaced by ***, for messages."""
    text = re.sub(r"(://[^/@:\s]*):[^\s]*@", r"\1:***@", text)
    return re.sub(r"(password=)[^&\s]*", r"\1***", text, flags=re.IGNORECASE)


def _local(parts: SplitResult, _: Mapping[str, str]) -> LocalURL:
    return LocalURL(_folder(parts))


def _file(parts: SplitResult, _: Mapping[str, str]) -> FileURL:
    return FileURL(_folder(parts))


def _sqlite(parts: SplitResult, parameters: dict[str, str]) -> SqliteURL:
    return SqliteURL(_folder(parts), _transaction_timeout(parameters))


def _zeo(parts: SplitResult, parameters: dict[str, str]) -> ZeoURL:
    address: tuple[str, int] | str
    if parts.netloc:
        if parts.path not in ("", "/"):
            raise _Mistake(
                f"a server's address ends with its port; a socket's URL has three slashes: zeo://{parts.path}"
            )
        if parts.port is None or not parts.hostname:
            raise _Mistake("the port is missing: zeo://host:port")
        if parts.username or parts.password:
            raise _Mistake("ZEO knows no user names")
        address = (parts.hostname, parts.port)
    else:
        address = str(_folder(parts))
        if len(os.fsencode(address)) > paths.LONGEST_SOCKET_PATH:
            raise _Mistake(f"a socket's path has at most {paths.LONGEST_SOCKET_PATH} bytes")
    plain = ZeoURL(address)
    blob_dir, shared = _blob_dir(parameters)
    return ZeoURL(
        address,
        storage=parameters.pop("storage", plain.storage),
        wait_timeout=_seconds("wait_timeout", parameters.pop("wait_timeout", str(plain.wait_timeout))),
        cache_size=parse_bytes("cache_size", parameters.pop("cache_size", str(plain.cache_size))),
        blob_dir=blob_dir,
        shared=shared,
        blob_cache_size=parse_bytes("blob_cache_size", parameters.pop("blob_cache_size", str(plain.blob_cache_size))),
    )


_LIBPQ = ("application_name", "connect_timeout", "host", "sslcert", "sslkey", "sslmode", "sslrootcert")


def _postgresql(parts: SplitResult, parameters: dict[str, str]) -> PostgresqlURL:
    name = unquote(parts.path.strip("/"))
    if not name or "/" in name:
        raise _Mistake("the name of the database is missing: postgresql://user:password@host:port/name")
    blob_dir, shared = _blob_dir(parameters)
    return PostgresqlURL(
        name,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=unquote(parts.hostname or ""),
        port=parts.port,
        blob_dir=blob_dir,
        shared=shared,
        parameters=tuple((name, parameters.pop(name)) for name in _LIBPQ if name in parameters),
        transaction_timeout=_transaction_timeout(parameters),
    )


_PARSERS: dict[str, Callable[[SplitResult, dict[str, str]], DatabaseURL]] = {
    "local": _local,
    "zeo": _zeo,
    "file": _file,
    "postgresql": _postgresql,
    "sqlite": _sqlite,
}


def _folder(parts: SplitResult) -> Path:
    path = unquote(parts.path)
    if parts.netloc:
        suggestion = quote(str(Path(parts.netloc + path).absolute()))
        raise _Mistake(f"a path has three slashes and begins at the root: {parts.scheme}://{suggestion}")
    if not path.startswith("/") or path == "/":
        raise _Mistake(f"the path is missing: {parts.scheme}:///path/to/it")
    return Path(os.path.normpath(path))


def _parameters(parts: SplitResult) -> dict[str, str]:
    if parts.fragment:
        raise _Mistake(f"#{parts.fragment} means nothing here; write # in a path as %23")
    pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Mistake("a parameter is given twice")
    return found


def _blob_dir(parameters: dict[str, str]) -> tuple[Path | None, bool]:
    cache, shared = parameters.pop("blob_dir", ""), parameters.pop("shared_blob_dir", "")
    if cache and shared:
        raise _Mistake("blob_dir (a cache of this machine) and shared_blob_dir (the server's own) exclude each other")
    chosen = cache or shared
    if chosen and not chosen.startswith("/"):
        raise _Mistake(f"the folder of blobs begins at the root, unlike {chosen!r}")
    return (Path(chosen) if chosen else None), bool(shared)


_UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def parse_bytes(name: str, text: str) -> int:
    """The number of bytes that a setting `name` gives as `text`: digits and a unit, KB to TB. Raises ValueError."""
    found = re.fullmatch(r"(\d+) *([kmgt]b)?", text, flags=re.IGNORECASE)
    if not found:
        raise _Mistake(f"{name}={text} is no number of bytes, such as 20MB")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _seconds(name: str, text: str) -> float:
    found = re.fullmatch(r"\d+(\.\d+)?", text)
    if not found or float(text) == 0:
        raise _Mistake(f"{name}={text} is no number of seconds, such as 10")
    return float(text)


def _transaction_timeout(parameters: dict[str, str]) -> float:
    return _seconds("transaction_timeout", parameters.pop("transaction_timeout", str(TRANSACTION_TIMEOUT)))


def _timeout(seconds: float) -> list[tuple[str, object]]:
    return [] if seconds == TRANSACTION_TIMEOUT else [("transaction_timeout", seconds)]


def _query(pairs: list[tuple[str, object]]) -> str:
    def text(value: object) -> str:
        return quote(f"{value:g}" if isinstance(value, float) else str(value))

    return "?" + "&".join(f"{name}={text(value)}" for name, value in pairs) if pairs else ""
