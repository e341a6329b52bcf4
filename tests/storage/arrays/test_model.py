"""A state machine: several connections against plain NumPy."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ZODB.POSException import ConflictError

from tests.storage.arrays.conftest import open_folder
from wendelin import ZBigArray
from wendelin.storage.arrays import extents

BLOCK = 4096
LENGTH = 20 * BLOCK // 8

positions = st.integers(0, 25 * BLOCK // 8)


class Client:
    """One connection, with the NumPy array that its array must equal."""

    def __init__(self, db: Any) -> None:
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        self.view: np.ndarray | None = None

    @property
    def array(self) -> ZBigArray:
        found: ZBigArray = self.connection.root()["a"]
        return found


class Arrays(RuleBasedStateMachine):
    """`committed` is what every new transaction must see; `model[i]` what client i sees now."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="w-model-"))
        self.db = open_folder(self.folder)
        self.clients = [Client(self.db), Client(self.db)]
        first = self.clients[0]
        first.connection.root()["a"] = ZBigArray((LENGTH,), "i8", blksize=BLOCK)
        first.manager.commit()
        self.committed = np.zeros(LENGTH, "i8")
        self.clients[1].manager.begin()
        self.model = [self.committed.copy(), self.committed.copy()]
        self.snapshots = [self.committed.copy(), self.committed.copy()]
        self.commits, self.seen = 0, [0, 0]
        self.value = 0

    def teardown(self) -> None:
        if hasattr(self, "db"):
            for client in self.clients:
                client.view = None
                client.manager.abort()
            self.db.close()
            shutil.rmtree(self.folder)

    @rule(who=st.integers(0, 1), lo=positions, n=st.integers(1, 1500), through_view=st.booleans())
    def write(self, who: int, lo: int, n: int, through_view: bool) -> None:
        self.value += 1
        client, model = self.clients[who], self.model[who]
        target = client.view if through_view and client.view is not None else client.array
        stop = min(lo + n, len(model), len(target))
        target[lo:stop] = self.value
        model[lo:stop] = self.value

    @rule(who=st.integers(0, 1))
    def take_view(self, who: int) -> None:
        self.clients[who].view = self.clients[who].array[:]

    @rule(who=st.integers(0, 1))
    def drop_view(self, who: int) -> None:
        self.clients[who].view = None

    @rule(who=st.integers(0, 1))
    def minimize(self, who: int) -> None:
        self.clients[who].connection.cacheMinimize()

    @rule(who=st.integers(0, 1), length=positions)
    def resize(self, who: int, length: int) -> None:
        self.clients[who].view = None
        self.clients[who].array.resize(length)
        kept = self.model[who][:length]
        self.model[who] = np.concatenate([kept, np.zeros(length - len(kept), "i8")])

    @rule(who=st.integers(0, 1), n=st.integers(0, 700))
    def append(self, who: int, n: int) -> None:
        self.value += 1
        self.clients[who].array.append(np.full(n, self.value))
        self.model[who] = np.concatenate([self.model[who], np.full(n, self.value)])

    @rule(who=st.integers(0, 1))
    def commit(self, who: int) -> None:
        client = self.clients[who]
        mine, before = self.model[who], self.snapshots[who]
        try:
            client.manager.commit()
        except ConflictError:
            assert self.commits > self.seen[who], "a conflict without another's commit"
            client.manager.abort()
        else:
            self.commits += 1
            self.committed = merged(before, self.committed, mine)
        self.begin(who)

    @rule(who=st.integers(0, 1))
    def abort(self, who: int) -> None:
        self.clients[who].manager.abort()
        self.begin(who)

    def begin(self, who: int) -> None:
        self.clients[who].manager.begin()
        self.model[who] = self.committed.copy()
        self.snapshots[who] = self.committed.copy()
        self.seen[who] = self.commits
        view = self.clients[who].view
        if view is not None:
            shown = min(len(view), len(self.committed))
            np.testing.assert_array_equal(view[:shown], self.committed[:shown])
            if len(view) != len(self.committed):
                self.clients[who].view = None

    @precondition(lambda self: hasattr(self, "clients"))
    @invariant()
    def arrays_equal_their_models(self) -> None:
        for client, model in zip(self.clients, self.model, strict=True):
            assert client.array.shape == model.shape
            np.testing.assert_array_equal(client.array[:], model)
            if client.view is not None:
                shown = min(len(client.view), len(model))
                np.testing.assert_array_equal(client.view[:shown], model[:shown])


def merged(before: np.ndarray, theirs: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """What a commit that did not conflict must leave: every block as whoever changed it left it."""
    if len(theirs) == len(before) and np.array_equal(theirs, before):
        return mine.copy()
    if np.array_equal(mine, before):
        return theirs.copy()
    assert not (len(mine) != len(before) and len(theirs) != len(before)), "two resizes must conflict"
    result = np.zeros(len(mine) if len(mine) != len(before) else len(theirs), "i8")
    step = BLOCK // 8
    for lo in range(0, len(result), step):
        block = slice(lo, lo + step)
        old, ours = before[block], mine[block]
        longest = max(len(old), len(ours))  # what a resize cut off or added reads as zeros
        changed = not np.array_equal(np.pad(old, (0, longest - len(old))), np.pad(ours, (0, longest - len(ours))))
        result_block = ours if changed else theirs[block]
        result[block][: len(result_block)] = result_block[: len(result[block])]
    return result


@pytest.mark.parametrize("folds_early", [False, True])
def test_arrays_behave_like_numpy_under_transactions(monkeypatch, folds_early, detector):
    if folds_early:
        monkeypatch.setattr(extents, "RECENT_RUNS", 4)
        monkeypatch.setattr(extents, "CHUNK_RUNS", 4)
    run_state_machine_as_test(
        Arrays,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
