"""Array stores side by side, in one run, on the same data and disk; and whether the goals are met.

Every store has its file in `tests/benchmarks/peers`, whose docstring says how it is made durable. Each operation of
each store runs in a process of its own; the stores take turns, in another order each time, so that a slow moment of
the machine meets all of them. The first turn is not counted. Settings, all in the environment:

- `BENCH_MIB` (256): size of the array; `BENCH_TURNS` (7); `BENCH_APPENDS` (500)
- `BENCH_UPDATES` (100 000) transactions of one page, `BENCH_BLOCKS` (1 000 000) scattered blocks; 0 leaves them out
- `BENCH_PEERS`: the stores to take, separated by commas; all when it is not set
- `WENDELIN_BENCH_CORE`: 1 makes an environment with wendelin.core, a path names a Python 3.10 that has it
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.benchmarks.peers import PEERS
from tests.benchmarks.peers.contract import on_disk
from tests.benchmarks.peers.core_python import make_core_python
from tests.benchmarks.peers.goals import goals
from tests.benchmarks.peers.operations import ROWS, may_drop
from tests.benchmarks.peers.picture import picture
from tests.benchmarks.peers.tables import Run, tables
from tests.benchmarks.peers.turns import measure, missing, once

NAME = "Array stores, side by side"

SETTINGS = {"MIB": 256, "TURNS": 7, "APPENDS": 500, "UPDATES": 100_000, "BLOCKS": 1_000_000}

#: In this order: the first one makes the stores, those before `update` leave them as they are.
OPERATIONS = ("fill", "opening", "scan", "cold", "read", "update", "block", "append")

#: Pictures of the last run, by the name of their file; `--write` puts them into docs/images.
PICTURES: dict[str, str] = {}


def main() -> str:
    """Run everything; the tables. Progress goes to standard error."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(f"BENCH_{name}", str(value))
    place = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path.cwd()))
    try:
        run = measured(place)
    finally:
        for peer in ("local", "file"):
            once(peer, "discard", place)
        shutil.rmtree(place)
    PICTURES.clear()
    PICTURES.update(picture(run))
    images = "\n".join(f"![The main figures as bars](images/{name})" for name in PICTURES)
    return "\n\n".join([images, tables(run), f"### Goals\n\n{goals(run)}", notes(run)])


def measured(place: Path) -> Run:
    """All figures; what they are made of lies in `place`."""
    said = make_core_python()
    asked = [name for name in os.environ.get("BENCH_PEERS", ",".join(PEERS)).split(",") if name]
    absent = {peer: why for peer in asked if (why := missing(peer))}
    if said and "core" in absent:
        absent["core"] = said
    run = Run(setting("MIB") << 20, [peer for peer in asked if peer not in absent], absent)
    np.random.default_rng(0).normal(size=run.nbytes // 8).tofile(place / "data")
    for operation in OPERATIONS:
        tell(operation)
        peers = [peer for peer in run.peers if not run.of("fill", peer).error or operation == "fill"]
        run.figures[operation] = measure(operation, peers, place, setting("TURNS"))
        for peer in peers if operation in ("fill", "append") else ():
            kind = "bulk" if operation == "fill" else operation
            run.disk[kind, peer] = on_disk(place / peer / kind)
    run.disk["payload", "append"] = 8 * ROWS * setting("APPENDS")
    if "bare" in run.peers:
        run.figures["memory"] = measure("memory", ["bare"], place, setting("TURNS"))
    age(run, place)
    return run


def age(run: Run, place: Path) -> None:
    """Arrays that grew old, and large ones."""
    for operation, name in (
        ("age_appends", "APPENDS"),
        ("age_pages", "UPDATES"),
        ("age_sparse", "MIB"),
        ("age_scattered", "BLOCKS"),
    ):
        if not setting(name):
            run.aged_errors[operation] = f"left out by BENCH_{name}=0"
            continue
        tell(operation)
        found = once("file", operation, place)
        if "error" in found:
            run.aged_errors[operation] = f"failed: {found['error']}"
        else:
            run.aged[operation] = found


def notes(run: Run) -> str:
    """What the figures stand for."""
    how = "posix_fadvise and /proc/sys/vm/drop_caches" if may_drop() else "posix_fadvise alone (not root)"
    copied, summed = run.median("memory", "bare", "copy"), run.median("memory", "bare", "sum")
    memory = ""
    if copied and summed:
        memory = (
            f" Memory alone: copied {run.nbytes / 1e9 / copied:.2f} GB/s, summed {run.nbytes / 1e9 / summed:.2f} GB/s."
        )
    turns, appends, updates, blocks = (f"{setting(name):,}" for name in ("TURNS", "APPENDS", "UPDATES", "BLOCKS"))
    return (
        f"{run.nbytes >> 20:,} MiB of random float64 (synthetic); chunks of 8 MiB, blocks of Wendelin and "
        f"wendelin.core of 2 MiB; medians of {turns} turns. `n×` is the median over the turns of the store's "
        "time divided by that of Wendelin on `local://`: above 1, Wendelin is faster. *Not durable* rows "
        "leave out the `fsync`s that the store does not make itself. Cold: the page cache was emptied by "
        f"{how}; what lies beneath the machine may still cache. The bare machine is one file with write and "
        "fsync, and an array in memory. Nothing was packed, expired or collected. Peak memory is each "
        "process's own: RssAnon, sampled every 2 ms in the turn that is not counted, / VmHWM, in which mapped "
        f"files count; a server's memory is not in it.{memory} Ageing: {appends} appends, {updates} one-page "
        f"transactions, {blocks} scattered blocks, packed; the array of 1 TiB holds 1 MiB in each 16 GiB."
    )


def setting(name: str) -> int:
    return int(os.environ[f"BENCH_{name}"])


def tell(operation: str) -> None:
    print(f"  {operation} …", file=sys.stderr, flush=True)
