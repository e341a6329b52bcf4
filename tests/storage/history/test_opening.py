"""`wendelin.connect(url, at=…)`; see also the contract that all storages keep (storage/testing/times.py)."""

from __future__ import annotations

import contextlib
import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.POSException import POSKeyError, ReadOnlyError
from ZODB.utils import p64, u64

import wendelin
from tests.storage.database.children import children
from tests.storage.history.conftest import commit
from wendelin.storage.database.connection import DB
from wendelin.storage.database.urls import parse
from wendelin.storage.errors import MomentError, NoHistoryError, PastIsReadOnlyError, StateGoneError
from wendelin.storage.history.opening import open_at


def test_many_states_are_open_at_once_and_return_to_the_pool(url: str, conn: Any, root: Any) -> None:
    root["a"] = wendelin.ZBigArray((1000,), "i8")
    states, opened = [], []
    for value in range(40):
        root["a"][:] = value
        states.append(commit(conn))
    for _ in range(2):
        opened = [wendelin.connect(url, at=info) for info in states for _ in range(2)]
        views = [each.root()["a"][:] for each in opened]
        assert [int(view[7]) for view in views] == [value for value in range(40) for _ in range(2)]
        for each in opened:
            each.close()
        assert [int(view[-1]) for view in views] == [value for value in range(40) for _ in range(2)]  # views outlive it
    assert conn.db().connections == 1
    assert conn.db().board.held() == [conn.db().board.held()[0]]  # only this connection's own
    again = wendelin.connect(url, at=states[0])
    assert any(again is each for each in opened)
    again.close()


def test_nothing_is_copied(url: str, conn: Any, root: Any, tmp_path: Path) -> None:
    """The past maps the very files of its commit."""
    root["a"] = wendelin.ZBigArray((1 << 20,), "i8")
    root["a"][:] = 1
    first = commit(conn)
    root["a"][:] = 2
    commit(conn)
    (blob,) = root["a"].extents.segments.values()
    old = wendelin.connect(url, at=first)
    view = old.root()["a"][:]
    assert view[12345] == 1
    maps = Path("/proc/self/maps").read_text()
    (earlier,) = old.root()["a"].extents.segments.values()
    assert earlier.committed() in maps
    assert blob.committed() != earlier.committed()
    assert view.base is not None
    old.close()


def test_the_past_is_refused_to_whoever_would_change_it(url: str, conn: Any, root: Any) -> None:
    """At the change itself, and nothing of it shows; also to those who would open a view or commit."""
    root["a"] = wendelin.ZBigArray((10,), "i8")
    root["f/x"] = 1
    first = commit(conn)
    manager = transaction.TransactionManager()
    old = wendelin.connect(url, at=first, transaction_manager=manager)
    place = old.root()
    for change in (
        lambda: place.__setitem__("b", 1),
        lambda: place.__delitem__("a"),
        lambda: place.__setitem__("f/y", 1),
        lambda: setattr(place["f"], "anything", 1),
        lambda: old.tag("name"),
    ):
        with pytest.raises(PastIsReadOnlyError, match=r"cannot be changed: change it in the latest one"):
            change()
    assert list(place) == ["a", "f"]
    assert list(place["f"]) == ["x"]
    view = place["a"][:]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    for change in (lambda: place["a"].append([1]), lambda: place["a"].resize((5,))):
        with pytest.raises(ValueError, match="read-only"):
            change()
    with pytest.raises(ReadOnlyError):
        old.add(wendelin.ZBigArray((10,), "i8"))
    manager.abort()
    assert old.isReadOnly()
    assert old.read_only
    old.close()
    assert list(root) == ["a", "f"]


def test_states_before_between_and_behind(url: str, conn: Any, root: Any) -> None:
    root["n"] = 1
    first = commit(conn)
    root["n"] = 2
    second = commit(conn)
    between = p64((u64(first.tid) + u64(second.tid)) // 2)
    for at, wanted in ((first, 1), (between, 1), (second, 2), (second.time.isoformat(), 2)):
        with contextlib.closing(wendelin.connect(url, at=at)) as old:
            assert old.root()["n"] == wanted
    for at in (p64(u64(second.tid) + 1), "2999-01-01T00:00Z", 1, "1970-01-01T00:00Z"):
        with pytest.raises(StateGoneError, match=r"this database has the states from 20.* to now"):
            wendelin.connect(url, at=at)
    with pytest.raises(MomentError, match=r"'nonsense' is neither a time nor a transaction.*tags: none"):
        wendelin.connect(url, at="nonsense")
    assert conn.db().connections == 1


def test_a_database_that_nobody_has_open_opens_for_the_past_and_closes_with_it(url: str, conn: Any, root: Any) -> None:
    """Also when another process has written to it since; `file://` sees that in the file."""
    root["n"] = 1
    first = commit(conn)
    conn.tag("one")
    commit(conn)
    conn.close()
    old = wendelin.connect(url, at=first)
    assert old.root()["n"] == 1
    with children() as (child,):
        child.do(
            f"import transaction, wendelin; c = wendelin.connect({url!r}); c.root()['n'] = 2; transaction.commit();"
            "tid = wendelin.history(c, 1)[0].tid.hex(); c.close()"
        )
        second = child.do("", "tid")
    newer = wendelin.connect(url, at=second)
    tagged = wendelin.connect(url, at="one")
    assert (old.root()["n"], newer.root()["n"], tagged.root()["n"]) == (1, 2, 1)
    for each in (old, newer, tagged):
        each.close()
    assert newer.db().connections == 0


def test_a_storage_that_keeps_no_history_says_so(tmp_path: Path) -> None:
    pytest.importorskip("relstorage")
    from relstorage.adapters.sqlite.adapter import Sqlite3Adapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage

    options = Options(keep_history=False, blob_dir=str(tmp_path / "blobs"), shared_blob_dir=True)
    db = DB(RelStorage(Sqlite3Adapter(str(tmp_path / "sql"), {}, options=options), options=options))
    with pytest.raises(NoHistoryError, match="keeps no history, only its latest state"):
        open_at(db, "2026-01-01T00:00Z")
    with contextlib.closing(db.open(transaction.TransactionManager())) as connection:
        connection.root()["n"] = 1
        connection.transaction_manager.commit()
        with pytest.raises(NoHistoryError, match="cannot undo"):
            wendelin.undo(connection, db.lastTransaction())
    db.close()


def test_what_was_packed_behind_the_back_is_told(url: str, conn: Any, root: Any) -> None:
    """By a tool of ZODB that asks nobody: an object of the past that is gone says so, an error of ours and theirs."""
    root["f"] = wendelin.Folder()
    root["f/n"] = 1
    first = commit(conn)
    root["f/n"] = 2
    commit(conn)
    old = wendelin.connect(url, at=first)
    storage = conn.db().storage
    storage.pack(time.time(), conn.db().references)
    old.cacheMinimize()
    gc.collect()
    with pytest.raises(StateGoneError, match=r"was packed away.*a tag, conn.tag\(name\), keeps a state") as caught:
        old.root()["f"]["n"]
    assert isinstance(caught.value, POSKeyError)
    old.close()
    with pytest.raises(StateGoneError, match="was packed away"):
        wendelin.connect(url, at=first)


def test_urls_are_shared_with_those_who_write(url: str, conn: Any, root: Any) -> None:
    root["n"] = 1
    first = commit(conn)
    old = wendelin.connect(url, at=first)
    assert old.db() is conn.db()
    assert old.url == conn.url == parse(url).url
    assert np.array_equal(list(old.root()), ["n"])
    old.close()
