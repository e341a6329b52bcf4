"""Scattered arrays are put together, by commits themselves and by `wendelin db defragment`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transaction
from click.testing import CliRunner

import wendelin
from wendelin import ZBigArray
from wendelin.storage.arrays import compaction, extents
from wendelin.storage.arrays.compaction import defragment, fragments
from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.cli import main


@pytest.fixture
def url(wendelin_home: Path) -> str:
    return f"file://{wendelin_home}/plant"


def bytes_on_disk(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def scattered(url: str, *, updates: int = 300) -> np.ndarray:
    """An array of 8 MiB that was written at once and then changed page by page; what it must hold."""
    connection = wendelin.connect(url)
    root = connection.root()
    root["a/b"] = array = ZBigArray((1 << 20,), "i8", blksize=64 << 10)
    array[:] = np.arange(1 << 20)
    root["log"] = ZBigArray((0, 3), "i4")
    transaction.commit()
    expected = np.arange(1 << 20)
    for number, page in enumerate(np.random.default_rng(0).integers(0, 2048, updates).tolist()):
        array[page * 512 : page * 512 + 9] = -number
        expected[page * 512 : page * 512 + 9] = -number
        root["log"].append(np.full((5, 3), number))
        transaction.commit()
    connection.close()
    return expected


def check(url: str, expected: np.ndarray, updates: int = 300) -> None:
    connection = wendelin.connect(url)
    np.testing.assert_array_equal(connection.root()["a/b"][:], expected)
    np.testing.assert_array_equal(connection.root()["log"][:, 1], np.repeat(np.arange(updates), 5))
    transaction.abort()
    connection.close()


def test_the_command_puts_arrays_together_and_says_so(url: str, wendelin_home: Path) -> None:
    expected = scattered(url)
    told = CliRunner().invoke(main, ["db", "defragment", url])
    assert told.exit_code == 0, told.output
    assert "a/b" in told.output
    assert "stay as history" in told.output
    check(url, expected)
    connection = wendelin.connect(url)
    assert fragments(connection.root()["a/b"]) <= 129  # one run a block, and neighbours of one segment are one
    assert fragments(connection.root()["log"]) <= 2
    connection.close()
    again = CliRunner().invoke(main, ["db", "defragment", url])
    assert "stay as history" not in again.output, "nothing is left to move"


def test_packed_it_takes_as_much_room_as_if_written_at_once(url: str, wendelin_home: Path) -> None:
    expected = scattered(url)
    told = CliRunner().invoke(main, ["db", "defragment", "--pack", url])
    assert told.exit_code == 0, told.output
    check(url, expected)
    old = wendelin_home / "plant" / "Data.fs.old"
    old.unlink(missing_ok=True)
    assert bytes_on_disk(wendelin_home / "plant") < 1.3 * expected.nbytes


def test_a_name_that_is_not_there_is_a_wrong_call(url: str) -> None:
    scattered(url, updates=1)
    told = CliRunner().invoke(main, ["db", "defragment", url, "--array", "nowhere"])
    assert told.exit_code == 2
    assert "nowhere" in told.output


def test_many_appends_lie_together_by_themselves(url: str) -> None:
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((0,))
    transaction.commit()
    rows = np.arange(10_000.0)
    for number in range(300):
        array.append(rows + number)
        transaction.commit()
    assert fragments(array) < 200
    assert len(array.extents.tail) < extents.TAIL_PIECES
    expected = (rows[None, :] + np.arange(300)[:, None]).ravel()
    np.testing.assert_array_equal(array[:], expected)
    defragment(array)
    assert fragments(array) <= 12, "whole blocks"
    np.testing.assert_array_equal(array[:], expected)
    connection.close()


def test_a_block_of_many_changes_is_rewritten_by_a_commit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "RUNS_PER_BLOCK", 8)
    monkeypatch.setattr(extents, "LOG_PATCHES", 64)
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((1 << 18,), "i8", blksize=2 << 20)
    array[:] = 1
    transaction.commit()
    expected = np.ones(1 << 18, "i8")
    for number, page in enumerate(np.random.default_rng(1).permutation(512)[:200].tolist()):
        array[page * 512] = expected[page * 512] = -number
        transaction.commit()
    assert fragments(array) < 140
    np.testing.assert_array_equal(array[:], expected)
    connection.close()


def test_a_writer_wins_over_a_move(url: str) -> None:
    """Both are committed: the move gives way in the block that was written meanwhile."""
    expected = scattered(url)
    mover = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    writer = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    mover.transaction_manager.begin()
    array = mover.root()["a/b"]
    assert compaction._rewritten(array, 0, -(-array.nbytes // PAGE)) > 0
    writer.root()["a/b"][5] = expected[5] = 12345
    writer.transaction_manager.commit()
    mover.transaction_manager.commit()
    np.testing.assert_array_equal(array[:], expected)
    for connection in (mover, writer):
        connection.transaction_manager.abort()
        connection.close()


def test_mappings_stay_few_however_scattered_an_array_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from wendelin.storage.arrays import addresses

    monkeypatch.setattr(addresses, "_allowed", [400])
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((4000 * 512,), "i8", blksize=PAGE)
    expected = np.zeros(4000 * 512, "i8")
    for start in (0, 1024, 1536):
        array[start::4096] = expected[start::4096] = start + 1
        transaction.commit()
    array[:512] = expected[:512] = 9  # something changed nearby, between two commits
    connection.cacheMinimize()
    transaction.commit()
    connection.close()
    before = len(Path("/proc/self/maps").read_text().splitlines())
    connection = wendelin.connect(url)
    view = connection.root()["a"][:]
    np.testing.assert_array_equal(view, expected)
    assert len(Path("/proc/self/maps").read_text().splitlines()) - before < 100
    view[7 * 512] = expected[7 * 512] = 3
    transaction.commit()
    np.testing.assert_array_equal(view, expected)
    connection.close()


def shifts(array: ZBigArray) -> set[int]:
    """How far long runs lie in their file from where a huge page would have them, in pages."""
    return {(start - at) % 512 for start, length, _, at in array.extents.layout(0, extents.END)[0] if length > 511}


def test_huge_pages_lie_in_the_file_as_in_memory(url: str) -> None:
    """The kernel can map them as huge pages then."""
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((12 << 18,), "i8", blksize=64 << 10)
    array[:] = expected = np.arange(12 << 18)
    transaction.commit()
    for start in (7 * 512, 3000 * 512):  # a large piece from the middle of a huge page on, and a page before it
        array[start - 2048 : start - 2040] = expected[start - 2048 : start - 2040] = -1
        array[start : start + (1 << 20)] = expected[start : start + (1 << 20)] = -start
        transaction.commit()
    assert shifts(array) == {0}, "what a commit stores"
    for page in np.random.default_rng(0).integers(0, 6144, 300).tolist():
        array[page * 512 + 5] = expected[page * 512 + 5] = page
        transaction.commit()
    defragment(array)
    assert shifts(array) == {0}
    assert fragments(array) == 1
    np.testing.assert_array_equal(array[:], expected)
    connection.close()


def test_holes_stay_holes_and_nothing_is_moved_twice(url: str, wendelin_home: Path) -> None:
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((64 << 18,), "i8", blksize=PAGE)
    expected = np.zeros(64 << 18, "i8")
    for start in (0, 512, 512 * 9):
        array[start :: 512 * 16] = expected[start :: 512 * 16] = start + 1
        transaction.commit()
    assert defragment(array) == 3 * 2048 * PAGE
    assert defragment(array) == 0
    connection.db().pack()
    np.testing.assert_array_equal(array[:], expected)
    (wendelin_home / "plant" / "Data.fs.old").unlink(missing_ok=True)
    assert bytes_on_disk(wendelin_home / "plant" / "blobs") < 1.1 * 3 * 2048 * PAGE
    connection.close()


def test_where_little_is_scattered_only_that_is_moved(url: str) -> None:
    connection = wendelin.connect(url)
    connection.root()["a"] = array = ZBigArray((64 << 18,), "i8")
    array[:] = 1
    transaction.commit()
    array[5] = 2
    transaction.commit()
    assert defragment(array) == 2 << 20
    for block in range(20):
        array[(2 * block + 1) << 18] = 3
        transaction.commit()
    assert defragment(array) == 128 << 20, "too little of the old segment would stay in use"
    assert fragments(array) == 1
    connection.close()
