"""A database in files, with a connection for creators and one for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.storage.activities.operations import process
from wendelin.storage.activities import active
from wendelin.storage.activities.order import Item, Order
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.activities.run import Outcome, run

__all__ = ["process"]


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Any]:
    connection = wendelin.connect(f"file://{tmp_path}/db")
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def root(conn: Any) -> Any:
    return conn.root()


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activities wait for the test."""
    monkeypatch.setattr(active, "after_commit", [])


class Worker:
    """A worker without an engine: it runs what may run, one group after the other, until nothing is left."""

    def __init__(self, url: str) -> None:
        self.connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
        self.order = Order()
        self.now = 0.0
        self.ran: list[str] = []
        self.groups: list[int] = []

    def take_in(self) -> None:
        manager = self.connection.transaction_manager
        manager.begin()
        queue = queue_of(self.connection)
        if queue is not None:
            for message in queue:
                options = message.options
                item = Item(message.uid, message._p_oid, message.path, message.method_id, options, message.not_before)
                item.failed = message.state == "failed"
                if not self.order.add(item):
                    message.stop("merged")
        manager.commit()

    def work(self, most: int = 1000) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self.take_in()
        while len(outcomes) < most and (groups := self.order.start(self.now, 1)):
            items = groups[0]
            self.groups.append(len(items))
            self.ran += [item.method_id for item in items]
            some = run(self.connection, [item.oid for item in items], items[0].options.group_method_id, "here")
            self.take_in()  # what an activity leaves behind, before others see its end
            for item, outcome in zip(items, some, strict=True):
                if outcome.kind == "ended":
                    self.order.ended(item.uid)
                else:
                    self.order.again(item.uid, outcome.not_before, failed=outcome.kind == "failed")
            outcomes += some
        return outcomes


@pytest.fixture
def worker(conn: Any) -> Iterator[Worker]:
    made = Worker(conn.url)
    yield made
    made.connection.transaction_manager.abort()
    made.connection.close()
