"""How far activities are, as others see it; the monitor's pictures; cancelling what runs."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import transaction
from click.testing import CliRunner

import wendelin
from tests.kernel.activity.conftest import engine_of
from tests.kernel.activity.dispatching import running, until
from wendelin import ZBigArray
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.monitor import Monitor
from wendelin.storage.activities.progress import Progress
from wendelin.storage.activities.report import Reporter
from wendelin.storage.activities.run import run
from wendelin.storage.cli import main
from wendelin.storage.errors import ActivityError, OptionError

pytestmark = pytest.mark.slow


@pytest.fixture
def dispatcher(conn: Any, mortal: Any) -> Iterator[Dispatcher]:
    with running(Dispatcher(conn.url, mortal, node="here")) as made:
        yield made


@pytest.fixture
def local(conn: Any) -> Iterator[Dispatcher]:
    with engine_of(None) as engine, running(Dispatcher(conn.url, engine, node="here")) as made:
        yield made


@wendelin.operation
def steps(data: ZBigArray, gate: str) -> int:
    """Goes on when the test opens the gate."""
    for step in range(3):
        wendelin.progress(step, 10)
    wendelin.progress(3, 10, "halfway, nearly")
    data[0] = 1000
    with Path(gate).open() as opened:
        opened.read()
    return 3


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "gate")
    return str(folder / "gate")


def test_progress_reaches_those_who_watch_without_a_commit(
    data: ZBigArray, dispatcher: Dispatcher, tmp_path: Path, conn: Any
) -> None:
    gate = fifo(tmp_path)
    handle = data.activate(tag="load", progress="the load").steps(gate)
    transaction.commit()
    assert until(lambda: handle.progress) is not None
    until(lambda: handle.progress == Progress(3, 10, "halfway, nearly"))
    transaction.begin()
    before = conn.get(handle._oid)._p_serial
    with Monitor(conn.url) as monitor:
        picture = monitor.look()
        assert (picture.health, picture.counts["running"], picture.counts["waiting"]) == ("working", 1, 0)
        (found,) = picture.running
        assert (found.uid, found.what, found.tag, found.count) == (handle.uid, "the load", "load", 1)
        assert found.progress == Progress(3, 10, "halfway, nearly")
        assert 0 < picture.at - found.since < 60
        assert picture.dispatcher.startswith("here:")
        assert sum(node.busy for node in picture.nodes) == 1
        assert monitor.tagged("load") == {handle.uid: "pending"}
    text = CliRunner().invoke(main, ["activity"]).output
    assert "halfway, nearly" in text
    assert "1 running" in text
    transaction.begin()
    assert conn.get(handle._oid)._p_serial == before
    with Path(gate).open("w") as opened:
        opened.write("on")
    assert handle.result(60) == 3
    assert handle.progress is None


def test_progress_outside_of_an_activity_is_nothing() -> None:
    wendelin.progress(1, 2)
    with pytest.raises(OptionError, match="give a number"):
        wendelin.progress("half")  # type: ignore[arg-type]


def test_many_words_a_second_are_a_few_and_the_last_one_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    from wendelin.storage.activities import progress as module

    said: list[Any] = []
    for number in range(1000):
        module._say(said.append, number)
    until(lambda: said and said[-1] == 999)
    assert len(said) < 500


def test_a_running_activity_is_cancelled(data: ZBigArray, dispatcher: Dispatcher, tmp_path: Path, conn: Any) -> None:
    """Its worker is interrupted, its effect is not there, and who waits for it goes on."""
    handle = data.activate(tag="first").steps(fifo(tmp_path))
    later = data.activate(after_tag="first").process(1, 1)
    transaction.commit()
    until(lambda: handle.progress)
    assert handle.cancel()
    assert handle.state == "cancelled"
    with pytest.raises(CancelledError):
        handle.result(60)
    assert later.result(60) == 1
    transaction.begin()
    assert data[:2].tolist() == [0, 2]
    assert not handle.cancel()
    assert not later.cancel()
    until(lambda: dispatcher.is_idle)


def test_what_goes_on_after_a_cancel_cannot_commit(data: ZBigArray, conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no worker can be interrupted: the commit is refused."""

    handle = data.activate().process(0, 1)
    transaction.commit()
    worker = wendelin.connect(conn.url, transaction_manager=transaction.TransactionManager())

    def cancelling(self: Any) -> None:
        self.target()[0] = 1000
        handle.cancel()

    monkeypatch.setattr(Message, "run", cancelling)
    (outcome,) = run(worker, [handle._oid])
    worker.close()
    assert (outcome.kind, handle.state) == ("ended", "cancelled")
    transaction.begin()
    assert data[0] == 0


