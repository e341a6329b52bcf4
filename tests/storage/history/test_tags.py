"""Tags, and packing that keeps exactly what they hold."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.utils import load_current

import wendelin
from tests.storage.history.conftest import commit
from wendelin.storage.errors import MomentError, PastIsReadOnlyError, StateGoneError, TagError, UncommittedChangesError
from wendelin.storage.history.packing import pack


@contextlib.contextmanager
def at(url: str, moment: Any) -> Any:
    connection = wendelin.connect(url, at=moment, transaction_manager=transaction.TransactionManager())
    try:
        yield connection.root()
    finally:
        connection.close()


def blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "db" / "blobs").rglob("*.blob"))


def test_packing_keeps_the_bytes_of_a_tagged_array_and_no_others(
    url: str, conn: Any, root: Any, tmp_path: Path
) -> None:
    """Of two arrays with a bulk, patches, appended rows and a fold, written over and deleted since."""
    wanted: dict[str, Any] = {}
    then: dict[str, set[str]] = {}
    for name in ("kept", "lost"):
        root[name] = array = wendelin.ZBigArray((1 << 16, 4), [("t", "i8"), ("v", "f8")], blksize=1 << 16)
        array[:]["v"] = np.random.default_rng(1).random((1 << 16, 4))
        commit(conn)
        for step in range(80):
            array[step * 700, 1] = (step, step)
            commit(conn)
        array.append(np.ones((3000, 4), array.dtype))
        commit(conn)
        wanted[name], then[name] = array[:].copy(), named(conn, array)
    conn.tag("v1", root["kept"], "as delivered")
    before = commit(conn)
    root["kept"][:] = np.zeros((), root["kept"].dtype)
    commit(conn)
    root["kept"][:]["t"] = 7
    del root["lost"]
    commit(conn)
    files = len(blobs(tmp_path))
    conn.cacheMinimize()
    done = pack(conn.db())
    assert done.holds == []
    assert done.before is not None
    assert done.after is not None
    assert done.before > done.after
    with at(url, "v1") as old:
        assert list(old) == ["kept"]
        found = old["kept"]
        assert found[:].tobytes() == wanted["kept"].tobytes()
        held, live = named(conn, found), named(conn, root["kept"])
        assert held == then["kept"]
        assert {str(path) for path in blobs(tmp_path)} == held | live
        assert not then["lost"] & (held | live)
        assert len(held | live) < files
    with pytest.raises(StateGoneError, match="was packed away"):
        wendelin.connect(url, at=before)
    conn.untag("v1")
    commit(conn)
    pack(conn.db())
    assert {str(path) for path in blobs(tmp_path)} == live
    assert (root["kept"][:]["t"] == 7).all()


def named(conn: Any, array: Any) -> set[str]:
    """The files of the blobs that an array's record leads to."""
    todo, seen, out = [array._p_oid], set(), set()
    while todo:
        oid = todo.pop()
        if oid not in seen:
            seen.add(oid)
            obj = conn.get(oid)
            if isinstance(obj, Blob):
                out.add(obj.committed())
            todo += conn.db().references(load_current(conn.db().storage, oid)[0])
    return out


def test_a_tagged_folder_keeps_what_lies_in_it(url: str, conn: Any, root: Any) -> None:
    """Arrays in folders within, plain values, other persistent objects, and blobs of a program's own, once each."""
    root["plants/4/power"] = power = wendelin.ZBigArray((1000,), "f8")
    power[:] = 1
    root["plants/4/info"] = info = PersistentMapping(unit="kW", power=power)
    root["plants/log"] = log = Blob(b"first")
    for number in range(300):
        root[f"plants/many/{number:03}"] = number
    root["elsewhere"] = wendelin.ZBigArray((1000,), "f8")
    commit(conn)
    tag = conn.tag("v1", "plants")
    assert tag.tid is None
    assert "not committed yet" in repr(tag)
    commit(conn)
    power[:] = 2
    info["unit"] = "MW"
    with log.open("w") as file:
        file.write(b"second")
    root["plants/many/007"] = None
    del root["plants/4/info"]
    commit(conn)
    pack(conn.db())
    with at(url, "v1") as old:
        assert list(old) == ["plants"]
        assert list(old["plants"]) == ["4", "log", "many"]
        assert (old["plants/4/power"][:] == 1).all()
        assert old["plants/4/info"]["unit"] == "kW"
        assert old["plants/4/info"]["power"] is old["plants/4/power"]
        with old["plants/log"].open("r") as file:
            assert file.read() == b"first"
        assert len(old["plants/many"]) == 300
        assert old["plants/many/007"] == 7
        with pytest.raises(PastIsReadOnlyError):
            old["plants/4"]["new"] = 1
    assert power.diff("v1").rows == [(0, 1000)]
    assert (power[:] == 2).all()


