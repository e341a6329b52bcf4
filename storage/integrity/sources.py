"""What is gone through when a database is verified: its files, its tables, or what its server tells."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ZODB.blob import BushyLayout, FilesystemHelper, is_blob_record
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

from wendelin.storage.arrays.forms import blob_folder, form_of
from wendelin.storage.database import paths
from wendelin.storage.database.opening import open_storage
from wendelin.storage.database.recordsums import RecordSums, record_sum
from wendelin.storage.database.urls import DatabaseURL, FileURL, LocalURL, PostgresqlURL, SqliteURL, ZeoURL
from wendelin.storage.errors import UnavailableError
from wendelin.storage.integrity.damage import Damage, Looked, Stored
from wendelin.storage.integrity.datafile import DataFile

#: Transactions of an SQL database that are read by one query.
_AT_ONCE = 200

Mark = dict[str, Any]


class Source(Protocol):
    """A database, gone through from the oldest transaction to the newest."""

    def total(self) -> int | None:
        """Bytes of records and blobs, about; None when nobody knows."""

    def transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        """Each transaction behind a mark, with the mark behind it."""

    def blob(self, blob: Stored) -> Path | None:
        """The file of a blob; None when it is missing. Raises `PackedError` when it had reason to go."""

    def shown(self, path: Path) -> str:
        """What a message calls the file of a blob."""

    def let_go(self, path: Path) -> None:
        """A blob's file is not needed any more."""

    def close(self) -> None:
        """Give everything back."""


class PackedError(Exception):
    """A pack meanwhile has put other files in the place of those that were looked at."""


def open_source(url: DatabaseURL) -> Source:
    """What verifies the database of a URL. It may be in use. Raises what `wendelin.connect` raises."""
    match url:
        case FileURL() | LocalURL():
            return _Folder(url.folder)
        case PostgresqlURL():
            return _Tables(url)
        case SqliteURL():
            try:
                return _Tables(url)
            except sqlite3.DatabaseError as error:
                return _Unreadable(url, error)
        case _:
            return _Served(url)