def test_what_is_not_committed_cannot_be_cancelled(data: ZBigArray) -> None:
    handle = data.activate().process(0, 1)
    with pytest.raises(ActivityError, match="not committed yet"):
        handle.cancel()
    transaction.abort()


def test_failures_are_in_the_picture_with_their_tracebacks(data: ZBigArray, local: Dispatcher, conn: Any) -> None:
    bad = wendelin.activate(divmod, connection=conn, max_retry=0, tag="sums")(1, 0)
    good = [data.activate().process(n, 1) for n in range(5)]
    later = data.activate(delay=3600).process(0, 1)
    transaction.commit()
    assert bad.wait(60)
    for handle in good:
        handle.result(60)
    with Monitor(conn) as monitor:
        picture = until(lambda: (found := monitor.look()).counts["failed"] and not found.counts["running"] and found)
        (failure,) = picture.failures
        assert (failure.uid, failure.what, failure.tag, failure.runs) == (bad.uid, "divmod", "sums", 1)
        assert "ZeroDivisionError" in failure.traceback
        assert picture.counts == {"running": 0, "waiting": 1, "later": 1, "failed": 1}
        assert picture.totals["finished"] == 5
        assert picture.totals["given_up"] == 1
        until(lambda: monitor.look().rate > 0)
        later.cancel()
        until(lambda: monitor.look().health == "failing")


def test_without_a_dispatcher_the_database_tells(data: ZBigArray, conn: Any) -> None:
    with Monitor(conn) as monitor:
        assert monitor.look().health == "empty"
        data.activate().process(0, 1)
        transaction.commit()
        picture = monitor.look()
        assert (picture.health, picture.counts["waiting"], picture.nodes) == ("stalled", 1, ())
    assert "no dispatcher answers" in CliRunner().invoke(main, ["activity"]).output
    told = json.loads(CliRunner().invoke(main, ["activity", "--db", conn.url, "--json"]).output)
    assert (told["health"], told["counts"]["waiting"]) == ("stalled", 1)
    misplaced = CliRunner().invoke(main, ["activity", "--db", conn.url, "list"])
    assert (misplaced.exit_code, "behind the subcommand: wendelin activity list" in misplaced.output) == (2, True)


def test_a_stranger_is_told_nothing(data: ZBigArray, local: Dispatcher, conn: Any) -> None:
    handle = data.activate().process(0, 1)
    transaction.commit()
    handle.result(60)
    transaction.begin()
    lease = conn.root()["activities"].lease
    reporter = Reporter()
    assert reporter.ask(lease.address, "00" * 16) is None
    assert reporter.ask(lease.address, lease.key) is not None
    assert reporter.ask(None, "") is None
    reporter.close()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_a_bar_while_one_waits_and_a_file_does_not(
    data: ZBigArray, local: Dispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    gate = fifo(tmp_path)
    handle = data.activate().steps(gate)
    transaction.commit()
    waiting = threading.Thread(target=handle.result)
    waiting.start()
    try:
        if terminal:
            until(lambda: "30%|█████████ " in stream.getvalue() and "halfway" in stream.getvalue())
        else:
            until(lambda: handle.progress)
            time.sleep(1)  # would be drawn by now
    finally:
        with Path(gate).open("w") as opened:
            opened.write("on")
        waiting.join()
    lines = stream.getvalue().split("\r")
    assert ("done" in lines[-1]) is terminal
    assert bool(stream.getvalue()) is terminal
