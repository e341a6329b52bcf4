"""What a worker runs, when it has several threads, as one of a cluster may."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import transaction

import wendelin
from tests.storage.database.servers import zeo_server
from wendelin import ZBigArray
from wendelin.kernel.activity.work import _connections, work
from wendelin.storage.activities import active
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.activities.run import Outcome, run

both = threading.Barrier(2, timeout=60)


@wendelin.operation
def append_when_both_run(data: ZBigArray, number: int) -> None:
    both.wait()
    data.append([number])


restarts: list[Callable[[], None]] = []


@wendelin.operation
def lose(data: ZBigArray) -> None:
    data.append([1])
    if restarts:
        restarts.pop()()


def test_threads_of_a_worker_have_transactions_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "after_commit", [])
    connection = wendelin.connect(f"file://{tmp_path}/db")
    data = connection.root()["data"] = ZBigArray((0,), "i8")
    transaction.commit()
    for number in range(2):
        data.activate().append_when_both_run(number)
    transaction.commit()
    oids = [message._p_oid for message in queue_of(connection) or ()]
    with ThreadPoolExecutor(2) as threads:

        def one(oid: bytes) -> list[Outcome]:
            try:
                return work(connection.url, [oid], None, "here")
            finally:
                transaction.abort()
                _connections.by_url.pop(connection.url)[1].close()

        outcomes = list(threads.map(one, oids))
    assert [(it.kind, it.oid) for found in outcomes for it in found] == [("ended", oid) for oid in oids]
    transaction.begin()
    assert sorted(data[:]) == [0, 1]
    transaction.abort()
    connection.close()


def test_a_server_that_goes_away_and_comes_back_is_no_error_of_the_activity(
    wendelin_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it wait for half a minute then: it is run again as after a conflict."""
    monkeypatch.setattr(active, "after_commit", [])
    with zeo_server(wendelin_home / "z") as server:
        connection = wendelin.connect(server.url)
        data = connection.root()["data"] = ZBigArray((0,), "i8")
        transaction.commit()

        def restart() -> None:
            server.kill()
            server.start()

        monkeypatch.setattr(sys.modules[__name__], "restarts", [restart])
        handle = data.activate(max_retry=0).lose()
        transaction.commit()
        manager = transaction.TransactionManager()
        worker = wendelin.connect(server.url, transaction_manager=manager)
        (outcome,) = run(worker, [handle.oid], None, "here")
        assert (outcome.kind, restarts) == ("ended", [])
        transaction.begin()
        assert data[:].tolist() == [1]
        transaction.abort()
        manager.abort()
        worker.close()
        connection.close()