class _Folder:
    """A Data.fs and its blobs, whoever has them open."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "Data.fs").exists():
            raise UnavailableError(f"there is no database in {str(folder)!r}: verify another one")
        self._folder = folder
        self._file = DataFile(folder / "Data.fs")
        self._blobs = FilesystemHelper(str(folder / "blobs"))

    def total(self) -> int | None:
        return self._file.size + sum(_size(path) for path in (self._folder / "blobs").rglob("*.blob"))

    def transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        file = (self._folder / "Data.fs").stat().st_ino
        if mark is not None and mark["file"] != file:
            raise PackedError
        if mark is None:
            yield {"file": file, "at": 4}, Looked(z64, 0, True, list(self._layout()), [])
            mark = {"at": 4}
        for at, looked in self._file.transactions(mark["at"]):
            yield {"file": file, "at": at}, looked

    def _layout(self) -> Iterator[Damage]:
        """ZODB looks for blobs where this small file says."""
        path = self._folder / "blobs" / ".layout"
        if path.exists() and path.read_bytes().strip() not in (b"bushy", b"lawn"):
            remedy = f"write the word bushy into it: echo bushy > {path}"
            yield Damage("the layout of blobs is damaged", str(path), 0, _size(path), remedy=remedy)

    def blob(self, blob: Stored) -> Path | None:
        path = Path(self._blobs.base_dir, BushyLayout().getBlobFilePath(blob.oid, blob.tid))
        if not path.exists():
            with contextlib.suppress(ValueError, OSError):
                path = Path(self._blobs.getBlobFilename(blob.oid, blob.tid))
        if path.exists():
            return path
        if self._file.was_replaced:
            raise PackedError
        return None

    def shown(self, path: Path) -> str:
        return str(path)

    def let_go(self, path: Path) -> None:
        """It stays where it is."""

    def close(self) -> None:
        self._file.close()


class _Unreadable:
    """A database whose files are so damaged that nothing opens them."""

    def __init__(self, url: SqliteURL, error: Exception) -> None:
        self._damage = Damage(f"sqlite3 cannot open it ({error})", f"{url.url} main.sqlite3")

    def total(self) -> int | None:
        return None

    def transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        yield {"tid": z64.hex()}, Looked(z64, 0, True, [self._damage], [])

    def blob(self, blob: Stored) -> Path | None:
        raise NotImplementedError

    def shown(self, path: Path) -> str:
        raise NotImplementedError

    def let_go(self, path: Path) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """There is nothing."""


class _Stored:
    """What storages have in common. Blobs over the wire come into a folder of this run: caches could hide damage."""

    def __init__(self, url: ZeoURL | PostgresqlURL | SqliteURL) -> None:
        self._url = url.url
        self._scratch: Path | None = None
        if not isinstance(url, SqliteURL) and not url.shared:
            parent = paths.private_folder(paths.cache_folder(url.url))
            self._scratch = Path(tempfile.mkdtemp(prefix="verify-", dir=parent))
            url = replace(url, blob_dir=self._scratch)
        try:
            self._storage = open_storage(url, read_only=True)
        except BaseException:
            self._remove_scratch()
            raise
        self._shared = not form_of(self._storage).wire

    def total(self) -> int | None:
        try:
            records = int(self._storage.getSize())
        except (AttributeError, NotImplementedError, TypeError):
            return None
        folder = blob_folder(self._storage)
        if not self._shared or folder is None:
            return None
        return records + sum(_size(path) for path in Path(folder).parent.rglob("*.blob"))

    def blob(self, blob: Stored) -> Path | None:
        try:
            return Path(self._storage.loadBlob(blob.oid, blob.tid))
        except POSKeyError:
            try:
                self._storage.loadSerial(blob.oid, blob.tid)
            except POSKeyError as error:
                raise PackedError from error
            return None

    def shown(self, path: Path) -> str:
        return str(path) if self._shared else f"a blob in {self._url}"

    def let_go(self, path: Path) -> None:
        if not self._shared:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._storage.close()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


class _Served(_Stored):
    """What a ZEO server tells: records with the checksums that a storage of ours gave them."""

    def __init__(self, url: ZeoURL) -> None:
        super().__init__(url)
        self._place = url.url

    def transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        start = None if mark is None else p64(u64(bytes.fromhex(mark["tid"])) + 1)
        found = self._storage.iterator(start)
        try:
            for each in found:
                yield {"tid": each.tid.hex()}, self._looked(each)
        finally:
            found.close() if hasattr(found, "close") else None

    def _looked(self, each: Any) -> Looked:
        records = [(record.oid, record.data) for record in each]
        damages: list[Damage] = []
        sums = None
        try:
            sums = RecordSums.of(each.extension)
            if sums is not None and not sums.fits_text(each.tid, each.user, each.description, each.extension):
                damages.append(
                    Damage("the number, user or note of a transaction is damaged", self._place, tid=each.tid)
                )
        except ValueError:
            damages.append(Damage("the extension of a transaction is damaged", self._place, tid=each.tid))
        if sums is not None:
            found = [(oid, record_sum(oid, data)) for oid, data in records]
            wrong = sums.wrong(found, packed=each.status == "p")
            damages += [Damage("a record is damaged", self._place, tid=each.tid, oid=oid) for oid in wrong]
        nbytes = sum(len(data or b"") for _, data in records)
        blobs = {oid: Stored(oid, each.tid, data) for oid, data in records if data and is_blob_record(data)}
        return Looked(each.tid, nbytes, sums is not None, damages, list(blobs.values()))


class _Tables(_Stored):
    """The tables of RelStorage: each record has its MD5 beside it."""

    def __init__(self, url: PostgresqlURL | SqliteURL) -> None:
        super().__init__(url)
        self._place = url.url
        self._sqlite = isinstance(url, SqliteURL)
        self._connection, self._cursor = self._storage._adapter.connmanager.open_for_load()

    def transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        try:
            yield from self._transactions(mark)
        except sqlite3.DatabaseError as error:
            damage = Damage(f"sqlite3 cannot read it ({error})", f"{self._place} main.sqlite3")
            yield {"tid": z64.hex()}, Looked(z64, 0, True, [damage], [])

    def _transactions(self, mark: Mark | None) -> Iterator[tuple[Mark, Looked]]:
        last = 0 if mark is None else int(mark["tid"], 16)
        if mark is None:
            yield {"tid": z64.hex()}, Looked(z64, 0, True, list(self._whole()), [])
        while True:
            self._storage._adapter.connmanager.restart_load(self._connection, self._cursor)
            query = 'SELECT DISTINCT tid FROM "transaction" WHERE tid > {} ORDER BY tid LIMIT {}'
            found = [row[0] for row in self._rows(query.format(last, _AT_ONCE))]
            for tid in found:
                yield {"tid": p64(tid).hex()}, self._looked(p64(tid))
            if not found:
                return
            last = found[-1]

    def _rows(self, query: str) -> list[Any]:
        self._cursor.execute(query)
        return list(self._cursor.fetchall())

    def _whole(self) -> Iterator[Damage]:
        """What the database itself can tell, and which record counts as the newest of each object."""
        if self._sqlite:
            for (said,) in self._rows("PRAGMA integrity_check"):
                if said != "ok":
                    yield Damage(f"sqlite3 finds {' '.join(str(said).split())}", f"{self._place} main.sqlite3")
        query = (
            "SELECT o.zoid, c.tid FROM (SELECT zoid, MAX(tid) AS tid FROM object_state GROUP BY zoid) o "
            "LEFT JOIN current_object c ON c.zoid = o.zoid WHERE c.tid IS NULL OR c.tid <> o.tid"
        )
        for zoid, _ in self._rows(query):
            yield Damage("the newest record is not the current one", f"{self._place} current_object", oid=p64(zoid))

    def _looked(self, tid: bytes) -> Looked:
        place = f"{self._place} object_state"
        query = "SELECT zoid, md5, state_size, state FROM object_state WHERE tid = {} ORDER BY zoid"
        damages: list[Damage] = []
        blobs: list[Stored] = []
        total = 0
        for zoid, md5, size, state in self._rows(query.format(u64(tid))):
            data = None if state is None else bytes(state)
            wanted = md5.decode() if isinstance(md5, bytes) else md5
            total += len(data or b"")
            if size != len(data or b"") or _md5(data) != (wanted or None):
                damages.append(Damage("a record is damaged", place, tid=tid, oid=p64(zoid)))
            elif data is not None and is_blob_record(data):
                blobs.append(Stored(p64(zoid), tid, data))
        return Looked(tid, total, True, damages, blobs)

    def close(self) -> None:
        self._storage._adapter.connmanager.close(self._connection, self._cursor)
        super().close()


def _md5(data: bytes | None) -> str | None:
    return None if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
