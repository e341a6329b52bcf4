"""Packing while others work, and what it keeps for them."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.storage.database.children import Child, children
from tests.storage.history.conftest import commit
from wendelin.storage.history.packing import pack
from wendelin.storage.history.snapshots import PREFIX, Board, board, held_in


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "sqlite"])
def test_snapshots_of_other_processes_are_kept(wendelin_home: Path, kind: str) -> None:
    """A past state and a running transaction of a child keep what they have not mapped yet; when it dies, it goes."""
    url = f"{kind}://{wendelin_home}/plant"
    manager = transaction.TransactionManager()
    conn = wendelin.connect(url, transaction_manager=manager)
    conn.root()["a"] = array = wendelin.ZBigArray((1 << 18,), "i8")
    array[:] = 1
    first = commit(conn)
    array[:] = 2
    commit(conn)
    with children(2) as (past, reader):
        past.do(f"import wendelin; c = wendelin.connect({url!r}, at={first.tid.hex()!r}); a = c.root()['a']")
        reader.do(f"import wendelin; c = wendelin.connect({url!r}); a = c.root()['a']; n = len(a)")
        array[:] = 3
        commit(conn)
        done = pack(conn.db())
        assert [hold.tid for hold in done.holds][:1] == [first.tid]
        assert f"process {past.pid}, which looks at the state of" in done.holds[0].why
        assert past.do("", "int(a[:].sum())") == 1 << 18
        past.do("c.close()")
        pack(conn.db())
        assert reader.do("", "int(a[:].sum())") == 2 << 18
        reader.kill_group()
        _wait_for(lambda: pack(conn.db()).holds == [])
        with pytest.raises(wendelin.WendelinError, match="packed away"):
            wendelin.connect(url, at=first)
    conn.close()


def _wait_for(condition: Any) -> None:
    from tests.storage.database.servers import wait_until

    wait_until(condition, "the locks of a killed process")


@pytest.mark.slow
def test_a_pack_while_clients_work_loses_nothing(wendelin_home: Path) -> None:
    """Writers append and write, readers hold snapshots and look twice; meanwhile it is packed again and again."""
    url = f"local://{wendelin_home}/plant"
    manager = transaction.TransactionManager()
    conn = wendelin.connect(url, transaction_manager=manager)
    for name in ("a", "b"):
        conn.root()[name] = wendelin.ZBigArray((4096, 64), "i8", blksize=1 << 16)
    commit(conn)
    stop = threading.Event()
    packs = []

    def packing() -> None:
        while not stop.is_set():
            packs.append(pack(conn.db()))

    with children(3) as (one, two, reader):
        for child, name in ((one, "a"), (two, "b")):
            child.send(_WRITER.format(url=url, name=name))
        packer = threading.Thread(target=packing)
        packer.start()
        try:
            assert reader.do(_READER.format(url=url), "looked") == 60
            _ended(one, two)
        finally:
            stop.set()
            packer.join()
    manager.begin()
    for name in ("a", "b"):
        assert len(conn.root()[name]) == 4096 + 60
        assert (conn.root()[name][:4096] == 59).all()
    assert len(packs) >= 1
    conn.close()


_WRITER = """
import wendelin, transaction, numpy as np
c = wendelin.connect({url!r}); a = c.root()[{name!r}]
for n in range(60):
    a[:4096] = n
    a.append(np.full((1, 64), n))
    transaction.commit()
"""

_READER = """
import wendelin, transaction
c = wendelin.connect({url!r}); looked = 0
for n in range(60):
    transaction.begin()
    sums = []
    for turn in range(2):
        for name in ("a", "b"):
            block = c.root()[name][:4096] if turn else c.root()[name][2048:4096]
            assert block.min() == block.max(), "a transaction in halves"
            sums.append(int(block[-1, -1]))
    assert sums[:2] == sums[2:], "not one snapshot"
    c.cacheMinimize()
    looked += 1
"""


def _ended(*writers: Child) -> None:
    for child in writers:
        child.receive()


def test_states_since_a_time_are_kept(url: str, conn: Any, root: Any) -> None:
    root["n"] = 0
    commit(conn)
    states = []
    for value in range(4):
        root["n"] = value
        states.append(commit(conn))
    done = pack(conn.db(), states[2].time)
    assert done.holds == []
    for info in states[2:]:
        with contextlib.closing(wendelin.connect(url, at=info)) as old:
            assert old.root()["n"] == states.index(info)
    with pytest.raises(wendelin.WendelinError, match="packed away"):
        wendelin.connect(url, at=states[1])
    conn.db().pack(days=1)
    pack(conn.db(), datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(wendelin.WendelinError, match="only the latest state"):
        wendelin.connect(url, at=states[2])


def test_boards_are_seen_as_long_as_somebody_holds_them(tmp_path: Path) -> None:
    """And a name that a dead process left is removed by the next who looks."""
    folder = str(tmp_path)
    mine, alone = board(folder), Board(None)
    assert board(folder) is mine
    slot, other = mine.slot(), mine.slot()
    mine.note(slot, b"\0" * 7 + b"\5")
    mine.note(other, b"\0" * 7 + b"\7")
    assert {held.tid[-1] for held in held_in(folder)} == {5, 7} == {held.tid[-1] for held in mine.held()}
    mine.give_back(slot)
    mine.give_back(slot)
    assert [held.tid[-1] for held in held_in(folder)] == [7]
    assert alone.held() == []
    (tmp_path / f"{PREFIX}dead").write_bytes(bytes(100))
    assert [held.tid[-1] for held in held_in(folder)] == [7]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("dead")] == []
    alone.note(0, b"\0" * 8)
    del mine
    assert held_in(folder) == []
    assert list(tmp_path.iterdir()) == []
