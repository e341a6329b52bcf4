"""What a database under torture must hold, at any moment, whoever was killed.

- Each writer owns a block of `blocks` (all its values are the number of its last transaction), a value in `cells` and
  a name in the root, all three changed in the same transaction.
- `rows` grows by appends of several rows (appender, sequence number, index, count, checksum). Each append is
  contiguous and whole; an appender's sequence numbers are 1, 2, 3, … in the order of the array; the last is also a
  name in the root.
- What a process acknowledged before a snapshot began is in it; what is in it had been tried.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wendelin import ZBigArray

BLOCK = 1 << 13
"""Values of a writer's block: one block of an array."""
COLUMNS = 5


def create(root: Any, writers: int) -> None:
    root["blocks"] = ZBigArray((writers * BLOCK,), "i8", blksize=8 * BLOCK)
    root["cells"] = ZBigArray((writers * BLOCK,), "i8", blksize=8 * BLOCK)
    root["rows"] = ZBigArray((0, COLUMNS), "i8", blksize=8 * BLOCK)


def change(root: Any, writer: int, number: int) -> None:
    root["blocks"][writer * BLOCK : (writer + 1) * BLOCK] = number
    root["cells"][writer * BLOCK + 7] = number
    root[f"writer-{writer}"] = number


def append(root: Any, appender: int, sequence: int, count: int) -> None:
    rows = np.empty((count, COLUMNS), "i8")
    rows[:] = appender, sequence, 0, count, 0
    rows[:, 2] = np.arange(count)
    rows[:, 4] = checksum(rows)
    root["rows"].append(rows)
    root[f"appender-{appender}"] = sequence


def checksum(rows: Any) -> Any:
    return (((rows[:, 0] * 31 + rows[:, 1]) * 31 + rows[:, 2]) * 31 + rows[:, 3]) ^ 0x5DEECE66D


def last_numbers(root: Any, writers: int, appenders: int) -> dict[str, int]:
    """What each writer and appender has stored last; AssertionError when anything of this snapshot is torn."""
    found = {f"writer-{i}": last_written(root, i) for i in range(writers)}
    rows = np.asarray(root["rows"][...])
    check_rows(rows, whole=True)
    for i in range(appenders):
        own = rows[(rows[:, 0] == i) & (rows[:, 2] == 0), 1]
        assert np.array_equal(own, np.arange(1, len(own) + 1)), f"appender {i} stored {own.tolist()[-20:]}"
        named = root.get(f"appender-{i}", 0)
        assert named == len(own), f"appender {i} named {named}, but its last append is {len(own)}"
        found[f"appender-{i}"] = len(own)
    return found


def last_written(root: Any, writer: int) -> int:
    block = np.asarray(root["blocks"][writer * BLOCK : (writer + 1) * BLOCK])
    number = int(root.get(f"writer-{writer}", 0))
    wrong = np.flatnonzero(block != number)
    assert not len(wrong), (
        f"block {writer} of transaction {number} holds {np.unique(block).tolist()}, other than {number} from "
        f"{wrong[0]} to {wrong[-1]}"
    )
    cell = int(root["cells"][writer * BLOCK + 7])
    assert cell == number, f"cell {writer} is {cell}, its name says {number}"
    return number


def check_rows(rows: Any, *, whole: bool) -> None:
    """AssertionError when an append is torn; not `whole`: the first one may begin before `rows`."""
    if not whole:
        rows = rows[np.flatnonzero(rows[:, 2] == 0)[0] :] if (rows[:, 2] == 0).any() else rows[:0]
    if not len(rows):
        return
    wrong = np.flatnonzero(rows[:, 4] != checksum(rows))
    assert not len(wrong), f"{len(wrong)} rows are damaged, the first is {wrong[0]} of {len(rows)}: {rows[wrong[0]]}"
    starts = rows[:, 2] == 0
    follows = np.all(rows[1:, [0, 1, 3]] == rows[:-1, [0, 1, 3]], axis=1) & (rows[1:, 2] == rows[:-1, 2] + 1)
    torn = np.flatnonzero(~(starts[1:] | follows))
    assert not len(torn), f"an append is torn at row {torn[0] + 1}: {rows[torn[0] : torn[0] + 2].tolist()}"
    ends = np.flatnonzero(np.append(starts[1:], True))
    short = ends[rows[ends, 2] != rows[ends, 3] - 1]
    assert starts[0], f"the first append lacks its beginning: {rows[0]}"
    assert not len(short), f"an append ends early at row {short[0]}: {rows[short[0]]}"


class Promises:
    """What a process tried and what it acknowledged, in a file outside the database."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"promises-{name}"

    def note(self, what: str, number: int | str) -> None:
        """One line in one write: `try` before a transaction, `ok` when its commit has returned."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{what} {number}\n".encode())

    def last(self, what: str) -> int:
        return max((int(line.split()[1]) for line in self._lines() if line.startswith(what)), default=0)

    def all(self, what: str) -> list[str]:
        return [line.split(" ", 1)[1] for line in self._lines() if line.startswith(what)]

    def _lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []
