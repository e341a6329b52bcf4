"""Names of all entities: like a dict, and merged whatever two transactions add."""

from __future__ import annotations

from typing import Any

import pytest
import transaction
from hypothesis import given
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB.DemoStorage import DemoStorage
from ZODB.POSException import ConflictError

from wendelin.storage.database.connection import DB
from wendelin.storage.ubm import names
from wendelin.storage.ubm.names import NameTable


@pytest.fixture(autouse=True)
def small_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NODE_NAMES", 3)


class Two:
    """Two connections to one database, each with a table."""

    def __init__(self, *, strict: bool = False) -> None:
        self.db = DB(DemoStorage())
        self.managers = [transaction.TransactionManager() for _ in range(2)]
        self.connections = [self.db.open(manager) for manager in self.managers]
        self.connections[0].root()["table"] = NameTable(strict=strict)
        self.managers[0].commit()
        self.begin()

    def begin(self) -> None:
        for manager in self.managers:
            manager.begin()

    @property
    def tables(self) -> list[NameTable]:
        return [connection.root()["table"] for connection in self.connections]

    def close(self) -> None:
        for manager, connection in zip(self.managers, self.connections, strict=True):
            manager.abort()
            connection.close()
        self.db.close()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40).map(str))))
def test_it_behaves_like_a_dict(steps):
    table, model = NameTable(), dict[str, int]()
    for number, (add, name) in enumerate(steps):
        if add and name not in model:
            table.add(name, number)
            model[name] = number
        elif not add and name in model:
            table.remove(name)
            del model[name]
        assert dict(table.items()) == model
        assert len(table) == len(model)
        assert all(table.get(name) == value and name in table for name, value in model.items())
    assert table.get("none") is None
    with pytest.raises(KeyError):
        table.remove("none")


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 8), st.booleans()), max_size=12))
def test_additions_and_removals_of_different_names_merge(rounds):
    """Both transactions begin before either commits, in each round; nothing is lost and nothing conflicts."""
    two, model, number = Two(), set[str](), 0
    for first, count, remove in rounds:
        two.begin()
        gone = sorted(model)[:2] if remove else []
        for table, mine in zip(two.tables, (gone[:1], gone[1:]), strict=True):
            for name in mine:
                table.remove(name)
                model.discard(name)
            for _ in range(count):
                number += 1
                table.add(f"n{number}", PersistentMapping())
                model.add(f"n{number}")
        two.managers[first].commit()
        two.managers[1 - first].commit()
        two.begin()
        for table in two.tables:
            assert set(table) == model
            assert sum(1 for _ in table.items()) == len(model), "a name is there twice"
    two.close()


@pytest.mark.parametrize("before", range(12))
def test_the_same_name_conflicts_in_a_strict_table_wherever_it_would_lie(before):
    two = Two(strict=True)
    for number in range(before):
        two.tables[0].add(f"old{number}", PersistentMapping())
    two.managers[0].commit()
    two.begin()
    for table in two.tables:
        table.add("same", PersistentMapping())
    two.managers[0].commit()
    with pytest.raises(ConflictError):
        two.managers[1].commit()
    two.close()


@given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 30).map(str)), max_size=60))
def test_a_strict_table_never_has_a_name_twice(steps):
    """Transactions of any length overlap; one that would add what another one has added conflicts or sees it."""
    two = Two(strict=True)
    tables: list[Any] = two.tables
    for who, commits, name in steps:
        if name not in tables[who]:
            tables[who].add(name, PersistentMapping())
        if commits:
            try:
                two.managers[who].commit()
            except ConflictError:
                two.managers[who].abort()
            two.managers[who].begin()
    for manager in two.managers:
        manager.abort()
    two.begin()
    found = [name for name, _ in two.tables[0].items()]
    assert len(found) == len(set(found))
    two.close()
