"""The versions of one array: which transactions changed it, and how much. Reads records, no array data."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ZODB._compat import Unpickler
from ZODB.POSException import POSKeyError

from wendelin.storage.arrays import tail
from wendelin.storage.arrays.log import SEAL, WRITE, pieces, upgraded
from wendelin.storage.arrays.runs import HIDDEN, HOLE, PAGE
from wendelin.storage.database.history import TransactionInfo
from wendelin.storage.errors import NotStoredError
from wendelin.storage.history.snapshots import snapshot
from wendelin.storage.history.tables import Listed, moment_text, one_line, size_text

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray

State = dict[str, Any]

#: Before each stretch of bytes of a patch (see `wendelin.storage.arrays.patches`): its place and its length.
_STRETCH = struct.Struct("<HH")


@dataclass(frozen=True)
class Version:
    """What one transaction made of an array. `time` is in UTC.

    `changed`: bytes that it stored, whole pages of 4 KiB but for the smallest changes, appended ones included; 0 when
    it only moved them, None when that is not known. `rows`: elements along the major axis.
    """

    tid: bytes
    time: datetime
    user: str
    note: str
    shape: tuple[int, ...]
    rows: int | None
    changed: int | None


class Versions(Listed[Version]):
    """The transactions that changed an array, newest first."""

    title = "Versions of the array"
    columns = ("transaction", "time", "user", "note", "shape", "changed")
    right = (5,)

    def rows(self) -> list[Any]:
        """Texts of each."""
        return [
            (
                each.tid.hex(),
                moment_text(each.time),
                each.user.removeprefix("/").strip(),
                one_line(each.note.splitlines()),
                " × ".join(f"{n:,}" for n in each.shape) or "()",
                size_text(each.changed),
            )
            for each in self
        ]


def versions(array: ZBigArray, limit: int = 20) -> Versions:
    """The last `limit` transactions that changed `array`, as far as its connection sees, newest first."""
    jar = array._p_jar
    if jar is None or array._p_oid is None:
        raise NotStoredError("this array is in no database yet, so it has no history: store it and commit first")
    if limit < 0:
        raise ValueError(f"limit is {limit}; how many versions? A.history(20)")
    array._p_activate()
    seen = snapshot(jar)
    storage = jar._storage
    heads = _history(storage, array._p_oid, seen, limit + 1)
    maps = _history(storage, array.extents._p_oid, seen, limit + 1)
    tids = sorted({*heads, *maps}, reverse=True)
    whole = len(heads) <= limit and len(maps) <= limit
    out = Versions()
    for tid in tids[:limit]:
        head = _state(storage, array._p_oid, _last(heads, tid))
        extents = _extents(storage, array.extents._p_oid, _last(maps, tid))
        before = _last(maps, tid, older=True)
        earlier = _extents(storage, array.extents._p_oid, before)
        first = whole and before is None
        info = TransactionInfo.of(tid, heads.get(tid) or maps[tid])
        shape = _shape(head, extents, array.shape)
        changed = 0 if tid not in maps else _changed(extents, earlier, is_first=first)
        rows = shape[0 if array.order == "C" else -1] if shape else None
        out.append(Version(tid, info.time, info.user, info.note, shape, rows, changed))
    return out


def _history(storage: Any, oid: bytes | None, seen: bytes, limit: int) -> dict[bytes, dict[str, Any]]:
    try:
        entries = storage.history(oid, size=limit)
        if len(entries) == limit and entries[0]["tid"] > seen:  # what others committed since is not seen yet
            entries = storage.history(oid, size=1 << 30)
    except KeyError:
        return {}
    found = [(bytes(entry["tid"]), entry) for entry in entries]
    return dict([(tid, entry) for tid, entry in found if tid <= seen][:limit])


def _last(entries: dict[bytes, Any], tid: bytes, *, older: bool = False) -> bytes | None:
    """The newest of some transactions up to `tid`; before it with `older`."""
    return max((each for each in entries if each < tid or (each == tid and not older)), default=None)


def _extents(storage: Any, oid: bytes | None, tid: bytes | None) -> State | None:
    found = _state(storage, oid, tid)
    return None if found is None else upgraded(found)


def _state(storage: Any, oid: bytes | None, tid: bytes | None) -> State | None:
    """The state of a record, references as they are stored; None when it is not known."""
    if tid is None:
        return None
    try:
        data = storage.loadSerial(oid, tid)
    except POSKeyError:
        return None
    unpickler = Unpickler(io.BytesIO(data))
    unpickler.persistent_load = lambda reference: reference
    unpickler.load()  # the class
    state: State = unpickler.load()
    return state


def _shape(head: State | None, extents: State | None, now: tuple[int, ...]) -> tuple[int, ...]:
    shape = list(now if head is None else head["_shape"])
    if shape and extents is not None and extents["rows"] is not None:
        shape[0 if head is None or head["_order"] == "C" else -1] = extents["rows"]
    return tuple(shape)


def _changed(state: State | None, earlier: State | None, *, is_first: bool) -> int | None:
    """Bytes that one transaction stored: what is in the log of one state behind that of the one before."""
    if state is None or (earlier is None and not is_first):
        return None
    number = 0 if earlier is None else earlier["number"]
    if earlier is not None and _was_taken_back(state, earlier):
        return None
    total = sum(
        _stored(entry[3], state["segments"]) for entry in state["entries"] if entry[0] > number and entry[2] == WRITE
    )
    return total + _appended(state, earlier)


def _appended(state: State, earlier: State | None) -> int:
    """Bytes that came behind the end, but for those whose runs count already: of a new array, or of another shape."""
    before = earlier or {"number": 0, "sealed": 0, "tail": []}
    seals = any(entry[0] > before["number"] and entry[2] == SEAL for entry in state["entries"])
    if seals or state["sealed"] == before["sealed"]:
        return max(_end(state) - _end(before), 0)
    return 0 if earlier else tail.length([piece for piece in state["tail"] if piece[0] != HOLE])


def _was_taken_back(state: State, earlier: State) -> bool:
    tokens = {number: token for number, token, _, _ in state["entries"]}
    last = earlier["entries"][-1:]
    return state["number"] < earlier["number"] or any(tokens.get(entry[0], entry[1]) != entry[1] for entry in last)


def _stored(runs: list[Any], segments: dict[int, Any]) -> int:
    total = 0
    for _, length, segment, _ in runs:
        patch = segments.get(segment)
        if isinstance(patch, bytes):
            total += sum(len(data) for _, data in pieces(_STRETCH, patch))
        elif segment != HIDDEN:
            total += length * PAGE
    return total


def _end(state: State) -> int:
    return int(state["sealed"] or 0) + tail.length(state["tail"])
