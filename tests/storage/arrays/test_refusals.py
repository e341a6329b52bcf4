"""The machine refuses a mapping midway: what is known to show and what shows stay one, whatever follows."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import transaction

from wendelin import ZBigArray
from wendelin.storage.arrays import addresses, mapping
from wendelin.storage.arrays.addresses import Reservation
from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import AddressSpaceError

PER_PAGE = PAGE // 8
N = 64 * PER_PAGE
FAR_APART = (1, 10, 11, 20, 40)


class Refusing:
    """Of the files that are mapped, the n-th is refused, and all behind it if there is `no_end`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.calls, self.no_end = 0, 0, False
        real = Reservation.map_file

        def map_file(addresses: Reservation, *place: int) -> None:
            self.calls += 1
            if self.at and (self.calls == self.at or (self.no_end and self.calls > self.at)):
                raise AddressSpaceError(errno.ENOMEM, "refused by the test")
            real(addresses, *place)

        monkeypatch.setattr(Reservation, "map_file", map_file)

    def during(self, work: Callable[[], Any], at: int, *, no_end: bool) -> bool:
        """Whether the n-th mapping of `work` came, and was refused."""
        self.at, self.calls, self.no_end = at, 0, no_end
        try:
            work()
        except AddressSpaceError:
            return True
        finally:
            self.at = 0
        return False


class Spilled:
    """An array, a view of it, what it has to show and what is committed, to try what follows a refusal."""

    def __init__(self, conn: Any, other: Any) -> None:
        self.root, self.manager, self.theirs = conn.root(), other.transaction_manager, other.root()
        self.root["a"] = self.array = ZBigArray((N,), "i8", blksize=1 << 16)
        self.array[:] = np.arange(N)
        transaction.commit()
        self.view = self.array[:]
        self.expected = self.committed = np.arange(N)
        self.memory = conn.arrays.memory_of(self.array._p_oid)

    def write(self, value: int) -> None:
        self.expected = self.expected.copy()
        for page in FAR_APART:
            self.view[page * PER_PAGE + value % 7] = self.expected[page * PER_PAGE + value % 7] = value

    def shows(self) -> None:
        np.testing.assert_array_equal(self.view, self.expected)
        np.testing.assert_array_equal(self.array[:], self.expected)
        self.manager.begin()
        np.testing.assert_array_equal(self.theirs["a"][:], self.committed)

    def abort(self) -> None:
        transaction.abort()
        self.expected = self.committed

    def commit(self) -> None:
        transaction.commit()
        self.committed = self.expected


def rewritten(found: Spilled) -> None:
    found.write(-2)
    found.memory.spill()
    found.shows()


def rolled_back(found: Spilled) -> None:
    savepoint = transaction.savepoint()
    before = found.expected
    found.write(-3)
    found.memory.spill()
    found.shows()
    savepoint.rollback()
    found.expected = before
    found.shows()


def nothing(found: Spilled) -> None:
    """Go on at once."""


@pytest.fixture(params=["one by one", "together"])
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the process has so many mappings that neighbours are gathered in one file."""
    if request.param == "together":
        monkeypatch.setattr(mapping, "too_many", lambda runs, taken: bool(runs))


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("end", ["commit", "abort"])
@pytest.mark.parametrize("follows", [nothing, rewritten, rolled_back])
@pytest.mark.parametrize("no_end", [False, True], ids=["one", "all"])
@pytest.mark.parametrize("spilled_before", [False, True], ids=["first", "again"])
def test_a_mapping_refused_while_changes_are_spilled(
    conn, other, monkeypatch, spilled_before: bool, no_end: bool, follows: Callable[[Spilled], None], end: str
) -> None:
    refusing = Refusing(monkeypatch)
    found = Spilled(conn, other)
    at, refused = 1, True
    while refused:
        if spilled_before:
            found.write(-8)
            transaction.savepoint()
        found.write(-1)
        refused = refusing.during(found.memory.spill, at, no_end=no_end)
        found.shows()
        follows(found)
        getattr(found, end)()
        found.shows()
        found.write(-5)
        found.abort()
        found.shows()
        found.write(-4)
        found.commit()
        found.shows()
        conn.cacheMinimize()
        found.shows()
        at += 1
    assert at > 2, "nothing was refused"


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("end", ["commit", "abort"])
def test_a_mapping_refused_within_a_commit(conn, other, monkeypatch, end: str) -> None:
    refusing = Refusing(monkeypatch)
    found = Spilled(conn, other)
    at, refused = 1, True
    while refused:
        found.write(-8)
        found.view[: N // 2] += 1
        found.expected[: N // 2] += 1
        refused = refusing.during(transaction.commit, at, no_end=False)
        if refused:
            transaction.abort()
            found.manager.begin()
            stored = (np.array(found.theirs["a"][:]) == found.expected).all()
            found.expected = found.committed = found.expected if stored else found.committed
        else:
            found.committed = found.expected
        found.shows()
        found.write(-5)
        getattr(found, end)()
        found.shows()
        at += 1
    assert at > 2, "nothing was refused"


def test_a_mapping_refused_while_an_array_moves_to_more_addresses(conn, root, monkeypatch) -> None:
    """It stays where it is, with what was written and not committed."""
    monkeypatch.setattr(addresses, "MINIMUM", 1 << 20)
    monkeypatch.setattr(Reservation, "extend", lambda *_: False)
    refusing = Refusing(monkeypatch)
    root["a"] = array = ZBigArray((N,), "i8", blksize=1 << 16)
    array[:] = expected = np.arange(N)
    transaction.commit()
    array[7] = expected[7] = -1
    place, at = conn.arrays.memory_of(array._p_oid).start, 1
    while refusing.during(lambda: array.resize(100 * N), at, no_end=False):
        assert conn.arrays.memory_of(array._p_oid).start == place
        assert array.shape == (N,)
        np.testing.assert_array_equal(array[:], expected)
        at += 1
    assert at > 1, "nothing was refused"
    assert conn.arrays.memory_of(array._p_oid).start != place
    transaction.commit()
    np.testing.assert_array_equal(array[:N], expected)
