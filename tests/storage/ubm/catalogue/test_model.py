"""The catalogue answers as a plain list of rows does, whatever was committed, taken back, or moved into the trees."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import pytest
import transaction
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError

from tests.storage.ubm.catalogue import model
from wendelin.storage.database.connection import DB
from wendelin.storage.ubm.catalogue import catalogue as module
from wendelin.storage.ubm.catalogue import folding, ordering
from wendelin.storage.ubm.catalogue.catalogue import Catalogue

Rows = dict[str, dict[str, Any]]

ours_or_theirs = st.integers(0, 1)


class Side:
    """A connection with what it must see."""

    def __init__(self, db: Any, rows: Rows) -> None:
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        self.rows, self.base = dict(rows), dict(rows)
        self.touched: dict[str, dict[str, Any] | None] = {}
        self.savepoints: list[tuple[Any, Rows, dict[str, Any]]] = []

    @property
    def catalogue(self) -> Any:
        return self.connection.root()["catalogue"]

    def begin(self, rows: Rows) -> None:
        self.manager.begin()
        self.rows, self.base, self.touched, self.savepoints = dict(rows), dict(rows), {}, []


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "PART_ROWS", 3)
        self.patch.setattr(module, "PARTS", 3)
        self.patch.setattr(ordering, "_STRIDE", 2)
        self.db = DB(DemoStorage())
        self.committed: Rows = {}
        self.sides = [Side(self.db, {})]
        self.sides[0].connection.root()["catalogue"] = Catalogue()
        self.sides[0].manager.commit()
        self.oid = self.sides[0].catalogue._p_oid
        self.sides.append(Side(self.db, {}))

    @initialize(loaded=st.sampled_from([0, 500]))
    def start(self, loaded: int) -> None:
        self.patch.setattr(ordering, "_LOADED", loaded)

    @rule(
        side=ours_or_theirs,
        several=st.dictionaries(model.uids, model.rows, min_size=1, max_size=4),
        then=st.sampled_from(["", "commit", "fold"]),
    )
    def index(self, side: int, several: dict[str, dict[str, Any]], then: str) -> None:
        each = self.sides[side]
        for uid, row in several.items():
            each.catalogue.index(uid, {"uid": uid, **row})
            each.rows[uid] = each.touched[uid] = row
        if then:
            self.commit(side)
        if then == "fold":
            self.fold()
            each.begin(self.committed)

    @rule(side=ours_or_theirs, uid=model.uids)
    def unindex(self, side: int, uid: str) -> None:
        each = self.sides[side]
        each.catalogue.unindex(uid)
        if each.rows.pop(uid, None) is not None:
            each.touched[uid] = None

    @rule(side=ours_or_theirs)
    def commit(self, side: int) -> None:
        """Different entities merge; the same one changed on both sides conflicts, or was changed to the same."""
        each = self.sides[side]
        try:
            each.manager.commit()
        except ConflictError:
            seen, now = each.base, self.committed
            assert any(seen.get(uid) != now.get(uid) for uid in each.touched), "a conflict over nothing"
            each.manager.abort()
        else:
            for uid, row in each.touched.items():
                if row is None:
                    self.committed.pop(uid, None)
                else:
                    self.committed[uid] = row
        each.begin(self.committed)

    @rule(side=ours_or_theirs)
    def abort(self, side: int) -> None:
        self.sides[side].manager.abort()
        self.sides[side].begin(self.committed)

    @rule(side=ours_or_theirs)
    def save(self, side: int) -> None:
        each = self.sides[side]
        each.savepoints.append((each.manager.savepoint(), dict(each.rows), dict(each.touched)))

    @precondition(lambda self: any(side.savepoints for side in self.sides))
    @rule(side=ours_or_theirs)
    def roll_back(self, side: int) -> None:
        each = self.sides[side]
        if each.savepoints:
            savepoint, each.rows, each.touched = each.savepoints.pop()
            savepoint.rollback()

    @rule(side=ours_or_theirs, query=model.queries)
    def search(self, side: int, query: dict[str, Any]) -> None:
        each = self.sides[side]
        expected = sorted(uid for uid, row in each.rows.items() if model.fits(row, query))
        limit, found, page = query.get("limit"), [], None
        while page is None or page.next:
            page = each.catalogue.search(**query, after=page and page.next)
            assert page.total == len(expected)
            found += page.rows
            assert page.next is None or len(page) == (limit or 50)
        assert sorted(row["uid"] for row in found) == expected
        assert found == list(each.catalogue.rows(**{**query, "limit": None}))
        if "sort" in query or "text" not in query:
            assert model.in_order(found, query.get("sort", "reference"))
        for row in found:
            assert {name: row[name] for name in ("type", "state", "title", "start")} == {
                name: each.rows[row["uid"]][name] for name in ("type", "state", "title", "start")
            }

    @rule(side=ours_or_theirs, query=model.queries)
    def count(self, side: int, query: dict[str, Any]) -> None:
        each = self.sides[side]
        fitting = [row for row in each.rows.values() if model.fits(row, query)]
        query = {name: value for name, value in query.items() if name not in ("sort", "limit")}
        assert each.catalogue.counts("type", **query) == Counter(row["type"] for row in fitting)
        assert each.catalogue.counts("role", **query) == Counter(role for row in fitting for role in row["roles"])

    @rule(side=ours_or_theirs, uid=model.uids)
    def refer(self, side: int, uid: str) -> None:
        each = self.sides[side]
        expected = {name for name, row in each.rows.items() if any(uid in uids for uids in row["relations"].values())}
        assert {row["uid"] for row in each.catalogue.referring(uid)} == expected
        assert (uid in each.catalogue) == (uid in each.rows)

    @rule()
    def fold(self) -> None:
        """All that is committed moves into the trees, whatever the sides are about to commit."""
        folding.fold(self.db, self.oid, all_rows=True)

    @rule(side=ours_or_theirs)
    def rebuild(self, side: int) -> None:
        """Everybody starts anew, so that a rebuilding meets nobody; what it meets is tested elsewhere."""
        for each in self.sides:
            each.manager.abort()
            each.begin(self.committed)
        each = self.sides[side]
        each.catalogue.rebuild({"uid": uid, **row} for uid, row in self.committed.items())
        each.manager.commit()
        for each in self.sides:
            each.manager.abort()
            each.begin(self.committed)

    def teardown(self) -> None:
        for side in self.sides:
            side.manager.abort()
            side.connection.close()
        self.db.close()
        self.patch.undo()


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
