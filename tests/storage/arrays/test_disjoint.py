"""Transactions that write different blocks, and transactions that append, never conflict.

Whenever they began, however many others committed meanwhile, and whatever these folded, sealed or rewrote.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.POSException import ConflictError

from wendelin import ZBigArray
from wendelin.storage.arrays import compaction, extents, index
from wendelin.storage.arrays.runs import PAGE

BLOCK = 2 * PAGE
PER_BLOCK, PER_PAGE = BLOCK // 8, PAGE // 8
WRITERS = 4


@pytest.fixture(autouse=True)
def detector() -> None:
    """Which way written pages are found makes no difference here."""


class Writer:
    """A connection that writes in its own blocks, every fourth one, and appends."""

    def __init__(self, db: Any, number: int, random: np.random.Generator) -> None:
        self.manager, self.number, self.random = transaction.TransactionManager(), number, random
        self.array = db.open(self.manager).root()["a"]
        self.begin()

    def begin(self) -> None:
        self.manager.begin()
        self.length = len(self.array)
        self.values: dict[int, int] = {}
        self.appended: list[int] = []

    def work(self, value: int) -> None:
        """Write into one or two own pages or a block, append, or both; not into a page that is not full yet."""
        if self.random.random() < 0.7:
            for _ in range(self.random.integers(1, 3)):
                page = int(self.random.integers(self.length // PER_PAGE))
                if page // 2 % WRITERS == self.number:
                    at = page * PER_PAGE + int(self.random.integers(PER_PAGE))
                    size = 1 if self.random.random() < 0.7 else (page + 1) * PER_PAGE - at
                    self.array[at : at + size] = value
                    self.values.update(dict.fromkeys(range(at, at + size), value))
        if self.random.random() < 0.5:
            count = int(self.random.choice([1, 7, 300, 1500]))
            self.array.append(np.full(count, value))
            self.appended += [value] * count


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [PER_BLOCK * 8, PER_BLOCK * 8 + 100])
def test_different_blocks_and_appends_merge(db: Any, root: Any, monkeypatch: Any, seed: int, size: int) -> None:
    for module, name, value in (
        (extents, "LOG_ENTRIES", 5),
        (extents, "RECENT", 2),
        (extents, "LOG_PATCHES", 9),
        (index, "CHUNK_RUNS", 16),
        (compaction, "LOOKED_AT", 5),
        (compaction, "TAIL_PIECES", 4),
        (compaction, "RUNS_PER_BLOCK", 2),
    ):
        monkeypatch.setattr(module, name, value)
    random = np.random.default_rng(seed)
    root["a"] = ZBigArray((size,), "i8", blksize=BLOCK)
    transaction.commit()
    writers = [Writer(db, number, random) for number in range(WRITERS)]
    expected = np.zeros(size, "i8")
    for step in range(1, 150):
        # The last one begins rarely: many others commit meanwhile.
        writer = writers[int(random.integers(WRITERS if step % 30 == 0 else WRITERS - 1))]
        writer.work(step)
        writer.manager.commit()
        for at, value in writer.values.items():
            expected[at] = value
        expected = np.append(expected, writer.appended)
        writer.begin()
        assert len(writer.array) == len(expected)
        if step % 10 == 0:
            np.testing.assert_array_equal(writer.array[:], expected)
    for writer in writers:
        writer.manager.begin()
        np.testing.assert_array_equal(writer.array[:], expected)
        writer.manager.abort()
    assert writers[0].array.extents.base is not None


def test_a_page_that_others_complete_conflicts_and_loses_nothing(db: Any, root: Any, other: Any) -> None:
    """The admitted exception: the page in which the array ended when the transaction began."""
    root["a"] = array = ZBigArray((PER_BLOCK + 5,), "i8", blksize=BLOCK)
    transaction.commit()
    other.transaction_manager.begin()
    theirs = other.root()["a"]
    theirs[PER_BLOCK + 2] = 7
    array.append([1, 2, 3])
    transaction.commit()
    array[PER_BLOCK + 6] = 5  # gives the appended values their place
    transaction.commit()
    with pytest.raises(ConflictError):
        other.transaction_manager.commit()
    other.transaction_manager.abort()
    theirs[PER_BLOCK + 2] = 7
    other.transaction_manager.commit()
    transaction.begin()
    assert array[PER_BLOCK:].tolist() == [0, 0, 7, 0, 0, 1, 5, 3]
