"""Several at once: creators and annotators do not conflict, who points to what another one deletes does."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import transaction
from ZODB.POSException import ConflictError

import wendelin
from tests.storage.database.children import children
from tests.storage.database.servers import zeo_server
from wendelin.storage.errors import FieldError, RelatedError


def _begin(other: Any) -> None:
    transaction.begin()
    other._v_manager.begin()


def _commit(other: Any, first: str) -> None:
    """Commit both transactions, this one or the other one first; the second one's ConflictError comes through."""
    managers = [transaction.manager, other._v_manager]
    for manager in managers if first == "ours" else reversed(managers):
        manager.commit()


def _conflicts(other: Any, first: str) -> None:
    with pytest.raises(ConflictError):
        _commit(other, first)
    transaction.abort()
    other._v_manager.abort()
    _begin(other)


both_orders = pytest.mark.parametrize("first", ["ours", "theirs"])


@both_orders
def test_pointing_to_what_another_one_deletes_conflicts_whoever_commits_first(ubm, other, first):
    ubm.create("plant", reference="P")
    transaction.commit()
    _begin(other)
    ubm.create("sensor", reference="S", asset="P")
    other.delete("P")
    _conflicts(other, first)
    assert ("P" in ubm, "S" in ubm) == ((True, True) if first == "ours" else (False, False))
    if first == "theirs":
        with pytest.raises(FieldError, match="no entity"):
            ubm.create("sensor", asset="P")
    else:
        with pytest.raises(RelatedError):
            other.delete("P")


@both_orders
@pytest.mark.parametrize("change", ["title", "do", "note", "attach"])
def test_changing_what_another_one_deletes_conflicts(ubm, other, first, change):
    ubm.create("plant", reference="P")
    transaction.commit()
    _begin(other)
    plant = ubm["P"]
    if change == "title":
        plant.title = "new"
    elif change == "do":
        plant.do("validate")
    elif change == "note":
        plant.note("still there")
    else:
        plant.attach("a", b"a")
    other.delete("P")
    _conflicts(other, first)


@both_orders
def test_what_all_may_do_at_the_same_time_to_one_entity_merges(ubm, other, first):
    """Notes, files and pointers merge with each other and with a change of the entity, also where pages are made."""
    ubm.create("plant", reference="P")
    for number in range(30):
        ubm["P"].note(f"before {number}")
    transaction.commit()
    _begin(other)
    ours, theirs = ubm["P"], other["P"]
    for number in range(10):
        ours.note(f"ours {number}")
        theirs.note(f"theirs {number}")
    ours.attach("ours.txt", b"1")
    theirs.attach("theirs.txt", b"2")
    ours.title = "changed"
    ubm.create("sensor", asset=ours)
    other.create("sensor", asset=theirs)
    other.create("sensor", asset=theirs)
    _commit(other, first)
    _begin(other)
    notes = [entry.why for entry in ours.trail if entry.kind == "note"]
    for who in ("before", "ours", "theirs"):
        count = 30 if who == "before" else 10
        assert [text for text in notes if text.startswith(who)] == [f"{who} {number}" for number in range(count)]
    assert {*ours.files} == {"ours.txt", "theirs.txt"}
    assert ours.pointers == 3
    assert theirs.title == "changed"
    assert len(ubm.search(relation={"asset": ours})) == 3
    both = [connection["P"] for connection in (ubm, other)]
    for number in range(60):  # pages on both sides
        for plant in both:
            plant.note(f"later {number}")
        _commit(other, first)
        _begin(other)
    assert len([entry for entry in ours.trail if entry.why.startswith("later")]) == 120


@both_orders
def test_a_change_of_the_same_entity_conflicts(ubm, other, first):
    ubm.create("plant", reference="P")
    transaction.commit()
    _begin(other)
    ubm["P"].title, other["P"].description = "ours", "theirs"
    _conflicts(other, first)


@both_orders
def test_two_who_relate_at_once_close_no_ring(ubm, other, first):
    for reference in "ABC":
        ubm.create("plant", reference=reference)
    ubm["B"].parent = "C"
    transaction.commit()
    _begin(other)
    ubm["C"].parent = "A"
    other["A"].parent = "B"
    _conflicts(other, first)
    assert ubm["C"].related("parent") != () or ubm["A"].related("parent") != ()
    assert ubm["C"].related("parent") == () or ubm["A"].related("parent") == ()


