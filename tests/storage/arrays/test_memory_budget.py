"""Transactions larger than memory: changed pages are spilled, and what was spilled commits, aborts and rolls back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import transaction

import wendelin
from tests.storage.arrays import huge
from wendelin import ZBigArray
from wendelin.storage.arrays import blockwise, budget
from wendelin.storage.arrays.known import memory_at
from wendelin.storage.errors import UsageError

MIB = 1 << 20


@pytest.fixture(autouse=True)
def detector() -> None:
    """The ways of finding written pages have their own tests."""


@contextlib.contextmanager
def memory_cgroup(nbytes: int) -> Iterator[Path | None]:
    """A cgroup that may take `nbytes` of memory, page cache included; None where this user may not make one."""
    name = f"wendelin-test-{os.getpid()}"
    for folder, limit in (
        (Path("/sys/fs/cgroup/memory") / name, "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup") / name, "memory.max"),
    ):
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / limit).write_text(str(nbytes))
        except OSError:
            folder.rmdir()
            continue
        try:
            yield folder
        finally:
            folder.rmdir()
        return
    yield None


def peaks(home: Path, nbytes: int, limit: int) -> tuple[dict[str, int], int]:
    """Run `huge.py` in a cgroup of `limit` bytes, else with the budget it would have there: peaks, budget."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with memory_cgroup(limit) as group:
        if group is None:
            environment["WENDELIN_MEMORY_BUDGET"] = str(limit // budget.SHARE)
        enter = f"echo $$ > {group}/cgroup.procs; " if group else ""
        command = f'{enter}exec "$0" "$@"'
        found = subprocess.run(
            ["sh", "-c", command, sys.executable, huge.__file__, str(home / "db"), str(nbytes)],
            env=environment, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert found.returncode == 0, f"{found.returncode}: {found.stderr}"
    return json.loads(found.stdout), limit // budget.SHARE


@pytest.mark.slow
def test_a_transaction_of_four_times_the_memory_stays_within_the_budget(wendelin_home: Path) -> None:
    found, allowed = peaks(wendelin_home, 640 * MIB, 160 * MIB)
    assert max(found.values()) <= 1.1 * allowed, found


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_four_gigabytes_in_512_megabytes(wendelin_home: Path) -> None:
    found, allowed = peaks(wendelin_home, 4 << 30, 512 * MIB)
    assert max(found.values()) <= 1.1 * allowed, found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_MEMORY_BUDGET", "2MB")


@pytest.fixture
def connection(wendelin_home: Path) -> Iterator[wendelin.storage.database.connection.Connection]:
    found = wendelin.connect(f"file://{wendelin_home}/db")
    yield found
    transaction.abort()
    found.close()


def spilled(array: ZBigArray) -> bool:
    memory = memory_at(array[:0].__array_interface__["data"][0])
    return memory is not None and bool(memory._spilled)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("stored", [False, True])
def test_what_was_spilled_commits_aborts_and_is_overwritten(connection, stored: bool) -> None:
    root = connection.root()
    root["a"] = array = ZBigArray((4 * MIB,), "i8", blksize=64 << 10)
    if stored:
        transaction.commit()
    view = array[:]
    array[:] = np.arange(4 * MIB)
    assert spilled(array)
    array[100:200] = -1
    array[:] = array[:] + 1
    transaction.commit()
    expected = np.arange(1, 4 * MIB + 1)
    expected[100:200] = 0
    np.testing.assert_array_equal(view, expected)
    array[:] = 5
    assert spilled(array)
    transaction.abort()
    np.testing.assert_array_equal(view, expected)
    connection.cacheMinimize()
    np.testing.assert_array_equal(root["a"][:], expected)


@pytest.mark.usefixtures("small")
def test_spilling_the_same_pages_again_takes_no_more_room(connection) -> None:
    connection.root()["a"] = array = ZBigArray((MIB,), "i8")
    transaction.commit()
    for number in range(20):
        array[:] = number
    memory = memory_at(array[:0].__array_interface__["data"][0])
    assert memory is not None
    assert memory.draft is not None
    assert memory.draft.pages * 4096 <= array.nbytes
    transaction.commit()
    assert (array[:] == 19).all()


@pytest.mark.usefixtures("small")
def test_an_array_without_a_database_spills_too_and_keeps_its_contents_when_storing_fails(connection) -> None:
    root = connection.root()
    array = ZBigArray((2 * MIB,), "i8")
    array[:] = np.arange(2 * MIB)
    assert spilled(array)
    root["a"] = array
    root["bad"] = lambda: None
    with pytest.raises(Exception, match=r"pickle|local"):
        transaction.commit()
    transaction.abort()
    np.testing.assert_array_equal(array[:], np.arange(2 * MIB))
    array[5] = -5
    root["a"] = array
    transaction.commit()
    connection.cacheMinimize()
    assert root["a"][4:7].tolist() == [4, -5, 6]


class TestSavepoints:
    @pytest.mark.parametrize("budget_named", [None, "2MB"])
    def test_a_rollback_brings_back_what_the_savepoint_saw(self, connection, budget_named, monkeypatch) -> None:
        if budget_named:
            monkeypatch.setenv("WENDELIN_MEMORY_BUDGET", budget_named)
        root = connection.root()
        root["a"] = array = ZBigArray((MIB,), "i8")
        array[:] = 1
        transaction.commit()
        view = array[:]
        array[:1000] = 2
        first = transaction.savepoint()
        array[:] = 3
        array.append([4, 4])
        second = transaction.savepoint()
        array.resize(10)
        second.rollback()
        assert array.shape == (MIB + 2,)
        assert (array[:-2] == 3).all()
        assert array[-2:].tolist() == [4, 4]
        first.rollback()
        assert array.shape == (MIB,)
        assert (view[:1000] == 2).all()
        assert (view[1000:] == 1).all()
        transaction.commit()
        connection.cacheMinimize()
        assert root["a"][998:1002].tolist() == [2, 2, 1, 1]

    def test_arrays_made_before_and_after_a_savepoint(self, connection) -> None:
        root = connection.root()
        root["before"] = before = ZBigArray((1000,), "i8")
        before[:] = 1
        savepoint = transaction.savepoint()
        before[:] = 2
        root["after"] = ZBigArray((1000,), "i8")
        root["after"][:] = 3
        transaction.savepoint()
        savepoint.rollback()
        assert "after" not in root
        assert (before[:] == 1).all()
        transaction.commit()
        connection.cacheMinimize()
        assert (root["before"][:] == 1).all()

    def test_a_rollback_to_before_the_first_slice(self, connection) -> None:
        root = connection.root()
        root["a"] = array = ZBigArray((1000,), "i8")
        transaction.commit()
        root["x"] = 1
        savepoint = transaction.savepoint()
        array[:] = 5
        savepoint.rollback()
        assert not array[:].any()
        array[3] = 7
        transaction.commit()
        assert array[:5].tolist() == [0, 0, 0, 7, 0]

    def test_an_abort_after_savepoints_takes_all_back(self, connection) -> None:
        root = connection.root()
        root["a"] = array = ZBigArray((1000,), "i8")
        transaction.commit()
        array[:] = 5
        transaction.savepoint()
        array[:] = 6
        transaction.abort()
        assert not array[:].any()

    def test_a_new_array_of_an_aborted_transaction_keeps_its_contents(self, connection) -> None:
        connection.root()["a"] = array = ZBigArray((1000,), "i8")
        array[:] = 5
        transaction.savepoint()
        array[:500] = 6
        transaction.abort()
        assert array[:].sum() == 500 * 11


class TestOperations:
    @pytest.mark.usefixtures("small")
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_functions_of_elements_equal_numpy(self, connection, order) -> None:
        connection.root()["a"] = array = ZBigArray((3000, 500), "f8", order=order)
        plain = np.asarray(np.random.default_rng(0).normal(size=(3000, 500)), order=order)
        array[:] = plain
        array *= 2
        plain *= 2
        np.add(array, plain[:1], out=array)
        np.add(plain, plain[:1].copy(), out=plain)
        np.sqrt(np.abs(array), out=array, where=plain > 0)
        np.sqrt(np.abs(plain), out=plain, where=plain > 0)
        np.testing.assert_array_equal(array[:], plain)
        assert spilled(array)
        quotient, rest = ZBigArray((3000, 500), order=order), ZBigArray((3000, 500), order=order)
        np.divmod(array, 0.3, out=(quotient, rest))
        np.testing.assert_array_equal(rest[:], np.divmod(plain, 0.3)[1])

    def test_what_has_no_out_is_an_ndarray(self) -> None:
        array = ZBigArray((10,), "i8")
        array[:] = range(10)
        assert type(array + 1) is np.ndarray
        assert np.asarray(1 + array).tolist() == list(range(1, 11))
        assert (array == 3).tolist() == [i == 3 for i in range(10)]
        assert np.add.reduce(array) == 45
        assert (np.ones(10) @ array) == 45
        assert {array: 1}[array] == 1

    @pytest.mark.usefixtures("small")
    def test_operands_that_overlap_what_is_written_are_done_at_once(self, connection) -> None:
        connection.root()["a"] = array = ZBigArray((MIB,), "i8")
        array[:] = np.arange(MIB)
        plain = np.arange(MIB)
        np.add(array, array[::-1], out=array)
        np.add(plain, plain[::-1].copy(), out=plain)
        np.testing.assert_array_equal(array[:], plain)
        array[1:] = array[:-1]
        plain[1:] = plain[:-1].copy()
        np.testing.assert_array_equal(array[:], plain)

    def test_a_read_only_array_says_why(self, connection, wendelin_home) -> None:
        connection.root()["a"] = ZBigArray((10,), "i8")
        transaction.commit()
        reader = wendelin.connect(f"file://{wendelin_home}/db", read_only=True)
        with pytest.raises(ValueError, match="read-only"):
            np.add(1, 2, out=reader.root()["a"])
        reader.transaction_manager.abort()
        reader.close()

    @pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5), (100_000,), ()])
    def test_blocks_cover_everything_once(self, shape) -> None:
        plain = np.zeros(shape)
        for index in blockwise.blocks(plain, 64):
            plain[index] += 1
        assert (plain == 1).all()


@pytest.mark.parametrize("text", ["much", "-1", "0", "5 apples"])
def test_a_budget_that_is_no_number_of_bytes_says_so(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("WENDELIN_MEMORY_BUDGET", text)
    with pytest.raises(UsageError, match="512MB"):
        budget.memory_budget()


def test_the_budget_is_a_share_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WENDELIN_MEMORY_BUDGET", raising=False)
    monkeypatch.setattr(budget, "_found", {})
    assert budget.memory_budget() == max(budget.available() // budget.SHARE, budget.LEAST)
    monkeypatch.setenv("WENDELIN_MEMORY_BUDGET", "1.5 GB")
    assert budget.memory_budget() == 3 << 29
