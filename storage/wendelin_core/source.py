"""A wendelin.core database, opened for reading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import transaction
import ZODB
import ZODB.Connection
import ZODB.serialize
import zodbpickle.pickle
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSError, POSKeyError
from ZODB.utils import load_current, z64

from wendelin.storage.database.opening import open_storage
from wendelin.storage.database.urls import ZeoURL, parse
from wendelin.storage.errors import SourceError
from wendelin.storage.wendelin_core import classes

_PYTHON_3, _PYTHON_2 = b"FS30", b"FS21"  # what a Data.fs begins with
_CACHED_OBJECTS, _CACHED_BYTES = 5000, 32 << 20


class Source:
    """An open wendelin.core database, as it is at this moment. `name`: where it is; `tid`: its last transaction."""

    def __init__(self, name: str, storage: Any) -> None:
        self.name = name
        self.tid: bytes = storage.lastTransaction()
        self._db = _SourceDB(storage, cache_size=_CACHED_OBJECTS, cache_size_bytes=_CACHED_BYTES)
        self._connection = self._db.open(transaction.TransactionManager(explicit=True))
        self._connection.transaction_manager.begin()

    @property
    def root(self) -> Any:
        """The root object."""
        return self._connection.get(z64)

    def get(self, oid: bytes) -> Any:
        """The object of an oid."""
        return self._connection.get(oid)

    def forget(self) -> None:
        """Drop loaded objects that were not used lately: reading a database of any size takes bounded memory."""
        self._connection.cacheGC()

    def close(self) -> None:
        """Close it, and its storage."""
        self._connection.transaction_manager.abort()
        self._connection.close()
        self._db.close()


@contextmanager
def opened(source: str) -> Iterator[Source]:
    """The wendelin.core database at a path (of its Data.fs, or the folder of it) or ``zeo://…``, for reading only.

    Raises `SourceError` when there is none, and `ServerGoneError`.
    """
    name, storage = _storage(source)
    try:
        load_current(storage, z64)
        database = Source(name, storage)
    except POSKeyError:
        storage.close()
        raise SourceError(f"{name!r} is an empty database: it has no root object") from None
    except BaseException:
        storage.close()
        raise
    try:
        yield database
    finally:
        database.close()


def _storage(source: str) -> tuple[str, Any]:
    if "://" not in source:
        path = Path(source).expanduser().absolute()
        path = path / "Data.fs" if path.is_dir() else path
        return str(path), _file_storage(path)
    if not source.startswith("zeo://"):
        raise SourceError(
            f"{source!r} cannot be read: give the path of a Data.fs, or zeo://host:port (copy other storages into a "
            "Data.fs first, with the storage's own tool)"
        )
    url = parse(source)
    assert isinstance(url, ZeoURL)
    return url.url, open_storage(url, read_only=True)


def _file_storage(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise SourceError(
            f"{str(path)!r} cannot be read ({error.strerror}): give the path of a Data.fs, or zeo://host:port"
        ) from None
    if magic not in (_PYTHON_3, _PYTHON_2):
        raise SourceError(f"{str(path)!r} is no database: a Data.fs begins with FS30 or FS21, this with {magic!r}")
    try:
        return (FileStorage if magic == _PYTHON_3 else _Python2FileStorage)(str(path), read_only=True)
    except (OSError, POSError) as error:
        raise SourceError(f"{str(path)!r} cannot be read as a database: {error}") from error


class _Python2FileStorage(FileStorage):
    """A Data.fs of Python 2: the same format, behind another magic word, which ZODB on Python 3 refuses."""

    _file: Any

    def _restore_index(self) -> None:
        """Called with the file open, ahead of checking it. Python 2's index file is not readable here."""
        self._file = _Relabelled(self._file)


class _Relabelled:
    """A file that begins with FS30."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> Any:
        start = self._file.tell()
        found = self._file.read(size)
        return found if start else _PYTHON_3[: len(found)] + found[4:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Unpickler(zodbpickle.pickle.Unpickler):
    """Knows the classes of the table only. Strings of Python 2 come as text when they are ASCII, else as bytes."""

    def __init__(self, data: bytes, persistent_load: Any) -> None:
        super().__init__(BytesIO(data), encoding="ASCII", errors="bytes")
        self.persistent_load = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        return classes.find(module, name)


class _Reader(ZODB.serialize.ObjectReader):
    def _get_unpickler(self, pickle: bytes) -> _Unpickler:
        return _Unpickler(pickle, self._persistent_load)


class _Connection(ZODB.Connection.Connection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reader = _Reader(self, self._cache, lambda connection, module, name: classes.find(module, name))


class _SourceDB(ZODB.DB):
    klass = _Connection
