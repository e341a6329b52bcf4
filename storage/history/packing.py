"""Packing, as far as nobody wants the past: tags on the database and open snapshots hold it back.

`DB.pack` asks here first, so that every pack that goes through a database of ours respects both: `conn.db().pack()`,
`wendelin db pack`, `wendelin db defragment --pack`. Tools of ZODB that pack a storage by themselves do not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from persistent.timestamp import TimeStamp
from ZODB.utils import u64

from wendelin.storage.arrays.forms import blob_folder
from wendelin.storage.history.moments import last_tid, time_of, told
from wendelin.storage.history.snapshots import held_in
from wendelin.storage.history.states import reading
from wendelin.storage.history.tags import tags

if TYPE_CHECKING:
    from wendelin.storage.database.connection import DB


@dataclass(frozen=True)
class Hold:
    """A state that packing keeps, and for whom."""

    tid: bytes
    why: str


@dataclass(frozen=True)
class Packed:
    """What a pack did: up to when, who held it back, and the bytes of the database before and after (None: unknown)."""

    until: datetime
    holds: list[Hold] = field(default_factory=list)
    before: int | None = None
    after: int | None = None

    def __repr__(self) -> str:
        freed = "" if self.before is None or self.after is None else f", {self.before - self.after:,} bytes freed"
        held = "".join(f"; held back by {hold.why}" for hold in self.holds[:3])
        return f"<packed up to {self.until:%Y-%m-%d %H:%M:%S} UTC{freed}{held}>"


def pack(db: DB, until: datetime | None = None) -> Packed:
    """Free what only the states before `until` (default: now) need, while others go on working.

    Tags and open snapshots are kept. May take long; what a killed pack has not done is done by the next one.
    """
    wanted = datetime.now(UTC) if until is None else until
    held = binding(db, last_tid(wanted))
    before = size(db)
    # A time stands for all of its microsecond: the state at `until` itself is the oldest that is kept.
    db.pack(wanted.timestamp() + 1e-6 if until is not None else None)
    reached = time_of(held[0].tid) if held else wanted
    return Packed(reached, held, before, size(db))


def limit(db: DB, wanted: float) -> Any:
    """When a pack up to `wanted`, in seconds since 1970, may end: for the storage's own `pack`."""
    held = binding(db, last_tid(datetime.fromtimestamp(wanted, UTC)))
    return wanted if not held else _pack_time(db.storage, held[0].tid)


def binding(db: DB, wanted: bytes) -> list[Hold]:
    """Who holds back a pack up to `wanted`, the oldest state first."""
    least = min(wanted, db.lastTransaction())
    return sorted((hold for hold in holds(db) if hold.tid < least), key=lambda hold: hold.tid)


def holds(db: DB) -> list[Hold]:
    """All states that packing keeps."""
    with reading(db) as connection:
        out = [
            Hold(tag.tid, f"the tag {tag.name!r} on the database (remove it: conn.untag({tag.name!r}))")
            for tag in tags(connection)
            if tag.content is None and tag.tid is not None
        ]
    seen = {(each.tid, each.pid) for each in (*db.board.held(), *held_in(blob_folder(db.storage)))}
    return out + [
        Hold(tid, f"process {pid}, which looks at the state of {told(tid)}: close it or begin a new transaction there")
        for tid, pid in seen
    ]


def _pack_time(storage: Any, tid: bytes) -> Any:
    """The time for `storage.pack` that keeps the state of `tid`, and not that before it."""
    if hasattr(storage, "_adapter"):
        return u64(tid)  # RelStorage takes numbers of transactions
    seconds = TimeStamp(tid).timeTime()
    while _stamp(seconds) < tid:  # a float has not all digits of it
        seconds = math.nextafter(seconds, math.inf)
    return seconds


def _stamp(seconds: float) -> bytes:
    """As FileStorage counts."""
    return bytes(TimeStamp(*time.gmtime(seconds)[:5], seconds % 60).raw())


def size(db: DB) -> int | None:
    """Bytes of a database on disk: its records, and its blobs where they lie in a folder here; None if unknown."""
    try:
        records = int(db.storage.getSize())
    except (AttributeError, NotImplementedError, TypeError):
        return None
    folder = blob_folder(db.storage)
    if folder is None:
        return records
    return records + _below(Path(folder).parent, lambda path: path.stat().st_blocks * 512)


def _below(folder: Path, of: Callable[[Path], int]) -> int:
    total = 0
    for path in folder.rglob("*.blob"):
        try:
            total += of(path)
        except OSError:  # it went meanwhile
            continue
    return total
