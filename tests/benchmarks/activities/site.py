"""`Site`: a served database, a dispatcher in this process, and two workers, local ones or Dask's."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transaction

import wendelin
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.engine import Engine
from wendelin.storage.activities import active
from wendelin.storage.database.status import stop


@wendelin.operation
def nothing(folder: Any) -> None:
    """What is to be done."""


@wendelin.operation
def now(folder: Any) -> float:
    """When it is done."""
    return time.time()


def slow(begun: str, seconds: float) -> None:
    """Something that says when it has begun."""
    with Path(begun).open("a") as file:
        file.write("x")
    time.sleep(seconds)


class Site:
    """Use it with `with`; `engine` is closed with it. None: nobody dispatches here."""

    def __init__(self, folder: Path, engine: Engine | None) -> None:
        active.after_commit.clear()  # nobody starts a node by himself
        folder.mkdir()
        self.folder, self.url, self.engine = folder, f"local://{folder}/db", engine
        self.manager = transaction.TransactionManager()
        self.connection = wendelin.connect(self.url, transaction_manager=self.manager)
        self.root = self.connection.root()
        self._slow = 0
        if engine is not None:
            self.dispatcher = Dispatcher(self.url, engine)
            self._thread = threading.Thread(target=self.dispatcher.run)
            self._thread.start()

    def __enter__(self) -> Site:
        self.root.activate().now()
        self.manager.commit()
        if self.engine is not None:
            until(lambda: self.dispatcher.account.finished == 1)
        return self

    def __exit__(self, *details: object) -> None:
        if self.engine is not None:
            self.dispatcher.stop()
            self._thread.join()
            self.engine.close()
        self.manager.abort()
        self.connection.close()
        stop(self.url)

    def rate(self, count: int, **options: Any) -> float:
        """Activities a second, from the commit that left all of them to the end of the last."""
        before = self.dispatcher.account.finished
        for _ in range(count):
            self.root.activate(**options).nothing()
        self.manager.commit()
        begin = time.perf_counter()
        until(lambda: self.dispatcher.account.finished >= before + count)
        return count / (time.perf_counter() - begin)

    def plain_rate(self, count: int) -> float:
        """Transactions a second of one process that store one number."""
        begin = time.perf_counter()
        for number in range(count):
            self.root["plain"] = number
            self.manager.commit()
        return count / (time.perf_counter() - begin)

    def latency(self) -> float:
        """Seconds from the return of a commit to the begin of what it left, when nothing else is to be done."""
        time.sleep(0.05)
        handle = self.root.activate().now()
        self.manager.commit()
        committed = time.time()
        return float(handle.result(60)) - committed

    def recovery(self, kill: Callable[[], object], seconds: float = 0.3) -> float:
        """Seconds from a kill to the end of what ran then, without those that it takes."""
        self._slow += 1
        begun = self.folder / f"begun-{self._slow}"
        handle = wendelin.activate(slow, connection=self.connection)(str(begun), seconds)
        self.manager.commit()
        until(begun.exists)
        begin = time.perf_counter()
        kill()
        handle.result(60)
        took = time.perf_counter() - begin - seconds
        self.manager.abort()
        return took


def until(condition: Callable[[], bool]) -> None:
    """Wait for it; TimeoutError after two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the activities do not end")
        time.sleep(0.002)


def rates(found: list[float]) -> tuple[str, str]:
    """Median and best."""
    return f"{statistics.median(found):,.0f}/s", f"{max(found):,.0f}/s"


def times(found: list[float]) -> tuple[str, str]:
    """Median and best, of seconds."""
    return f"{1e3 * statistics.median(found):,.1f} ms", f"{1e3 * min(found):,.1f} ms"
