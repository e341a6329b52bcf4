"""What changed in an array between two of its states.

Where bytes lie is compared first: pages that two extent maps show from the same place are the same, and their logs
name those that moved. Only what is left is read and compared, so that a difference costs what was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import transaction

from wendelin.storage.arrays.runs import PAGE, Interval, difference, union
from wendelin.storage.errors import NotStoredError
from wendelin.storage.history.opening import open_at
from wendelin.storage.history.snapshots import snapshot

if TYPE_CHECKING:
    from wendelin.storage.arrays.array import ZBigArray
    from wendelin.storage.database.connection import Connection

#: Bytes of each state that are compared at once, and intervals that a difference shows.
_AT_ONCE, _SHOWN = 16 << 20, 20

#: A page behind the end of every array.
_END = 1 << 50


@dataclass(frozen=True)
class Diff(Sequence[Interval]):
    """Rows that differ between two states of an array, as sorted half-open intervals along its major axis.

    `before` and `after` are the shapes, None where the array was not there: then all rows of the other one differ.
    Rows that only one of them has differ. `is_exact`: bytes were compared; else rows may be named that hold the same.
    """

    rows: list[Interval]
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    is_exact: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    @property
    def total(self) -> int:
        """Rows that differ."""
        return sum(hi - lo for lo, hi in self.rows)

    def __repr__(self) -> str:
        some = ", ".join(f"{lo:,}:{hi:,}" for lo, hi in self.rows[:_SHOWN])
        more = f", … ({len(self.rows):,} intervals)" if len(self.rows) > _SHOWN else ""
        shapes = f"{self.before} → {self.after}" if self.before != self.after else f"{self.after}"
        return f"<diff of {shapes}: {f'{self.total:,} rows changed: {some}{more}' if self.rows else 'nothing changed'}>"


def diff(array: ZBigArray, t0: Any, t1: Any = None, *, exact: bool = True) -> Diff:
    """Which rows of `array` differ between the states at `t0` and `t1`; see `ZBigArray.diff`."""
    jar: Any = array._p_jar
    if jar is None or array._p_oid is None:
        raise NotStoredError("this array is in no database yet, so it has no history: store it and commit first")
    with _state(jar, array, t0) as before, _state(jar, array, snapshot(jar) if t1 is None else t1) as after:
        return _compared(before, after, exact)


@contextmanager
def _state(jar: Connection, array: ZBigArray, at: Any) -> Iterator[ZBigArray | None]:
    """The array as it was, None where it was not there; closed afterwards."""
    connection = open_at(jar.db(), at, transaction.TransactionManager())
    try:
        yield _found(connection, array)
    finally:
        connection.transaction_manager.abort()
        connection.close()


def _found(connection: Connection, array: ZBigArray) -> Any:
    oid = array._p_oid
    assert oid is not None
    try:
        if connection.shown is not None:
            found: Any = connection.get(connection.shown).copies.get(oid)
        else:
            found = connection.get(oid)
        if found is not None:
            found._p_activate()
    except KeyError:
        return None
    return found


def _compared(before: ZBigArray | None, after: ZBigArray | None, exact: bool) -> Diff:
    if before is None or after is None:
        there = before if after is None else after
        rows = [] if there is None or not _rows(there) else [(0, _rows(there))]
        return Diff(rows, before and before.shape, after and after.shape)
    least, most = sorted((_rows(before), _rows(after)))
    if _row_bytes(before) != _row_bytes(after) or before.dtype != after.dtype or before.order != after.order:
        return Diff([(0, most)], before.shape, after.shape)  # every row is another one
    size = _row_bytes(before)
    common = _touched(before, after, least * size)
    changed = _differing(before, after, common, size) if exact else [_whole(lo, hi, size) for lo, hi in common]
    return Diff(_within(union([*changed, (least, most)]), most), before.shape, after.shape, exact)


def _rows(array: ZBigArray) -> int:
    return len(array) if array.shape else 1


def _row_bytes(array: ZBigArray) -> int:
    """Bytes of what has one index along the major axis; of such things the array's bytes are a sequence."""
    shape = array.shape[1:] if array.order == "C" else array.shape[:-1]
    return int(np.prod(shape, dtype=np.int64)) * array.itemsize if array.shape else array.itemsize


def _touched(before: ZBigArray, after: ZBigArray, nbytes: int) -> list[Interval]:
    """Bytes below `nbytes` that the two states show from different places."""
    old, new = before.extents, after.extents
    old._p_activate()
    new._p_activate()
    pages = new.touched_since(old.mark())
    if pages is None:
        pages = [(0, _END)]
    last = -(-nbytes // PAGE)
    pages = [(lo, min(hi, last)) for lo, hi in pages if lo < last]
    if not pages or not nbytes:
        return []
    moved = difference(old.layout_all(pages)[0], new.layout_all(pages)[0])
    return union((start * PAGE, min((start + length) * PAGE, nbytes)) for start, length, _, _ in moved)


def _whole(lo: int, hi: int, size: int) -> Interval:
    return lo // size, -(-hi // size)


def _within(intervals: list[Interval], rows: int) -> list[Interval]:
    return [(lo, min(hi, rows)) for lo, hi in intervals if lo < rows]


def _differing(before: ZBigArray, after: ZBigArray, spans: list[Interval], size: int) -> list[Interval]:
    """Of bytes in `spans`, the rows whose bytes are not the same."""
    out: list[Interval] = []
    for first, last in union(_whole(lo, hi, size) for lo, hi in spans):
        step = max(_AT_ONCE // size, 1)
        for start in range(first, last, step):
            stop = min(start + step, last)
            unequal = _unequal(before, after, start, stop, size)
            edges = np.flatnonzero(np.diff(np.concatenate(([False], unequal, [False]))))
            out += [(start + int(a), start + int(b)) for a, b in edges.reshape(-1, 2)]
    return out


def _unequal(before: ZBigArray, after: ZBigArray, start: int, stop: int, size: int) -> Any:
    """Of each row whether it differs."""
    lo, hi = start * size, stop * size
    old, new = (_bytes(array, lo, hi).reshape(stop - start, size) for array in (before, after))
    if size > _AT_ONCE:  # one row: without an array of its size
        return np.array([any((old[0, i : i + PAGE] != new[0, i : i + PAGE]).any() for i in range(0, size, PAGE))])
    return (old != new).any(axis=1)


def _bytes(array: ZBigArray, lo: int, hi: int) -> Any:
    """Bytes of an array as they lie in memory, mapped but not copied."""
    if not array.shape:
        return np.frombuffer(array[...].tobytes(), np.uint8)
    axis = 0 if array.order == "C" else array.ndim - 1
    size = _row_bytes(array)
    key: list[Any] = [slice(None)] * array.ndim
    key[axis] = slice(lo // size, hi // size)
    view = array[tuple(key)]
    return (view if array.order == "C" else view.T).reshape(-1).view(np.uint8)
