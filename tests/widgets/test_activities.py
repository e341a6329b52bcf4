"""The tiles of activities follow what real workers do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.kernel.activity.dispatching import running, until
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.local import LocalEngine
from wendelin.storage.activities import active
from wendelin.widgets.activities import WORDS, ActivityBar, ActivityMonitor

pytestmark = pytest.mark.slow


def wait_at(gate: str) -> str:
    """What an activity does: it says how far it is, and waits for the test."""
    wendelin.progress(3, 10, "row 3")
    return Path(gate).read_text()


@pytest.fixture
def db(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(active, "after_commit", [])
    connection = wendelin.connect()
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def dispatcher(db: Any) -> Iterator[Dispatcher]:
    with LocalEngine(2) as engine, running(Dispatcher(db.url, engine, node="here")) as made:
        yield made


def test_they_follow_an_activity_from_its_commit_to_its_end(db: Any, dispatcher: Dispatcher, tmp_path: Path) -> None:
    monitor = ActivityMonitor()
    until(lambda: monitor.state == "empty")
    os.mkfifo(tmp_path / "gate")
    handle = wendelin.activate(wait_at, tag="load", progress="the load")(str(tmp_path / "gate"))
    bars = [ActivityBar(handle), ActivityBar([handle]), ActivityBar("load", db)]
    until(lambda: bars[0].counts == {"done": 0, "running": 0, "waiting": 1, "failed": 0})
    transaction.commit()
    for tile in (monitor, *bars):
        until(lambda tile=tile: tile.running and tile.running[0]["done"] == 3)  # type: ignore[misc]
        (found,) = tile.running
        assert {**found, "node": "", "since": 0} == {
            "uid": handle.uid, "what": "the load", "node": "", "since": 0, "count": 1, "done": 3, "total": 10,
            "note": "row 3",
        }  # fmt: skip
        assert (tile.state, tile.counts["running"]) == ("working", 1)
    (tmp_path / "gate").write_text("on")
    assert handle.result(60) == "on"
    until(lambda: [bar.state for bar in bars] == ["done", "done", "idle"])
    assert [bar.counts["done"] for bar in bars] == [1, 1, 1]
    until(lambda: monitor.state == "idle")
    assert [(node["slots"], node["busy"]) for node in monitor.nodes] == [(2, 0)]
    assert repr(bars[0]) == "<ActivityBar wait_at: done, 1 done, 0 running, 0 waiting, 0 failed>"
    for tile in (monitor, *bars):
        tile.close()
        tile.close()
        assert tile.state == "closed"
    assert not any(thread.name == "wendelin activities" for thread in threading.enumerate())


def test_failures_come_with_their_tracebacks(db: Any, dispatcher: Dispatcher) -> None:
    bad = [wendelin.activate(divmod, max_retry=0)(n, 0) for n in range(2)]
    good = wendelin.activate(divmod)(1, 1)
    transaction.commit()
    monitor, bar = ActivityMonitor(db), ActivityBar([*bad, good])
    for tile in (monitor, bar):
        until(lambda tile=tile: tile.state == "failing")  # type: ignore[misc]
        assert tile.counts["failed"] == 2
        assert {failure["error"] for failure in tile.failures} == {
            "ZeroDivisionError: integer division or modulo by zero"
        }
        assert "Traceback" in tile.failures[0]["traceback"]
    assert bar.counts["done"] == 1
    for tile in (monitor, bar):
        tile.close()


def test_every_health_has_words() -> None:
    assert {"working", "idle", "stalled", "failing", "empty"} <= set(WORDS)
