"""The FileStorage of a folder: Data.fs and blobs, for one process; what a server serves too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zc.lockfile import LockError
from ZODB.utils import z64

from wendelin.storage.database import ondemand, paths
from wendelin.storage.database.durable import DurableFileStorage
from wendelin.storage.database.refusals import translated
from wendelin.storage.errors import DatabaseLockedError, UnavailableError


def open_folder(folder: Path, *, read_only: bool = False, with_root: bool = False) -> FolderStorage:
    """The FileStorage in `folder`, for this process alone, or as it is now when `read_only`.

    A read-only storage takes no lock, so it also opens what another process writes to, and shows the state of this
    moment for as long as it is open. `with_root`: give an empty database its root object.
    """
    if read_only and not (folder / "Data.fs").exists():
        raise UnavailableError(
            f"there is no database in {str(folder)!r} to read; "
            f"make one by opening it for writing: wendelin.connect('file://{folder}')"
        )
    if not read_only:
        paths.private_folder(folder)
    storage = _folder_storage(folder, read_only)
    if with_root and storage.lastTransaction() == z64:
        from wendelin.storage.database.connection import DB  # with NumPy, which a server needs only this once

        DB(storage).close()
        storage = _folder_storage(folder, read_only)
    return storage


class FolderStorage(DurableFileStorage):
    """A durable FileStorage in a folder whose full disk raises `StorageFullError` before anything is committed."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self._folder = folder
        super().__init__(str(folder / "Data.fs"), blob_dir=str(folder / "blobs"), **options)

    def store(self, *arguments: Any) -> Any:
        with translated(self._folder):
            return super().store(*arguments)

    def storeBlob(self, *arguments: Any) -> Any:
        with translated(self._folder):
            return super().storeBlob(*arguments)

    def tpc_begin(self, *arguments: Any, **named: Any) -> Any:
        with translated(self._folder):
            return super().tpc_begin(*arguments, **named)

    def tpc_vote(self, transaction: Any) -> Any:
        with translated(self._folder):
            return super().tpc_vote(transaction)

    def tpc_finish(self, *arguments: Any, **named: Any) -> Any:
        with translated(self._folder):
            return super().tpc_finish(*arguments, **named)


def _folder_storage(folder: Path, read_only: bool) -> FolderStorage:
    try:
        with translated(folder):
            return FolderStorage(folder, read_only=read_only)
    except LockError as error:
        raise _locked(folder) from error


def _locked(folder: Path) -> DatabaseLockedError:
    """Who holds the folder, and how to reach the data all the same."""
    running = ondemand.find(folder)
    if running is not None:
        return DatabaseLockedError(
            f"the database in {str(folder)!r} is served by process {running.pid}: open it through its server, "
            f"wendelin.connect('local://{folder}'), or stop that one: wendelin db stop local://{folder}"
        )
    try:
        holder = (folder / "Data.fs.lock").read_text().strip()
    except OSError:
        holder = ""
    who = f"process {holder}{_program(holder)}" if holder.isdigit() else "another process"
    return DatabaseLockedError(
        f"the database in {str(folder)!r} is open in {who}, and file:// is for one process: close it there, "
        f"read it with wendelin.connect('file://{folder}', read_only=True), "
        f"or share it from now on: wendelin.connect('local://{folder}')"
    )


def _program(pid: str) -> str:
    if int(pid) == os.getpid():
        return " (this one)"
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return f" ({b' '.join(words[:3]).decode(errors='replace').strip()})"
