"""RelStorage with durable blobs, and with errors that say what to do; `relational` opens it.

Imports the optional package, so it is imported only where that has been found.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relstorage.adapters.interfaces import UnableToAcquireLockError
from relstorage.blobhelper.shared import SharedBlobHelper
from relstorage.storage import RelStorage
from transaction.interfaces import TransientError
from ZODB.blob import set_not_writable
from ZODB.POSException import ConflictError, StorageError, StorageTransactionError

from wendelin.storage.database.durable import BlobFolder, Directories, sync_blob_folder, sync_file, sync_new_folder
from wendelin.storage.database.refusals import resource_error, translated
from wendelin.storage.errors import DatabaseLockedError, ServerGoneError, StorageFullError


class CommitLockedError(DatabaseLockedError, ConflictError):
    """Another process did not finish its commit in time. As a `ConflictError`: the transaction can be run again."""

    def __init__(self, message: str) -> None:
        DatabaseLockedError.__init__(self, message)
        ConflictError.__init__(self, message)

    __str__ = ConflictError.__str__


class SqlServerGone(ServerGoneError, StorageError, TransientError):
    """`ServerGoneError` for those who know RelStorage: it is a storage's error, and the next transaction may work."""


class SqlStorage(RelStorage):
    """`RelStorage` for PostgreSQL and sqlite3."""

    def poll_invalidations(self) -> Any:
        with self._connected("when it was asked for news", "It comes back by itself: begin a new transaction later"):
            return super().poll_invalidations()

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = " ") -> Any:
        with self._connected(*_LOST):
            return super().tpc_begin(transaction, tid, status)

    def tpc_vote(self, transaction: Any) -> Any:
        try:
            with translated(Path(self._options.blob_dir)), self._connected(*_LOST):
                return super().tpc_vote(transaction)
        except UnableToAcquireLockError as error:
            raise self._locked(error) from error

    def tpc_finish(self, transaction: Any, f: Any = None) -> Any:
        placed = list((self.blobhelper._txn_blobs or {}).values()) if self.blobhelper.txn_has_blobs else []
        try:
            return self._finish(transaction, f)
        except StorageFullError:
            # sqlite3 has taken the transaction back, after RelStorage had forgotten its blobs.
            for name in placed:
                Path(name).unlink(missing_ok=True)
            raise

    def _finish(self, transaction: Any, f: Any) -> Any:
        with self._connected(
            "during a commit, which may have succeeded or not: look before you repeat it",
            "A client that is stopped between vote and finish for longer than the transaction_timeout of its URL loses "
            "its transaction, so that others can go on",
        ):
            return super().tpc_finish(transaction, f)

    @contextmanager
    def _connected(self, when: str, advice: str) -> Iterator[None]:
        try:
            yield
        except self._adapter.driver.disconnected_exceptions as error:
            if isinstance(error, sqlite3.Error):
                raise self._refused(error) from error
            raise SqlServerGone(f"the connection to {self.getName()} broke {when}. {advice}") from error

    def _locked(self, error: Exception) -> CommitLockedError:
        who = holder(Path(self._options.blob_dir).parent / "main.sqlite3-shm")
        return CommitLockedError(
            f"waited {self._options.commit_lock_timeout:g} s to commit to {self.getName()}, but another process{who} "
            "has not finished its own commit: run the transaction again when it has; if it is stopped, continue it "
            "(kill -CONT) or end it (kill -9), which loses nothing that was committed"
        )

    def _refused(self, error: sqlite3.Error) -> Exception:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return resource_error(Path(self._options.blob_dir).parent, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        return error


_LOST = ("during this transaction, which is lost", "Abort it and run it again")


class DurableBlobs(SharedBlobHelper):
    """A folder of blobs, shared by all clients, that is on the disk before the vote returns."""

    def __init__(
        self, options: Any, adapter: Any, fshelper: Any = None, directories: Directories | None = None
    ) -> None:
        is_new = fshelper is None and not Path(options.blob_dir).exists()
        if fshelper is None:
            fshelper = BlobFolder(options.blob_dir)
            fshelper.create()
        super().__init__(options, adapter, fshelper)
        self._directories = directories or Directories(Path(options.blob_dir).absolute())
        self.new_instance_kwargs = {"directories": self._directories}
        if is_new:
            sync_blob_folder(Path(options.blob_dir))
            sync_new_folder(Path(options.blob_dir).absolute())

    def storeBlob(
        self,
        cursor: Any,
        store: Callable[..., Any],
        oid: bytes,
        serial: bytes,
        data: bytes,
        blobfilename: str,
        version: str,
        txn: Any,
    ) -> None:
        with translated(Path(self.blob_dir)):
            super().storeBlob(cursor, store, oid, serial, data, blobfilename, version, txn)
            sync_file(self._txn_blobs[oid])

    def _move_blobs_into_place(self, tid: bytes | None) -> None:
        """Without RelStorage's lock files, for which a full disk has no room: nobody else uses these names."""
        if self._txn_blobs and not tid:
            raise StorageTransactionError("the blobs' names are not known yet")
        for oid, source in self._txn_blobs.items():
            target = self.fshelper.getBlobFilename(oid, tid)
            if source != target:
                Path(source).rename(target)
                set_not_writable(target)
                self._txn_blobs[oid] = target

    def vote(self, tid: bytes | None = None) -> None:
        """Give the files their names. Called without `tid` first, which raises, and again when it is known."""
        super().vote(tid)
        for folder in {Path(name).parent for name in self._txn_blobs.values()}:
            self._directories.sync(folder)


def holder(file: Path, byte: int = 120) -> str:
    """Who holds the lock on a byte of `file` (by default the one for writing, of sqlite3's), in words; "" if unknown.

    >>> holder(Path("/nowhere"))
    ''
    """
    try:
        inode = str(file.stat().st_ino)
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return ""
    for line in lines:
        # 3: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120
        if len(line) == 8 and line[5].rpartition(":")[2] == inode and int(line[6]) <= byte and line[4].isdigit():
            return f" ({line[4]}{_state(line[4])})"
    return ""


def _state(pid: str) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return ", which is stopped" if state in "Tt" else ""
