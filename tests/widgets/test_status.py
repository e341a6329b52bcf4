"""The tile of a database follows real commits of other processes, and says when the database is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from wendelin.storage.database import last_transactions
from wendelin.widgets.loop import here
from wendelin.widgets.observer import Observer, Seen
from wendelin.widgets.status import WORDS, StatusTile, in_bytes

COMMIT = """
import transaction, wendelin
db = wendelin.connect()
db.root()["made/elsewhere"] = {value!r}
transaction.get().setUser("operator")
transaction.get().note({note!r})
transaction.commit()
db.close()
"""


def commit_elsewhere(note: str, value: object = 1) -> None:
    """A commit by another process, through the server."""
    subprocess.run([sys.executable, "-c", COMMIT.format(note=note, value=value)], check=True)


def wendelin_db(command: str) -> None:
    subprocess.run([sys.executable, "-m", "wendelin.storage.cli", "db", command], check=True, capture_output=True)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def db(wendelin_home: Path) -> Iterator[Any]:
    connection = wendelin.connect(read_only=True, transaction_manager=transaction.TransactionManager())
    yield connection
    connection.close()


@pytest.fixture
def tile(db: Any) -> Iterator[StatusTile]:
    made = StatusTile(db)
    yield made
    made.close()


def test_a_fresh_database_is_connected_and_empty(tile: StatusTile) -> None:
    until(lambda: tile.state == "empty")
    assert tile.size > 0
    assert tile.url.startswith("local:///")


def test_commits_of_another_process_arrive_newest_first(tile: StatusTile) -> None:
    until(lambda: tile.state == "empty")
    commit_elsewhere("first")
    until(lambda: tile.state == "connected")
    commit_elsewhere("second")
    until(lambda: tile.transactions[0]["note"] == "second")
    newest, before = tile.transactions[:2]
    assert before["note"] == "first"
    assert newest["user"].endswith("operator")
    assert newest["time"] > before["time"]
    assert newest["time"].endswith("+00:00")


def test_what_is_shown_is_what_was_committed(tile: StatusTile, db: Any) -> None:
    commit_elsewhere("only")
    until(lambda: bool(tile.transactions) and tile.transactions[0]["note"] == "only")
    assert [each["tid"] for each in tile.transactions] == [each.tid.hex() for each in last_transactions(db, 5)]


def test_no_more_transactions_than_asked_for(db: Any) -> None:
    tile = StatusTile(db, limit=2)
    for number in range(4):
        commit_elsewhere(f"number {number}")
    until(lambda: bool(tile.transactions) and tile.transactions[0]["note"] == "number 3")
    assert len(tile.transactions) == 2
    tile.close()


@pytest.mark.parametrize("limit", [0, 21, -1])
def test_a_limit_out_of_reach_is_refused(db: Any, limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit is {limit}: a tile shows 1 to 20"):
        StatusTile(db, limit=limit)


def test_a_stopped_server_is_noticed_left_alone_and_found_again(tile: StatusTile) -> None:
    """Looking at it must not start a server that somebody stopped."""
    commit_elsewhere("before")
    until(lambda: tile.state == "connected")
    wendelin_db("stop")
    until(lambda: tile.state == "disconnected")
    assert tile.transactions[0]["note"] == "before"
    stopped = subprocess.run(
        [sys.executable, "-m", "wendelin.storage.cli", "db", "status"], check=False, capture_output=True
    )
    assert stopped.returncode == 1
    wendelin_db("start")
    until(lambda: tile.state == "connected")
    commit_elsewhere("after")
    until(lambda: tile.transactions[0]["note"] == "after")


def test_closing_stops_looking(db: Any) -> None:
    tile = StatusTile(db)
    until(lambda: tile.state == "empty")
    tile.close()
    tile.close()
    assert tile.state == "closed"
    commit_elsewhere("too late")
    assert tile.state == "closed"
    assert not any(thread.name == "wendelin observer" for thread in threading.enumerate())


def test_the_page_is_answered_and_nobody_else(tile: StatusTile, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(tile, "send", sent.append)
    tile._answer(tile, {"ask": "alive"}, [])
    tile._answer(tile, {"ask": "anything"}, [])
    tile._answer(tile, "nonsense", [])
    assert sent == [{"alive": True}]


def test_its_text_says_it_all(tile: StatusTile) -> None:
    commit_elsewhere("a note")
    until(lambda: "a note" in repr(tile))
    assert repr(tile).startswith("<StatusTile connected, local:///")
    assert "UTC: a note>" in repr(tile)


def test_an_error_is_shown_as_words(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that raises what nobody foresaw: the tile says it and goes on looking."""
    until_seen: list[Seen] = []
    observer = Observer(db, until_seen.append)
    until(lambda: len(until_seen) == 1)
    with monkeypatch.context() as patch:
        patch.setattr("wendelin.widgets.observer.last_transactions", lambda *_: 1 / 0)
        observer.look()
        until(lambda: until_seen[-1].state == "error")
        assert until_seen[-1].problem == "division by zero"
    observer.look()
    until(lambda: until_seen[-1].state == "empty")
    observer.close()


def test_a_quiet_database_is_told_once(db: Any) -> None:
    seen: list[Seen] = []
    observer = Observer(db, seen.append)
    until(lambda: bool(seen))
    for _ in range(5):
        observer.look()
        time.sleep(0.05)
    commit_elsewhere("one")
    until(lambda: seen[-1].state == "connected")
    observer.close()
    assert [each.state for each in seen] == ["empty", "connected"]
    assert seen[-1].last is not None


def test_a_database_of_this_process_alone_works_too(tmp_path: Path) -> None:
    """file:// has no server that could be gone."""
    connection = wendelin.connect(f"file://{tmp_path}/db", transaction_manager=transaction.TransactionManager())
    tile = StatusTile(connection)
    until(lambda: tile.state == "empty")
    connection.root()["x"] = 1
    connection.transaction_manager.get().note("by ourselves")
    connection.transaction_manager.commit()
    until(lambda: tile.state == "connected" and tile.transactions[0]["note"] == "by ourselves")
    tile.close()
    connection.close()


def test_what_arrives_from_a_thread_runs_in_the_loop() -> None:
    """In a kernel, traits must change where comms are sent."""
    ran: list[int] = []

    async def play() -> None:
        schedule = here()
        thread = threading.Thread(target=lambda: schedule(lambda: ran.append(threading.get_ident())))
        thread.start()
        thread.join()
        assert ran == []
        await asyncio.sleep(0.05)

    asyncio.run(play())
    assert ran == [threading.get_ident()]


def test_after_the_loops_end_nothing_runs() -> None:
    async def play() -> Callable[[Callable[[], None]], None]:
        return here()

    schedule = asyncio.run(play())
    schedule(lambda: pytest.fail("the loop is closed"))


def test_sizes_are_those_on_a_disks_box() -> None:
    assert [in_bytes(n) for n in (0, 999, 1000, 8_610_000, 2.5e15)] == [
        "0 bytes", "999 bytes", "1.0 kB", "8.6 MB", "2500.0 TB",
    ]  # fmt: skip


def test_every_state_has_words() -> None:
    assert set(WORDS) == {"loading", "connected", "empty", "disconnected", "error", "closed"}
