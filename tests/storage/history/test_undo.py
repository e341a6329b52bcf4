"""`wendelin.history` and `wendelin.undo`."""

from __future__ import annotations

from typing import Any

import pytest
from ZODB.POSException import ReadOnlyError

import wendelin
from tests.storage.history.conftest import commit
from wendelin.storage.errors import MomentError, PastIsReadOnlyError, StateGoneError, UndoRefusedError
from wendelin.storage.history.packing import pack
from wendelin.storage.ubm.catalogue.folding import fold


def test_transactions_are_listed(url: str, conn: Any, root: Any) -> None:
    root["n"] = 1
    commit(conn, "one\nof <two>")
    root["n"] = 2
    last = commit(conn)
    found = wendelin.history(conn)
    assert [info.note for info in found] == ["", "one\nof <two>", "initial database creation"]
    assert found[0] == last
    assert len(wendelin.history(conn, 2)) == 2
    assert "one · of <two>" in repr(found)
    assert "one · of &lt;two&gt;" in found._repr_html_()
    old = wendelin.connect(url, at=found[1])
    assert wendelin.history(old, 1) == found[:1]
    with pytest.raises(PastIsReadOnlyError, match="undo it in the latest state"):
        wendelin.undo(old, found[0])
    old.close()
    reader = wendelin.connect(url, read_only=True)
    assert [(info.tid, info.note) for info in wendelin.history(reader)] == [(info.tid, info.note) for info in found]
    with pytest.raises(ReadOnlyError):
        wendelin.undo(reader, found[0])
    reader.close()


def test_an_undo_is_a_transaction(conn: Any, root: Any) -> None:
    root["a"] = array = wendelin.ZBigArray((1000,), "f8")
    commit(conn)
    array[:] = 1
    changed = commit(conn)
    done = wendelin.undo(conn, changed.tid.hex(), "not meant")
    assert done.note == "not meant"
    conn.transaction_manager.begin()
    assert (array[:] == 0).all()
    wendelin.undo(conn, done)
    conn.transaction_manager.begin()
    assert (array[:] == 1).all()


def test_values_show_as_before_an_undo_that_comes_between(conn: Any, root: Any) -> None:
    """The second of two tiny commits is undone before the array was asked for anything again."""
    root["a"] = array = wendelin.ZBigArray((1000,), "f8")
    array[:] = 7
    commit(conn)
    array[0] = 1
    conn.transaction_manager.commit()
    array[0] = 2
    conn.transaction_manager.commit()
    wendelin.undo(conn, wendelin.history(conn, 1)[0])
    conn.transaction_manager.begin()
    assert (array[0], array[1]) == (1, 7)
    array[1] = 3
    commit(conn)
    conn.cacheMinimize()
    assert array[:3].tolist() == [1, 3, 7]


def test_a_refused_undo_changes_nothing_and_names_what_is_in_the_way(conn: Any, root: Any) -> None:
    root["plants/4"] = array = wendelin.ZBigArray((1000,), "f8")
    root["x/n"] = 0
    commit(conn)
    array[:] = 1
    root["x/n"] = 1
    first = commit(conn, "first")
    array[5] = 2
    conn.transaction_manager.get().setUser("ada")
    second = commit(conn, "second")
    root["x/n"] = 2
    third = commit(conn, "third")
    with pytest.raises(UndoRefusedError) as caught:
        wendelin.undo(conn, first)
    said = str(caught.value)
    for word in (first.tid.hex(), second.tid.hex(), third.tid.hex(), "by ada, 'second', which changed 'plants/4'"):
        assert word in said
    assert said.index("'third'") < said.index("'second'")
    assert wendelin.history(conn, 1)[0] == third
    assert (array[5], array[6], root["x/n"]) == (2, 1, 2)


def test_what_is_no_transaction(conn: Any, root: Any) -> None:
    root["n"] = 1
    first = commit(conn)
    root["n"] = 2
    commit(conn)
    with pytest.raises(MomentError, match="is no transaction"):
        wendelin.undo(conn, first.time)
    with pytest.raises(StateGoneError, match="no transaction 0000000000000005"):
        wendelin.undo(conn, 5)
    pack(conn.db())
    with pytest.raises(StateGoneError, match="or it was packed away"):
        wendelin.undo(conn, first)


def test_an_entity_is_taken_back_although_its_rows_have_moved_in_the_catalogue(conn: Any) -> None:
    ubm = wendelin.entities(conn)
    plant, acme = ubm.create("plant", "PLANT-4", title="Roof"), ubm.create("organisation", "ACME")
    commit(conn)
    plant.set(title="Field", owner=acme)
    renamed = commit(conn)
    ubm.create("plant", "PLANT-5", owner=acme)
    made = commit(conn)
    ubm.delete("PLANT-5")
    deleted = commit(conn)
    fold(conn.db(), ubm.catalogue._p_oid, all_rows=True)
    conn.transaction_manager.begin()
    assert not ubm.catalogue.recent()
    back = wendelin.undo(conn, deleted, "it is still there")
    assert back.note == "it is still there"
    conn.transaction_manager.begin()
    assert (ubm["PLANT-5"].owner, acme.pointers) == (acme, 2)
    wendelin.undo(conn, renamed)
    conn.transaction_manager.begin()
    assert (plant.title, plant.owner, acme.pointers) == ("Roof", None, 1)
    assert [each.reference for each in ubm.search(text="roof")] == ["PLANT-4"]
    assert ubm.search(text="field").total == 0
    assert [each.reference for each in ubm.search(relation={"owner": acme})] == ["PLANT-5"]
    wendelin.undo(conn, back)
    conn.transaction_manager.begin()
    assert ("PLANT-5" in ubm, ubm.search(type="plant").total, acme.pointers) == (False, 1, 0)
    wendelin.undo(conn, wendelin.history(conn, 1)[0])
    conn.transaction_manager.begin()
    assert "PLANT-5" in ubm
    wendelin.undo(conn, made)  # nothing of it has changed, after all
    conn.transaction_manager.begin()
    assert ("PLANT-5" in ubm, ubm.search(type="plant").total, acme.pointers) == (False, 1, 0)


def test_what_others_point_to_or_have_changed_since_is_not_taken_back(conn: Any) -> None:
    ubm = wendelin.entities(conn)
    commit(conn)
    plant = ubm.create("plant", "PLANT-4", title="Roof")
    made = commit(conn)
    ubm.create("sensor", asset=plant)
    commit(conn)
    plant.title = "Garden"
    renamed = commit(conn)
    plant.title = "Barn"
    commit(conn)
    fold(conn.db(), ubm.catalogue._p_oid, all_rows=True)
    for info in (renamed, made):
        with pytest.raises(UndoRefusedError):
            wendelin.undo(conn, info)
    conn.transaction_manager.begin()
    assert [each.title for each in ubm.search(type="plant")] == ["Barn"]
