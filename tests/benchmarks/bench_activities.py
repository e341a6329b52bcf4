"""Activities on a database server: rates, latency, and recovery after a kill; beside them Procrastinate on PostgreSQL.

All of it in one run, in turns: a busy machine is busy for all. A bare loop of plain commits by one process on the same
server stands beside them: what short activities gain on it is that they share commits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from tests.benchmarks.activities import recovery
from tests.benchmarks.activities.site import Site, rates, times
from tests.kernel.activity.conftest import local_cluster
from wendelin.kernel.activity.cluster import DaskEngine
from wendelin.kernel.activity.local import LocalEngine
from wendelin.kernel.activity.pace import Pace

NAME = "Activities"

COUNT, ROUNDS, LATENCIES, WORKERS = 3000, 3, 60, 2
GROUP = {"group_method_id": "", "group_method_cost": 0.02}

Row = tuple[str, str, str, str]


def main() -> str:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd())))
        rows = [*measured(place), *recovered(place)]
    lines = ["| what | median | best | asked |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    note = (
        f"`local://`, {WORKERS} workers, {COUNT:,} activities that do nothing, {ROUNDS} rounds in turns; latencies of "
        f"{LATENCIES}, recoveries of {recovery.TURNS}: from the kill (kill -9) to the end of what ran, without the "
        "0.3 s that it takes. Short activities of one method share commits when many wait; what asks for its "
        "`activity_key` never does. Effects of activities happen exactly once. Procrastinate's jobs are run at least "
        "once, with PostgreSQL's `fsync` and `synchronous_commit` on and as many worker processes; latencies are those "
        "of its own table of events."
    )
    return "\n".join([*lines, "", note])


def measured(place: Path) -> list[Row]:
    """Rates and latencies."""
    with local(place / "local") as site, on_dask(place / "dask") as dask:
        found: dict[str, list[float]] = {}

        def note(name: str, value: float) -> None:
            found.setdefault(name, []).append(value)

        for _ in range(ROUNDS):
            note("plain", site.plain_rate(COUNT // 6))
            note("single", site.rate(COUNT))
            with patch.object(Pace, "together", return_value=1):
                note("alone", site.rate(COUNT // 3))
            note("grouped", site.rate(COUNT, **GROUP))
            note("dask single", dask.rate(COUNT))
            note("dask grouped", dask.rate(COUNT, **GROUP))
        waited = [site.latency() for _ in range(LATENCIES)]
        dask_waited = [dask.latency() for _ in range(LATENCIES)]
    return [
        ("plain commits of one process", *rates(found["plain"]), "–"),
        ("activities, each for itself", *rates(found["single"]), "≥ 600/s"),
        ("the same, each in a commit of its own", *rates(found["alone"]), "–"),
        ("activities, 50 in a group", *rates(found["grouped"]), "≥ 4,000/s"),
        ("on Dask: each for itself", *rates(found["dask single"]), "≥ 200/s"),
        ("on Dask: 50 in a group", *rates(found["dask grouped"]), "≥ 2,500/s"),
        *procrastinate(),
        ("from a commit to the start, idle", *times(waited), "≤ 10 ms"),
        ("on Dask: from a commit to the start, idle", *times(dask_waited), "–"),
    ]


def procrastinate() -> list[Row]:
    """The peer, with the concurrency that is best for it."""
    try:
        from tests.benchmarks.activities import procrastinates
    except ImportError as missing:
        return [(f"Procrastinate: not installed ({missing.name})", "–", "–", "–")]
    best: tuple[int, list[float], list[float]] = (0, [0.0], [])
    with procrastinates.queue() as queue:
        for concurrency in procrastinates.CONCURRENCIES:
            with procrastinates.workers(WORKERS, concurrency):
                queue.rate(20)
                found = [queue.rate(COUNT // 3) for _ in range(ROUNDS)]
                waited = [queue.latency() for _ in range(LATENCIES)]
            if max(found) > max(best[1]):
                best = concurrency, found, waited
    return [
        (f"Procrastinate, {best[0]} jobs a process at a time", *rates(best[1]), "slower"),
        ("Procrastinate: from leaving a job to its start, idle", *times(best[2]), "–"),
    ]


def recovered(place: Path) -> list[Row]:
    """Recoveries."""
    with local(place / "recovery") as site:
        worker, database = recovery.after_a_worker(site), recovery.after_the_database(site)
    dispatcher = recovery.after_the_dispatcher(place / "nodes")
    scheduler = recovery.after_the_scheduler(place / "scheduler")
    return [
        ("after the kill of the workers", *times(worker), "≤ 5,000 ms"),
        ("after the kill of the dispatcher, with its workers", *times(dispatcher), "≤ 5,000 ms"),
        ("after the kill of Dask's scheduler, with its workers", *times(scheduler), "≤ 5,000 ms"),
        ("after the kill of the database server", *times(database), "≤ 5,000 ms"),
    ]


@contextmanager
def local(folder: Path) -> Iterator[Site]:
    with Site(folder, LocalEngine(WORKERS)) as site:
        yield site


@contextmanager
def on_dask(folder: Path) -> Iterator[Site]:
    with local_cluster() as address, Site(folder, DaskEngine(address)) as site:
        yield site
