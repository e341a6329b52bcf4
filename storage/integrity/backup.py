"""Backups: a folder with every transaction of a database, itself a database that can be opened and verified.

* A backup is brought up to date by the transactions that it lacks; each is on the disk before the next one begins.
  So a run that is killed, or meets a power failure, leaves a sound backup of an earlier moment, and the next run goes
  on from there.
* All storages give their transactions one after the other, in one state, while others commit. So every kind can be
  backed up, and restored as any other kind.
* What the database packs away stays in the backup. The manifest tells whose backup it is: that of another database
  is refused.
* Records and blobs carry their checksums along: `wendelin db verify file://DIR` finds what the disk of a backup has
  changed, and a damaged blob of the source is told, not passed on in silence.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ZODB.utils import z64

from wendelin.storage.database.durable import sync_directory
from wendelin.storage.database.files import open_folder
from wendelin.storage.database.opening import open_storage
from wendelin.storage.database.urls import FileURL, LocalURL, parse
from wendelin.storage.errors import SourceError, UnavailableError
from wendelin.storage.history.moments import told
from wendelin.storage.history.states import transactions_from
from wendelin.storage.integrity.copying import Copy, Progress, remove_copies
from wendelin.storage.integrity.damage import Damage

MANIFEST = "backup.json"


@dataclass
class Copied:
    """What a backup or a restore has copied. `last`: the newest transaction that is there now."""

    place: str
    transactions: int
    blobs: int
    nbytes: int
    last: bytes
    damages: list[Damage] = field(default_factory=list)


def backup(folder: Path, url: str | None = None, *, progress: Progress | None = None) -> Copied:
    """Bring the backup in `folder` up to date with the database `url`, which others may use; make it if need be.

    Raises `SourceError` when the folder holds something else, and what `wendelin.connect` raises.
    """
    database = parse(url)
    folder = folder.absolute()
    if isinstance(database, FileURL | LocalURL) and database.folder.resolve() == folder.resolve():
        raise SourceError(f"{str(folder)!r} is the database itself: name another folder for its backup")
    manifest = _manifest(folder)
    with _reading(url) as source, _writing(folder) as target:
        first = first_tid(source)
        if first is None:
            raise UnavailableError(f"nothing was committed to {database.url} yet, so there is nothing to back up")
        _refuse_others(folder, manifest, source, target, database.url)
        remove_copies(folder / "blobs")
        copy = Copy(source, target, progress)
        copy.after(target.lastTransaction())
        last = target.lastTransaction()
    _note(folder, {"url": database.url, "last": last.hex(), "time": datetime.now(UTC).isoformat()})
    return Copied(str(folder), copy.transactions, copy.blobs, copy.nbytes, last, copy.damages)


def is_backup(folder: Path) -> bool:
    """Whether `backup` has made a folder."""
    return (folder / MANIFEST).exists() and (folder / "Data.fs").exists()


@contextlib.contextmanager
def _reading(url: str | None) -> Iterator[Any]:
    storage = open_storage(parse(url), read_only=True)
    try:
        if hasattr(storage, "poll_invalidations"):
            storage.poll_invalidations()
        yield storage
    finally:
        storage.close()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[Any]:
    is_new = not (folder / "Data.fs").exists()
    storage = open_folder(folder)
    try:
        if is_new:
            _note(folder, {})
        yield storage
    finally:
        storage.close()


def _manifest(folder: Path) -> dict[str, Any] | None:
    if not folder.exists() or not any(folder.iterdir()):
        return None
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{str(folder)!r} is not empty and no backup ({MANIFEST} cannot be read): name a new folder"
        ) from error
    return found


def _refuse_others(folder: Path, manifest: dict[str, Any] | None, source: Any, target: Any, url: str) -> None:
    """A backup goes on where what is left of the database's oldest transactions is in it."""
    last = target.lastTransaction()
    if manifest is None or last == z64:
        return
    oldest = first_tid(source) or z64
    known = tids(target, oldest, oldest) if oldest <= last else manifest.get("url") == url
    if not known or newest_tid(source) < last:
        raise SourceError(
            f"the backup in {str(folder)!r} is of {manifest.get('url', 'a database')}, up to {told(last)}; "
            f"{url} is another one, or was restored from an older backup: name a new folder for its backup"
        )


def first_tid(storage: Any) -> bytes | None:
    """The oldest transaction; None when there is none."""
    with transactions_from(storage) as found:
        each = next(found, None)
        return None if each is None else bytes(each.tid)


def newest_tid(storage: Any) -> bytes:
    """The newest transaction."""
    if hasattr(storage, "poll_invalidations"):
        storage.poll_invalidations()
    return bytes(storage.lastTransaction())


def tids(storage: Any, start: bytes, stop: bytes) -> list[bytes]:
    """The transactions from one to another."""
    with transactions_from(storage, start, stop) as found:
        return [bytes(each.tid) for each in found]


def _note(folder: Path, content: dict[str, Any]) -> None:
    part = folder / f"{MANIFEST}.part"
    with part.open("w") as file:
        json.dump({"kind": "wendelin backup", **content}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / MANIFEST)
    sync_directory(folder)
