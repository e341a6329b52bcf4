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
