"""Whatever is created, related, deleted, committed and taken back: pointers, names and the catalogue agree."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
import transaction
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from ZODB.DemoStorage import DemoStorage

from wendelin.storage.database.connection import DB
from wendelin.storage.errors import FieldError, RelatedError
from wendelin.storage.ubm.entities import entities

#: Relations of each rule, to one and to many.
_RELATIONS = {
    "organisation": [("parent", "organisation")],
    "plant": [("owner", "organisation"), ("parent", "plant")],
    "device": [("asset", "plant")],
    "sensor": [("asset", "plant"), ("device", "device")],
    "device_configuration": [("device", "device"), ("owner", "organisation")],
    "document": [("about", "plant"), ("about", "device_configuration"), ("about", "document")],
}

_index = st.integers(0, 1000)


class Machine(RuleBasedStateMachine):
    """The model is what one reads from the entities themselves; what is derived must agree with it."""

    def __init__(self) -> None:
        super().__init__()
        self.db = DB(DemoStorage())
        self.manager = transaction.TransactionManager()
        self.connection = self.db.open(self.manager)
        self.ubm: Any = entities(self.connection)
        self.manager.commit()
        self.savepoints: list[Any] = []

    def _any(self, kind: str, index: int) -> Any:
        found = sorted((each for each in self.ubm if each.type == kind), key=lambda each: str(each.reference))
        return found[index % len(found)] if found else None

    @rule(kind=st.sampled_from(sorted(_RELATIONS)), given=st.booleans(), number=_index)
    def create(self, kind: str, given: bool, number: int) -> None:
        name = f"{kind}{number}"
        self.ubm.create(kind, name if given and name not in self.ubm else None, title=f"title {number}")

    @rule(kind=st.sampled_from(sorted(_RELATIONS)), source=_index, choice=_index, picked=st.lists(_index, max_size=3))
    def relate(self, kind: str, source: int, choice: int, picked: list[int]) -> None:
        entity = self._any(kind, source)
        if entity is None:
            return
        name, target_kind = _RELATIONS[kind][choice % len(_RELATIONS[kind])]
        found = [self._any(target_kind, target) for target in picked]
        found = [each for each in found if each is not None]
        value = found if entity.relations[name].many else next(iter(found), None)
        if entity.relations[name].acyclic and value is not None and entity.uid in self._above(value, name):
            with pytest.raises(FieldError, match="its own"):
                setattr(entity, name, value)
        else:
            setattr(entity, name, value)

    def _above(self, entity: Any, name: str) -> set[str]:
        """The uids of an entity and of all that it points to by `name`, and those point to."""
        return {entity.uid}.union(*(self._above(self.ubm[each], name) for each in entity.related(name)))

    @rule(kind=st.sampled_from(sorted(_RELATIONS)), which=_index)
    def delete(self, kind: str, which: int) -> None:
        entity = self._any(kind, which)
        if entity is None:
            return
        expected = self._doomed(entity)
        try:
            gone = {each.uid for each in self.ubm.delete(entity)}
        except RelatedError:
            assert expected is None
        else:
            assert gone == expected

    def _doomed(self, entity: Any) -> set[str] | None:
        """The uids that go with an entity, by the rules; None when one refuses."""
        doomed, refused = {entity.uid}, True
        while refused:
            more = {each.uid for each, _, target, rule in self._pointers() if rule == "cascade" and target in doomed}
            refused = not more <= doomed
            doomed |= more
        others = [rule for each, _, target, rule in self._pointers() if target in doomed and each.uid not in doomed]
        return None if "refuse" in others else doomed

    def _pointers(self) -> list[tuple[Any, str, str, str]]:
        return [
            (each, name, target, relation.on_delete)
            for each in self.ubm
            for name, relation in each.relations.items()
            for target in each.related(name)
        ]

    @rule(which=_index)
    def retitle(self, which: int) -> None:
        entity = self._any("plant", which)
        if entity is not None:
            entity.title = f"new {which}"

    @rule()
    def search(self) -> None:
        assert {each.uid for each in self.ubm.search(type="plant")} == {e.uid for e in self.ubm if e.type == "plant"}

    @rule()
    def commit(self) -> None:
        self.manager.commit()
        self.savepoints.clear()
        self.all_agrees()

    @rule()
    def abort(self) -> None:
        self.manager.abort()
        self.savepoints.clear()

    @rule()
    def save(self) -> None:
        self.savepoints.append(self.manager.savepoint())

    @precondition(lambda self: self.savepoints)
    @rule()
    def roll_back(self) -> None:
        self.savepoints.pop().rollback()

    @rule()
    def all_agrees(self) -> None:
        there = {each.uid: each for each in self.ubm}
        counted = dict.fromkeys(there, 0)
        for _, _, target, _ in self._pointers():
            counted[target] += 1  # KeyError: it points to nothing
        assert counted == {uid: each.pointers for uid, each in there.items()}
        for each in there.values():
            assert self.ubm[each.reference] is each
        rows = {row["uid"]: row for row in self.ubm.rows()}
        assert rows.keys() == there.keys()
        for uid, each in there.items():
            assert (rows[uid]["title"], rows[uid]["state"]) == (each.title, each.state)
            for name in each.relations:
                for target in each.related(name):
                    assert uid in {row["uid"] for row in self.ubm.rows(relation={name: target})}

    def teardown(self) -> None:
        self.manager.abort()
        self.connection.close()
        self.db.close()


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