def test_a_tag_on_the_database_names_the_state_with_its_own_transaction(url: str, conn: Any, root: Any) -> None:
    root["a"] = wendelin.ZBigArray((1000,), "f8")
    commit(conn)
    root["a"][:] = 1
    conn.tag("all", note="the lot")
    root["b"] = 1
    commit(conn)
    root["a"][:] = 2
    for _ in range(2):
        commit(conn)
        done = pack(conn.db())
        assert "the tag 'all' on the database" in repr(done)
        with at(url, "all") as old:
            assert (old["a"][:] == 1).all()
            assert old["b"] == 1
        root["a"][:] = 3
    (tag,) = conn.tags()
    assert (tag.name, tag.note, tag.path, tag.content) == ("all", "the lot", "", None)
    with at(url, tag) as old:
        assert (old["a"][:] == 1).all()
    conn.transaction_manager.abort()
    conn.untag("all")
    commit(conn)
    assert conn.tags() == []
    assert pack(conn.db()).holds == []
    with pytest.raises(MomentError):
        wendelin.connect(url, at="all")


def test_tags_of_concurrent_transactions_merge(url: str, conn: Any, root: Any) -> None:
    conn.tag("first")
    commit(conn)
    manager = transaction.TransactionManager()
    other = wendelin.connect(url, transaction_manager=manager)
    conn.tag("mine")
    other.tag("theirs")
    manager.commit()
    commit(conn)
    assert [tag.name for tag in conn.tags()] == ["first", "mine", "theirs"]
    other.close()


def test_what_cannot_be_tagged(conn: Any, root: Any) -> None:
    root["a"] = array = wendelin.ZBigArray((1000,), "f8")
    with pytest.raises(UncommittedChangesError, match=r"transaction.commit\(\) first"):
        conn.tag("v1", array)
    commit(conn)
    array[5] = 1
    with pytest.raises(UncommittedChangesError, match=r"transaction.commit\(\) first"):
        conn.tag("v1", array)
    commit(conn)
    root["f/n"] = 1
    with pytest.raises(UncommittedChangesError, match=r"transaction.commit\(\) first"):
        conn.tag("v1", "f")
    commit(conn)
    for name in ("2026-01-01", array.history()[0].tid.hex()):
        with pytest.raises(TagError, match="would be taken for a time or a transaction"):
            conn.tag(name)
    wrong: list[Any] = ["", " x", "a/b", "..", None, 5]
    for each in wrong:
        with pytest.raises(TagError, match="no name for a tag"):
            conn.tag(each)
    with pytest.raises(KeyError, match="'nothing' is not in this folder"):
        conn.tag("v1", "nothing")
    with pytest.raises(TagError, match="refers to Folder of the whole database"):
        conn.tag("v1", root)
    conn.tag("v1")
    with pytest.raises(TagError, match="there is a tag 'v1' already"):
        conn.tag("v1")
    with pytest.raises(TagError, match=r"no tag 'v2' \(tags: 'v1'\)"):
        conn.untag("v2")
    conn.transaction_manager.abort()
    root["tags"] = 1
    with pytest.raises(TagError, match=r"root\(\)\['tags'\] is int"):
        conn.tag("v1")


def test_entities_are_tagged_with_the_database_only(conn: Any, root: Any) -> None:
    root["f"] = wendelin.Folder()
    root["f/plant"] = wendelin.entities(conn).create("plant", title="Roof")
    commit(conn)
    with pytest.raises(TagError, match="refers to Entities of the whole database"):
        conn.tag("v1", "f")
