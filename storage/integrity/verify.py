"""Going through a database: every record, every blob, all of its history, while others work with it.

How far it is stands in a file, so that a run that was interrupted or killed goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wendelin.storage.database import paths
from wendelin.storage.database.urls import DatabaseURL, FileURL, LocalURL, parse
from wendelin.storage.errors import WendelinError
from wendelin.storage.integrity.blobs import check
from wendelin.storage.integrity.damage import Damage, Looked, Stored
from wendelin.storage.integrity.owners import Owners
from wendelin.storage.integrity.sources import Mark, PackedError, Source, open_source

#: Seconds after which a run notes how far it is.
NOTED_EACH = 1.0

_RESTORE = "wendelin db restore BACKUP NEW-URL"

#: Packs meanwhile after which a run gives up to begin anew.
_PACKS = 5

Progress = Callable[[int, int | None], object]


@dataclass
class Report:
    """What was looked at, and what is damaged. Bytes are of records and of blobs; `unchecked`: had no checksums."""

    url: str
    transactions: int = 0
    blobs: int = 0
    nbytes: int = 0
    unchecked_transactions: int = 0
    unchecked_blobs: int = 0
    seconds: float = 0.0
    damages: list[Damage] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "damages": [damage.to_json() for damage in self.damages]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Report:
        """What `to_json` gave."""
        return cls(**{**found, "damages": [Damage.from_json(damage) for damage in found["damages"]]})


def verify(url: str | None = None, *, restart: bool = False, progress: Progress | None = None) -> Report:
    """Look at every byte of the database `url`; the report names what is damaged, whose it is and what helps.

    Others go on working: what they commit meanwhile is looked at, too. A run that was interrupted or killed goes on
    where it was, unless `restart`. `progress` is called with bytes done, and bytes in all where these are known.
    Raises what `wendelin.connect` raises.
    """
    database = parse(url)
    notes = _Notes(database.url)
    for _ in range(_PACKS):
        run = _Run(database, notes, restart=restart, progress=progress)
        try:
            report = run.go()
            break
        except PackedError:
            restart = True
        finally:
            run.close()
    else:
        raise WendelinError(f"{database.url} was packed {_PACKS} times meanwhile: run it again when that has ended")
    report.damages = _explained(database, report.damages)
    notes.remove()
    return report


class _Notes:
    """The file that tells how far a run is."""

    def __init__(self, url: str) -> None:
        folder = paths.private_folder(paths.cache_folder(url))
        self.path = folder / "verify.json"

    def read(self) -> tuple[Mark, Report] | None:
        try:
            found = json.loads(self.path.read_text())
            return found["mark"], Report.from_json(found["report"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, mark: Mark, report: Report) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"mark": mark, "report": report.to_json()}))
        part.rename(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class _Run:
    """One run over a database."""

    def __init__(self, database: DatabaseURL, notes: _Notes, *, restart: bool, progress: Progress | None) -> None:
        self._notes = notes
        self._progress = progress
        self._source: Source = open_source(database)
        known = None if restart else notes.read()
        self._mark: Mark | None = None if known is None else known[0]
        self._report = Report(database.url) if known is None else known[1]
        self._total = self._source.total() if progress is not None else None

    def close(self) -> None:
        self._source.close()

    def go(self) -> Report:
        begun = noted = time.monotonic()
        before = self._report.seconds
        for mark, looked in self._source.transactions(self._mark):
            self._add(looked)
            now = time.monotonic()
            self._report.seconds = before + now - begun
            if now - noted > NOTED_EACH:
                self._notes.write(mark, self._report)
                noted = now
        self._report.seconds = before + time.monotonic() - begun
        return self._report

    def _add(self, looked: Looked) -> None:
        report = self._report
        report.damages += looked.damages
        report.transactions += bool(looked.nbytes)
        report.unchecked_transactions += not looked.checked
        self._done(looked.nbytes)
        for blob in looked.blobs:
            self._add_blob(blob)

    def _add_blob(self, blob: Stored) -> None:
        report = self._report
        report.blobs += 1
        path = self._source.blob(blob)
        if path is None:
            report.damages.append(Damage("a blob is missing", "its file", tid=blob.tid, oid=blob.oid))
            return
        try:
            before = report.nbytes
            found = check(blob, path, self._done)
            self._done(found.nbytes - (report.nbytes - before))  # holes, which nobody reads
        except FileNotFoundError as error:  # a pack has just removed it
            raise PackedError from error
        finally:
            self._source.let_go(path)
        report.unchecked_blobs += not found.checked
        report.damages += [replace(damage, place=self._source.shown(path)) for damage in found.damages]

    def _done(self, nbytes: int) -> None:
        self._report.nbytes += nbytes
        if self._progress is not None:
            self._progress(self._report.nbytes, self._total)


def _explained(database: DatabaseURL, damages: list[Damage]) -> list[Damage]:
    """The same with the names of arrays, and with remedies."""
    if not damages:
        return []
    try:
        owners = Owners(FileURL(database.folder) if isinstance(database, LocalURL) else database)
    except Exception as error:  # noqa: BLE001  a database that is too damaged to be opened
        why = f"unknown: the database does not open ({type(error).__name__})"
        return [damage.told(why, damage.remedy or _remedy(database, damage)) for damage in damages]
    try:
        return [damage.told(owners.of(damage), damage.remedy or _remedy(database, damage)) for damage in damages]
    finally:
        owners.close()


def _remedy(database: DatabaseURL, damage: Damage) -> str:
    whole = f"make a sound database of your backup, and use it instead of {database.url}: {_RESTORE}"
    if not isinstance(database, FileURL | LocalURL) or not damage.place.endswith(".blob"):
        return whole
    inside = Path(damage.place).relative_to(database.folder)
    return f"bring this file back from your backup: cp BACKUP/{inside} {damage.place}; or {whole}"


__all__ = ["Report", "verify"]
