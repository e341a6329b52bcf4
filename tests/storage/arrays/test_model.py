"""A state machine: several connections against plain NumPy."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
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
from wendelin.storage.arrays import extents, index

BLOCK = 4096
LENGTH = 20 * BLOCK // 8

positions = st.integers(0, 25 * BLOCK // 8)


class Client:
    """One connection, with the NumPy array that its array must equal."""

    def __init__(self, db: Any) -> None:
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        self.view: np.ndarray | None = None
        self.saved: tuple[Any, np.ndarray, Did] | None = None

    @property
    def array(self) -> ZBigArray:
        found: ZBigArray = self.connection.root()["a"]
        return found


@dataclass(frozen=True)
class Did:
    """What a transaction did so far."""

    resized: bool = False
    wrote: bool = False  # in place, that is below the length it began with


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
        self.did = [Did(), Did()]
        self.others = [Did(), Did()]  # what commits since i began have done
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
        if lo < min(stop, len(self.snapshots[who])):
            self.note(who, wrote=True)

    def note(self, who: int, **did: bool) -> None:
        self.did[who] = dataclasses.replace(self.did[who], **did)

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
        if length != len(self.model[who]):
            self.note(who, resized=True)
        self.clients[who].array.resize(length)
        kept = self.model[who][:length]
        self.model[who] = np.concatenate([kept, np.zeros(length - len(kept), "i8")])

    @rule(who=st.integers(0, 1), n=st.integers(0, 700))
    def append(self, who: int, n: int) -> None:
        self.value += 1
        self.clients[who].array.append(np.full(n, self.value))
        self.model[who] = np.concatenate([self.model[who], np.full(n, self.value)])

    @rule(who=st.integers(0, 1))
    def savepoint(self, who: int) -> None:
        client = self.clients[who]
        client.saved = (client.manager.savepoint(), self.model[who].copy(), self.did[who])

    @precondition(lambda self: hasattr(self, "clients") and any(client.saved for client in self.clients))
    @rule(who=st.integers(0, 1))
    def rollback(self, who: int) -> None:
        client = self.clients[who]
        if client.saved is None:
            return
        savepoint, model, did = client.saved
        savepoint.rollback()
        self.model[who] = model.copy()
        self.did[who] = did
        client.view = None

    @rule(who=st.integers(0, 1))
    def spill(self, who: int) -> None:
        for memory in self.clients[who].connection.arrays._memories.values():
            memory.spill()

    @rule(who=st.integers(0, 1))
    def commit(self, who: int) -> None:
        client = self.clients[who]
        mine, before, did = self.model[who], self.snapshots[who], self.did[who]
        try:
            client.manager.commit()
        except ConflictError:
            assert self.commits > self.seen[who], "a conflict without another's commit"
            assert did.resized or did.wrote or self.others[who].resized, "appends merge always"
            client.manager.abort()
        else:
            self.commits += 1
            self.committed = merged(before, self.committed, mine, did, self.others[who])
            other = 1 - who
            self.others[other] = Did(self.others[other].resized or did.resized, self.others[other].wrote or did.wrote)
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
        self.did[who], self.others[who], self.clients[who].saved = Did(), Did(), None
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


def merged(before: np.ndarray, theirs: np.ndarray, mine: np.ndarray, did: Did, others: Did) -> np.ndarray:
    """What a commit that did not conflict must leave: blocks as whoever changed them left them, appends in a row."""
    assert not (did.resized and others.resized), "two resizes must conflict"
    if did.resized:
        return with_blocks_of(before, theirs, mine.copy(), unless=mine)
    result = with_blocks_of(before, mine[: len(before)], theirs.copy())
    return np.concatenate([result, mine[len(before) :]])


def with_blocks_of(before: np.ndarray, changed: np.ndarray, result: np.ndarray, unless: Any = None) -> np.ndarray:
    """`result` with the blocks in which `changed` differs from `before`, unless another did change them too."""
    step = BLOCK // 8
    for lo in range(0, len(result), step):
        block = slice(lo, lo + step)
        if differs(before[block], changed[block]) and (unless is None or not differs(before[block], unless[block])):
            n = min(len(result[block]), len(changed[block]))
            result[block][:n] = changed[block][:n]
    return result


def differs(a: np.ndarray, b: np.ndarray) -> bool:
    n = max(len(a), len(b))  # what a resize cut off or added reads as zeros
    return not np.array_equal(np.pad(a, (0, n - len(a))), np.pad(b, (0, n - len(b))))


@pytest.mark.parametrize("folds_early", [False, True])
def test_arrays_behave_like_numpy_under_transactions(monkeypatch, folds_early, detector):
    if folds_early:
        monkeypatch.setattr(extents, "LOG_ENTRIES", 4)
        monkeypatch.setattr(extents, "RECENT", 2)
        monkeypatch.setattr(extents, "LOG_PATCHES", 7)
        monkeypatch.setattr(index, "CHUNK_RUNS", 4)
    run_state_machine_as_test(
        Arrays,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
