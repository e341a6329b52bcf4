"""Restoring: every transaction of a backup, into an empty database of any kind.

A restore that was killed is run again and goes on: a database that holds exactly the first transactions of the
backup is one that a restore has begun. Any other one is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ZODB.utils import z64

from wendelin.storage.arrays.forms import blob_folder
from wendelin.storage.database import ondemand
from wendelin.storage.database.files import open_folder
from wendelin.storage.database.opening import open_storage
from wendelin.storage.database.urls import FileURL, LocalURL, parse
from wendelin.storage.errors import NameTakenError, SourceError
from wendelin.storage.integrity.backup import Copied, first_tid, is_backup, newest_tid, tids
from wendelin.storage.integrity.copying import Copy, Progress, remove_copies


def restore(folder: Path, url: str, *, progress: Progress | None = None) -> Copied:
    """Make the database `url`, of whatever kind, of the backup in `folder`. Nobody else may use it meanwhile.

    Raises `NameTakenError` when there is a database already, and leaves it alone; `SourceError` when `folder` is no
    backup; and what `wendelin.connect` raises.
    """
    if not is_backup(folder):
        raise SourceError(f"{str(folder)!r} is no backup: name a folder that `wendelin db backup` has made")
    database = parse(url)
    source = open_folder(folder.absolute(), read_only=True)
    try:
        target = _target(database)
        try:
            last = _begun(source, target, database.url)
            blobs = blob_folder(target)
            if blobs is not None:
                remove_copies(Path(blobs).parent)
            copy = Copy(source, target, progress)
            copy.after(last)
            return Copied(database.url, copy.transactions, copy.blobs, copy.nbytes, newest_tid(target), copy.damages)
        finally:
            target.close()
    finally:
        source.close()


def _target(database: Any) -> Any:
    """The storage to fill. A server of ours would begin with a root of its own, so its folder is filled instead."""
    if not isinstance(database, LocalURL):
        return open_storage(database)
    if ondemand.find(database.folder) is not None:
        raise NameTakenError(
            f"the server of {database.url} is running: stop it with `wendelin db stop {database.url}`, or restore "
            "into another folder"
        )
    return open_storage(FileURL(database.folder))


def _begun(source: Any, target: Any, url: str) -> bytes:
    """The last transaction that an earlier run has restored; z64 when there is none."""
    last = newest_tid(target)
    if last == z64:
        return last
    if first_tid(source) == first_tid(target) and tids(source, last, last) == [last]:
        return last
    raise NameTakenError(
        f"there is a database in {url} already, and nothing is overwritten: restore into a new one, or remove it first"
    )
