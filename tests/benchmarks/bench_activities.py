"""Activities on a database server with local workers: rates, latency, and recovery after a kill.

The peers that the issue names (Celery and Procrastinate on PostgreSQL) are not measured yet, so these are figures, not
ratios; a bare loop of plain commits by one process on the same server stands beside them, since it is the limit of what
one worker can do.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transaction

import wendelin
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.local import LocalEngine
from wendelin.storage.activities import active
from wendelin.storage.database.status import stop

NAME = "Activities"

COUNT, ROUNDS, LATENCIES, WORKERS = 1500, 3, 60, 2


def nothing(folder: Any) -> None:
    """What is to be done."""


def now(folder: Any) -> float:
    return time.time()


def main() -> str:
    active.after_commit.clear()
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as place:
        url = f"local://{place}/db"
        connection = wendelin.connect(url)
        try:
            with dispatching(url) as (dispatcher, engine):
                rows = measured(connection, dispatcher, engine)
        finally:
            connection.close()
            stop(url)
    lines = ["| what | median | best | asked |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    note = (
        f"`local://`, {WORKERS} workers, {COUNT} activities that do nothing, {ROUNDS} rounds; latencies of {LATENCIES}."
    )
    return "\n".join([*lines, "", note])


@contextmanager
def dispatching(url: str) -> Iterator[tuple[Dispatcher, LocalEngine]]:
    engine = LocalEngine(WORKERS)
    dispatcher = Dispatcher(url, engine)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield dispatcher, engine
    finally:
        dispatcher.stop()
        thread.join()
        engine.close()


def measured(connection: Any, dispatcher: Dispatcher, engine: LocalEngine) -> list[tuple[str, ...]]:
    wendelin.operation(nothing)
    wendelin.operation(now)
    root = connection.root()
    root.activate().nothing()
    transaction.commit()
    until(lambda: dispatcher.account.finished == 1)
    single = [rate(root, dispatcher) for _ in range(ROUNDS)]
    grouped = [rate(root, dispatcher, group_method_id="", group_method_cost=0.02) for _ in range(ROUNDS)]
    plain = [plain_rate(root) for _ in range(ROUNDS)]
    latencies = [latency(root) for _ in range(LATENCIES)]
    recovered = [recovery(root, engine) for _ in range(5)]
    return [
        ("plain commits of one process", *rates(plain), "–"),
        ("activities, one transaction each", *rates(single), "≥ 600/s"),
        ("activities, 50 in a transaction", *rates(grouped), "≥ 4,000/s"),
        ("from a commit to the start, idle", *times(latencies), "≤ 10 ms"),
        ("from a worker's kill to the end of what it had", *times(recovered), "≤ 5,000 ms"),
    ]


def rates(found: list[float]) -> tuple[str, str]:
    return f"{statistics.median(found):,.0f}/s", f"{max(found):,.0f}/s"


def times(found: list[float]) -> tuple[str, str]:
    return f"{1e3 * statistics.median(found):,.1f} ms", f"{1e3 * min(found):,.1f} ms"


def rate(root: Any, dispatcher: Dispatcher, **options: Any) -> float:
    before = dispatcher.account.finished
    for _ in range(COUNT):
        root.activate(**options).nothing()
    transaction.commit()
    begin = time.perf_counter()
    until(lambda: dispatcher.account.finished == before + COUNT)
    return COUNT / (time.perf_counter() - begin)


def plain_rate(root: Any) -> float:
    begin = time.perf_counter()
    for number in range(COUNT // 3):
        root["plain"] = number
        transaction.commit()
    return COUNT // 3 / (time.perf_counter() - begin)


def latency(root: Any) -> float:
    time.sleep(0.05)
    handle = root.activate().now()
    transaction.commit()
    committed = time.time()
    return float(handle.result(60)) - committed


def recovery(root: Any, engine: LocalEngine) -> float:
    handle = wendelin.activate(time.sleep, connection=root._p_jar)(0.3)
    transaction.commit()
    until(lambda: any(node.busy for node in engine.nodes().values()))
    time.sleep(0.1)
    begin = time.perf_counter()
    for node in engine.nodes().values():
        for pid in node.pids:
            os.kill(pid, signal.SIGKILL)
    handle.result(60)
    return time.perf_counter() - begin - 0.3


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the activities do not end")
        time.sleep(0.002)