@both_orders
def test_changes_of_two_entities_and_their_trails_merge(ubm, other, first):
    for reference in "PQ":
        ubm.create("plant", reference=reference)
    transaction.commit()
    _begin(other)
    ubm["P"].title, other["Q"].title = "ours", "theirs"
    other["P"].note("meanwhile")
    _commit(other, first)
    _begin(other)
    assert {entry.kind for entry in ubm["P"].trail} == {"created", "changed", "note"}
    assert ubm["Q"].trail[-1].after == "theirs"


@both_orders
def test_the_same_reference_conflicts(ubm, other, first):
    _begin(other)
    ubm.create("plant", reference="P")
    other.create("plant", reference="P")
    _conflicts(other, first)
    assert len(ubm.search(type="plant")) == 1


@both_orders
def test_a_transition_happens_once(ubm, other, first):
    ubm.create("plant", reference="P")
    transaction.commit()
    _begin(other)
    ubm["P"].do("validate")
    other["P"].do("validate")
    _conflicts(other, first)
    assert [entry.kind for entry in ubm["P"].trail] == ["created", "transition"]


_CREATE = """
import transaction, wendelin
from ZODB.POSException import ConflictError
conn = wendelin.connect({url!r})
ubm = wendelin.entities(conn)
acme = ubm["ACME"]
conflicts = 0
for number in range({count}):
    acme.note("{who} {{}}".format(number))
    ubm.create("sensor", title="{who} {{}}".format(number), owner=acme, unit="W")
    try:
        transaction.commit()
    except ConflictError:
        conflicts += 1
        transaction.abort()
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is started finds neither pydantic nor pint, until the patch is undone."""
    for name in ("pydantic", "pint"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        (tmp_path / "bare" / f"{name}.py").write_text(f"raise ModuleNotFoundError('No {name}')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "bare"))
    return monkeypatch


@pytest.mark.slow
def test_four_processes_create_and_annotate_without_any_conflict(tmp_path: Path, bare: pytest.MonkeyPatch):
    """Each transaction creates a sensor, lets it point to the same organisation, and writes a note there.

    The server, which merges all that, has neither pydantic nor pint.
    """
    with zeo_server(tmp_path / "s", tcp=True) as server:
        bare.delenv("PYTHONPATH")
        _create_with_four(server.url)


def _create_with_four(url: str) -> None:
    with children(4) as processes:
        manager = transaction.TransactionManager()
        connection = wendelin.connect(url, transaction_manager=manager)
        ubm = wendelin.entities(connection)
        ubm.create("organisation", reference="ACME")
        manager.commit()
        for who, child in enumerate(processes):
            child.send(_CREATE.format(url=url, count=250, who=f"p{who}"), "conflicts")
        assert [child.receive() for child in processes] == [0, 0, 0, 0]
        for child in processes:
            child.do("conn.close()")
        manager.begin()
        expected = {f"p{who} {number}" for who, number in itertools.product(range(4), range(250))}
        assert len(ubm) == 1001
        sensors = [entity for entity in ubm if entity.type == "sensor"]
        assert {entity.title for entity in sensors} == expected
        assert len({entity.reference for entity in sensors}) == 1000
        assert ubm["ACME"].pointers == 1000
        assert {entry.why for entry in ubm["ACME"].trail if entry.kind == "note"} == expected
        assert len(list(ubm.catalogue.rows(type="sensor"))) == 1000
        manager.abort()
        connection.close()


@pytest.mark.slow
@both_orders
def test_on_a_server_pointing_to_what_another_one_deletes_conflicts(tmp_path: Path, first: str):
    """The server merges what others point to, and must not merge a pointer with a deletion."""
    with zeo_server(tmp_path / "s", tcp=True) as server:
        stores = []
        for _ in range(3):
            manager = transaction.TransactionManager()
            connection = wendelin.connect(server.url, transaction_manager=manager)
            stores.append((manager, connection, wendelin.entities(connection)))
            if len(stores) == 1:
                stores[0][2].create("plant", reference="P")
            manager.commit()
        for manager, _, _ in stores:
            manager.begin()
        for (_, _, store), name in zip(stores[:2], "AB", strict=True):
            store.create("sensor", reference=name, asset="P")
        stores[2][2].delete("P")
        order = [0, 1, 2] if first == "ours" else [2, 0, 1]
        outcomes = []
        for index in order:
            try:
                stores[index][0].commit()
                outcomes.append("committed")
            except ConflictError:
                stores[index][0].abort()
                outcomes.append("conflict")
        expected = ["committed", "committed", "conflict"] if first == "ours" else ["committed", "conflict", "conflict"]
        assert outcomes == expected
        for manager, connection, _ in stores:
            manager.abort()
            connection.close()
