"""What lies where in a database, described without reading array data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.utils import z64

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.folder import Folder
from wendelin.storage.ubm.entities import Entities

#: Names of a folder that are counted; more than that show as "more than".
COUNTED = 10_000


@dataclass(frozen=True)
class Entry:
    """One name of a database. `changed` is None until the first commit; `nbytes` is None for what has no size."""

    path: str
    kind: str
    shape: tuple[int, ...] | None = None
    dtype: str = ""
    nbytes: int | None = None
    changed: datetime | None = None


def entry(path: str, value: Any) -> Entry:
    """Describe what is stored at a path."""
    if isinstance(value, ZBigArray):
        changed = last_change(value, value.extents)
        return Entry(path, "array", value.shape, dtype_text(value.dtype), value.nbytes, changed)
    if isinstance(value, Folder):
        return Entry(path, "folder", changed=last_change(value))
    kind = "entities" if isinstance(value, Entities) else type(value).__name__
    return Entry(path, kind, changed=last_change(value))


def entries(folder: Mapping[str, Any], prefix: str = "") -> Iterator[Entry]:
    """Describe the names of a folder, one after another; `prefix` stands before each path."""
    return (entry(prefix + name, folder[name]) for name in folder)


def count(folder: Mapping[str, Any]) -> str:
    """How many names a folder has, in words; a folder of millions is not counted to its end."""
    found = sum(1 for _ in islice(folder, COUNTED + 1))
    return f"more than {COUNTED:,} names" if found > COUNTED else "1 name" if found == 1 else f"{found:,} names"


def last_change(*objects: Any) -> datetime | None:
    """When the last of some objects was committed; None for what never was, or is stored within its folder."""
    serials = []
    for stored in objects:
        if getattr(stored, "_p_oid", None) is not None:
            stored._p_activate()
            serials.append(stored._p_serial)
    latest = max(serials, default=z64)
    return None if latest == z64 else datetime.fromtimestamp(TimeStamp(latest).timeTime(), UTC)


def dtype_text(dtype: Any) -> str:
    """A dtype as one would type it; a structured one by its fields."""
    if dtype.names:
        return ", ".join(f"{name} {dtype_text(dtype[name])}" for name in dtype.names)
    return str(dtype)


def size_text(nbytes: int | None) -> str:
    """Bytes for people."""
    if nbytes is None:
        return ""
    size = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.4g} TiB"


def time_text(time: datetime | None) -> str:
    """A time as the person reads it, in local time."""
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
