"""A Folder is a sorted mapping of names; slashes make folders within; additions merge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from hypothesis import given
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError

from tests.storage.arrays.conftest import open_folder
from wendelin import Folder, ZBigArray
from wendelin.storage import folder as module


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Two connections to one database."""
    db = open_folder(tmp_path / "db")
    managers = [transaction.TransactionManager() for _ in range(2)]
    yield tuple(db.open(manager) for manager in managers)
    for manager in managers:
        manager.abort()
    db.close()


def test_the_root_of_a_new_database_is_a_folder(pair):
    assert type(pair[0].root()) is Folder
    assert len(pair[0].root()) == 0
    assert repr(pair[0].root()) == "<Folder: nothing>"


def test_slashes_make_folders():
    root = Folder()
    root["plants/4/power"] = 1
    root["plants/4/wind"] = 2
    root["plants/10"] = 3
    assert list(root) == ["plants"]
    assert list(root["plants"]) == ["10", "4"]
    assert root["plants"]["4"]["power"] == root["plants/4"]["power"] == root["plants/4/power"] == 1
    assert "plants/4" in root
    assert "plants/5" not in root
    assert "plants/10/x" not in root
    assert 7 not in root  # type: ignore[comparison-overlap]
    assert dict(root.walk()) == {"plants/10": 3, "plants/4/power": 1, "plants/4/wind": 2}
    del root["plants/4/power"]
    assert list(root["plants/4"]) == ["wind"]
    assert root.get("plants/4/power", "none") == "none"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", ".", "a/../b"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="single slashes"):
        Folder()[name] = 1


def test_missing_names_say_what_there_is():
    root = Folder()
    root["wind"] = 1
    with pytest.raises(KeyError, match="'solar' is not in this folder, which holds 'wind'"):
        root["solar"]
    with pytest.raises(KeyError, match="'wind' is int, not a folder"):
        root["wind/speed"]
    with pytest.raises(KeyError, match="not a folder"):
        root["wind/speed"] = 1
    with pytest.raises(KeyError, match="is not in this folder"):
        del root["solar"]
    with pytest.raises(TypeError, match="strings"):
        root[3] = 1  # type: ignore[index]
    with pytest.raises(KeyError, match="not a folder"):
        root.folder("wind")


@given(st.lists(st.tuples(st.sampled_from("asd"), st.text("xyz", min_size=1, max_size=3))))
def test_behaves_like_a_dict_whatever_moves_to_the_tree(steps):
    root, model = Folder(), dict[str, int]()
    module_limit, module.RECENT_NAMES = module.RECENT_NAMES, 3
    try:
        for step, (action, name) in enumerate(steps):
            if action == "d" and name in model:
                del root[name], model[name]
            elif action != "d":
                root[name] = model[name] = step
            assert dict(root.items()) == model
            assert list(root) == sorted(model)
            assert len(root) == len(model)
            assert list(root.names(name[0])) == sorted(n for n in model if n.startswith(name[0]))
    finally:
        module.RECENT_NAMES = module_limit


def test_additions_and_deletions_of_different_names_merge(pair):
    a, b = (connection.root() for connection in pair)
    a["old/x"], a["old/y"], a["gone"] = 1, 2, PersistentMapping()
    pair[0].transaction_manager.commit()
    pair[1].transaction_manager.begin()
    a["old/a"], a["left"] = ZBigArray((3,)), PersistentMapping()
    del a["gone"]
    b["old/b"], b["right"] = ZBigArray((3,)), PersistentMapping()
    del b["old/x"]
    for connection in pair:
        connection.transaction_manager.commit()
    for connection in pair:
        connection.transaction_manager.begin()
        assert list(connection.root()) == ["left", "old", "right"]
        assert list(connection.root()["old"]) == ["a", "b", "y"]


@pytest.mark.parametrize("second", ["set", "delete"])
def test_the_same_name_conflicts(pair, second):
    a, b = (connection.root() for connection in pair)
    a["x"] = 0
    pair[0].transaction_manager.commit()
    pair[1].transaction_manager.begin()
    a["x"] = 1
    if second == "set":
        b["x"] = 2
    else:
        del b["x"]
    pair[0].transaction_manager.commit()
    with pytest.raises(ConflictError):
        pair[1].transaction_manager.commit()
    pair[1].transaction_manager.abort()
    assert b["x"] == 1


def test_the_same_new_subfolder_conflicts_and_a_retry_succeeds(pair):
    a, b = (connection.root() for connection in pair)
    a["sub/a"] = 1
    b["sub/b"] = 2
    pair[0].transaction_manager.commit()
    with pytest.raises(ConflictError):
        pair[1].transaction_manager.commit()
    pair[1].transaction_manager.abort()
    b["sub/b"] = 2
    pair[1].transaction_manager.commit()
    assert list(b["sub"]) == ["a", "b"]


def test_adding_while_another_reorganises_conflicts_rather_than_losing(pair, monkeypatch):
    monkeypatch.setattr(module, "RECENT_NAMES", 4)
    a, b = (connection.root() for connection in pair)
    for k in range(4):
        a[f"n{k}"] = k
    pair[0].transaction_manager.commit()
    pair[1].transaction_manager.begin()
    monkeypatch.setattr(module, "RECENT_NAMES", 100)
    b["b"] = 1
    monkeypatch.setattr(module, "RECENT_NAMES", 4)
    a["a"] = 1  # moves the four into the tree
    pair[0].transaction_manager.commit()
    with pytest.raises(ConflictError):
        pair[1].transaction_manager.commit()
    pair[1].transaction_manager.abort()
    b["b"] = 1
    pair[1].transaction_manager.commit()
    assert list(b) == ["a", "b", "n0", "n1", "n2", "n3"]


def test_many_names_load_little(pair):
    a, b = pair
    folder = a.root().folder("many")
    for k in range(20_000):
        folder[f"{k:06}"] = k
    a.transaction_manager.commit()
    b.transaction_manager.begin()
    loads = b.getTransferCounts(clear=True)[0]
    found = b.root()["many"]
    assert found["012345"] == 12345
    assert next(found.names("0199")) == "019900"
    assert "0" in repr(found)
    assert b.getTransferCounts()[0] - loads < 30


def test_reprs_are_short_and_escaped():
    root = Folder()
    for k in range(30):
        root[f"{k:02}"] = ZBigArray((k,), "f4")
    root["00<b>"] = "<i>" * 100
    assert repr(root).endswith(", …>")
    page = root._repr_html_()
    assert "00&lt;b&gt;" in page
    assert "<i>" not in page
    assert root._ipython_key_completions_()[:2] == ["00", "00<b>"]


def test_another_root_stays_as_it_is(tmp_path):
    import ZODB.FileStorage

    from wendelin.storage.database.connection import DB

    path = str(tmp_path / "old.fs")
    old = ZODB.DB(ZODB.FileStorage.FileStorage(path))
    manager = transaction.TransactionManager()
    old.open(manager).root()["x"] = 1
    manager.commit()
    old.close()
    again = DB(ZODB.FileStorage.FileStorage(path))
    root = again.open(manager).root()
    assert type(root).__name__ == "PersistentMapping"
    assert root["x"] == 1
    manager.abort()
    again.close()
