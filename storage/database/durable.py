"""A FileStorage whose blobs survive a power failure, and which survives a full disk.

ZODB syncs its own file at each commit, but neither blob files, nor the directories that name them, nor the file that
packing makes. Here all of them are on the disk before the vote (or the packing) relies on them, so that a committed
record never points to a segment that is not there. Who made a directory does not matter: with a shared folder of
blobs the clients of a server do.

Packing renames the old file away before the new one comes in its place. ZODB takes a database that was killed between
for a new one, and removes all its blobs; here the old file is taken up again, and blobs without a file are an error.

Where the machine refuses a write, ZODB may leave half a transaction in its buffer, blobs of transactions that never
voted, and a closed storage. Here the file ends where the last transaction does and the next one works.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zc.lockfile import LockFile
from ZODB.blob import FilesystemHelper
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.format import DATA_HDR_LEN, DataHeaderFromString
from ZODB.utils import u64

from wendelin.storage.database.recordsums import record_sum, with_sums
from wendelin.storage.errors import ResourceError

_SETTLED = 1_000_000_000
"""Nanoseconds after which a directory that changes again has another time of change, even on coarse file systems."""
_REMEMBERED = 10_000
_LONGEST_HEADER = 65_535  # bytes of a transaction's header with its texts, as ZODB counts them


class DurableFileStorage(FileStorage):
    """`FileStorage(path, blob_dir=…)` with durable blobs and checksums of records. One process at a time."""

    _ude: Any
    _tindex: Any

    def __init__(self, path: str, *, blob_dir: str, **options: Any) -> None:
        if not options.get("read_only"):
            take_up_pack(Path(path))
            refuse_orphans(Path(path), Path(blob_dir))
        is_new = not Path(path).exists()
        # With old copies kept, packing would free no segment: they stay linked beside the new ones.
        options.setdefault("pack_keep_old", False)
        self._directories = Directories(Path(blob_dir).absolute())
        self._doubtful: list[tuple[bytes, bytes]] = []
        super().__init__(path, blob_dir=blob_dir, **options)
        if not self.isReadOnly():
            remove_uploads(Path(blob_dir))
        if is_new and not self.isReadOnly():
            sync_new_folder(Path(path).absolute().parent)
            sync_blob_folder(Path(blob_dir))

    def _blob_init(self, blob_dir: str, layout: str = "automatic") -> None:
        super()._blob_init(blob_dir, layout)
        self.fshelper: Any = BlobFolder(blob_dir, self.fshelper.layout_name)

    def _blob_storeblob(self, oid: bytes, serial: bytes, blobfilename: str) -> None:
        target = Path(self.fshelper.getBlobFilename(oid, serial))
        try:
            super()._blob_storeblob(oid, serial, blobfilename)
            sync_file(target)
            self._directories.sync(target.parent)
        except BaseException:
            # A rename that the machine refuses is tried again as a copy, which may end in the middle.
            if (oid, serial) not in self.dirty_oids:
                target.unlink(missing_ok=True)
            raise

    def tpc_vote(self, transaction: Any) -> Any:
        try:
            with self._lock:
                if transaction is self._transaction:
                    self._add_checksums()
                return super().tpc_vote(transaction)
        except OSError:
            with self._lock:
                self._drop_tail()
                self._files.flush()
            raise

    def _add_checksums(self) -> None:
        """Let the transaction carry the checksums of its records, which are complete now."""
        end = self._tfile.tell()
        if not end:
            return
        user, note, extension = self._ude
        fuller = with_sums(self._tid, user, note, extension, self._record_sums(end))
        longer = len(fuller) - len(extension)
        if self._thl + longer > _LONGEST_HEADER:
            return  # texts of a program that leave no room
        self._ude = user, note, fuller
        self._thl += longer
        self._tindex = {oid: position + longer for oid, position in self._tindex.items()}

    def _record_sums(self, end: int) -> Iterator[int]:
        at = 0
        while at < end:
            self._tfile.seek(at)
            header = DataHeaderFromString(self._tfile.read(DATA_HDR_LEN))
            at += DATA_HDR_LEN + (header.plen or 8)
            if header.plen:
                yield record_sum(header.oid, self._tfile.read(header.plen))
            else:
                back = u64(self._tfile.read(8))
                yield record_sum(header.oid, self._loadBack_impl(header.oid, back, fail=False)[0] if back else None)
        self._tfile.seek(end)

    def _abort(self) -> None:
        super()._abort()
        self._blob_tpc_abort()  # ZODB forgets blobs of transactions that did not come as far as the vote

    def _finish(self, tid: bytes, user: bytes, description: bytes, extension: bytes) -> None:
        try:
            self._file.seek(self._pos + 16)
            self._file.write(self._tstatus.encode())
            self._finish_finish(tid)
            self._forget_doubtful()
        except OSError:
            self._take_back()
            raise
        except BaseException:
            self.close()
            raise

    def _take_back(self) -> None:
        """Undo a transaction whose end did not reach the disk; its blobs stay until that itself is on the disk."""
        try:
            self._drop_tail()
            self._files.empty()  # not flush(), which waits for the lock that finishing holds
            os.fsync(self._file.fileno())
        except OSError:
            self._doubtful += self.dirty_oids
            self._blob_tpc_finish()
        else:
            self._blob_tpc_abort()

    def _forget_doubtful(self) -> None:
        """Remove blobs of transactions that failed at their end, now that a later one lies in their place."""
        while self._doubtful:
            oid, serial = self._doubtful.pop()
            with contextlib.suppress(OSError):
                Path(self.fshelper.getBlobFilename(oid, serial)).unlink()

    def _drop_tail(self) -> None:
        """End the file behind the last transaction, and forget what the buffer could not write."""
        self._file: Any = _reopened(self._file, "r+b")
        self._file.truncate(self._pos)
        self._nextpos = 0

    def _clear_temp(self) -> None:
        try:
            super()._clear_temp()
        except OSError:
            self._tfile: Any = _reopened(self._tfile, "w+b")

    @staticmethod
    def packer(storage: Any, referencesf: Any, stop: bytes, gc: bool) -> Any:
        """Pack into another file, which is on the disk before it takes the place of the old one.

        The index of the old one is gone by then: ZODB, killed before it has saved a new one, would use it.
        """
        packed = FileStorage.packer(storage, referencesf, stop, gc)
        if packed is not None:
            sync_file(f"{storage._file_name}.pack")
            storage._clear_index()
            sync_directory(Path(storage._file_name).parent)
        return packed

    def _restore_index(self) -> Any:
        """What ZODB takes from the index; None, so that it reads the whole file, where that is damaged."""
        try:
            return super()._restore_index()
        except Exception:  # noqa: BLE001  its check of an index that fits another file may fail in any way
            return None

    def _initIndex(self, index: Any, tindex: Any) -> None:
        """Called when packing has put the new file in place, before anybody commits to it."""
        super()._initIndex(index, tindex)
        if not self._is_read_only:
            sync_directory(Path(self._file_name).absolute().parent)


def take_up_pack(path: Path) -> None:
    """Give a database back the file that packing had renamed when its process was killed.

    Raises `zc.lockfile.LockError` while another process has the database, which may be between the two renames.
    """
    old = path.with_name(path.name + ".old")
    if path.exists() or not old.exists():
        return
    lock = LockFile(f"{path}.lock")
    try:
        if old.exists() and not path.exists():
            old.rename(path)
    finally:
        lock.close()


def remove_uploads(blob_dir: Path) -> None:
    """Remove what clients were sending to a ZEO server that was killed; it is this process now that has the files."""
    for path in (blob_dir / "tmp").glob("tmp????????"):  # as `tempfile.mkstemp` names them, and nobody else here
        path.unlink(missing_ok=True)


def refuse_orphans(path: Path, blob_dir: Path) -> None:
    """Raise `ResourceError` when a folder of blobs has lost its database: ZODB would make a new one and remove them."""
    if not path.exists() and any(blob_dir.glob("0x*")):
        raise ResourceError(
            errno.ENOENT,
            f"{str(path)!r} is missing, but {str(blob_dir)!r} holds the arrays of a database: bring the file back from "
            "a backup, or move that folder away to begin with an empty database",
        )


def _reopened(file: Any, mode: str) -> Any:
    """The same file without what its buffer holds.

    A buffer that the disk does not take can be neither emptied nor closed; once its file is closed, it is.
    """
    fresh = Path(file.name).open(mode)  # noqa: SIM115  closed with the storage
    file.raw.close()
    return fresh


class BlobFolder(FilesystemHelper):
    """A folder of blobs that raises the machine's own error where ZODB's fails an assertion: no room, no permission."""

    def getPathForOID(self, oid: bytes, create: bool = False) -> str:
        path: str = super().getPathForOID(oid)
        if create:
            Path(path).mkdir(parents=True, exist_ok=True)
        return path


class Directories:
    """The directories of a folder of blobs: `sync` forces a name in one of them to the disk.

    It remembers which directories have not changed since, so that a commit syncs two of the nine levels.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[Path, int] = {}

    def sync(self, folder: Path) -> None:
        """Force the names in `folder`, its own name, and those of all folders between it and the root to the disk."""
        for path in (folder, *folder.parents):
            self._sync(path)
            if path == self._root:
                return

    def _sync(self, path: Path) -> None:
        changed = path.stat().st_mtime_ns
        if self._seen.get(path) == changed:
            return
        sync_directory(path)
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        if abs(time.time_ns() - changed) > _SETTLED:
            self._seen[path] = changed


def sync_file(path: str | os.PathLike[str]) -> None:
    """Force a file's bytes to the disk; cheap when they are there already."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Force a directory's entries to the disk."""
    sync_file(path)


def sync_new_folder(path: Path) -> None:
    """Force the entries of a new folder, its name, and those of its parents, which may be new too, to the disk."""
    sync_directory(path)
    for parent in path.parents:
        with contextlib.suppress(PermissionError):  # another user's, so it is not new
            sync_directory(parent)


def sync_blob_folder(path: Path) -> None:
    """Force what ZODB makes in an empty folder of blobs to the disk."""
    for file in path.iterdir():
        sync_file(file)
    sync_directory(path)
