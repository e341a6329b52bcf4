"""The default database: ZEO on a UNIX socket against RelStorage on sqlite3. Design note 0002 rests on these figures."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transaction

import wendelin
from tests.storage.database.children import Child, children
from wendelin.storage.database import ondemand

NAME = "Databases: opening, committing, waking others"

COMMITS = 200
WRITERS = 4

OPEN = (
    "import time, threading, transaction, wendelin; from wendelin.storage.database import watch\n"
    "c = wendelin.connect({url!r}); r = c.root()"
)

# ZEO tells its clients; sqlite3 tells nobody, so a thread asks every 5 ms, the cheapest question there is.
LISTEN = {
    "local": "heard = []; stop = watch(c.db(), lambda: heard.append(time.monotonic()))",
    "sqlite": (
        "import sqlite3; heard = []\n"
        "def ask():\n"
        "    db = sqlite3.connect({folder!r} + '/main.sqlite3'); last = None\n"
        "    while True:\n"
        "        found = db.execute('PRAGMA data_version').fetchone()[0]\n"
        "        if last not in (None, found): heard.append(time.monotonic())\n"
        "        last = found; time.sleep(0.005)\n"
        "threading.Thread(target=ask, daemon=True).start()"
    ),
}


def main() -> str:
    """Medians, in milliseconds where nothing else is said."""
    rows: list[tuple[str, dict[str, str]]] = []
    for kind in ("local", "sqlite"):
        with fresh(kind) as (url, folder):
            rows.append((kind, figures(kind, url, folder)))
    names = list(rows[0][1])
    head = "| | ZEO, UNIX socket | RelStorage sqlite3, synchronous=FULL |\n|---|---|---|\n"
    return head + "\n".join(f"| {name} | {rows[0][1][name]} | {rows[1][1][name]} |" for name in names)


@contextmanager
def fresh(kind: str) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as place:
        folder = Path(place) / "db"
        yield f"{kind}://{folder}", folder
        ondemand.stop(folder)


def figures(kind: str, url: str, folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with children(WRITERS + 1) as [listener, *writers]:
        listener.do("import wendelin.storage.database.opening, wendelin.storage.database.relational")
        found["first connect of all (starts the server, makes the root)"] = ms(clocked(listener, OPEN.format(url=url)))
        listener.do(LISTEN[kind].format(folder=str(folder)))
        for writer in writers:
            writer.do("import wendelin.storage.database.opening, wendelin.storage.database.relational")
        opened = [clocked(writer, OPEN.format(url=url)) for writer in writers]
        found["connect of a further process"] = ms(statistics.median(opened))
        found |= one_writer(url)
        found["commit of one process → another one woken"] = ms(wake(listener, writers[0]))
        found |= many_writers(writers)
        found["processor of an idle listener"] = f"{100 * idle(listener):.1f} %"
    return found


def one_writer(url: str) -> dict[str, str]:
    connection = wendelin.connect(url)
    root = connection.root()
    small = [timed(lambda n=n: commit(root, "x", n)) for n in range(COMMITS)]
    begins = [timed(transaction.begin) for _ in range(COMMITS)]
    root["a"] = wendelin.ZBigArray((64 << 20,), "u1")
    root["a"][:] = 1
    big = timed(transaction.commit)
    connection.close()
    return {
        "begin": ms(statistics.median(begins)),
        "small commit": ms(statistics.median(small)),
        "commit of 64 MiB in an array": ms(big),
    }


def commit(root: Any, name: str, value: object) -> None:
    root[name] = value
    transaction.commit()


def wake(listener: Child, writer: Child) -> float:
    """Seconds from the return of a commit to the wake-up of another process; negative: woken before it returned."""
    delays: list[float] = []
    for n in range(50):
        listener.do("heard.clear()")
        done = writer.do(f"transaction.begin(); r['w'] = {n}; transaction.commit(); t = time.monotonic()", "t")
        while not listener.do("", "len(heard)"):
            time.sleep(0.002)
        delays.append(listener.do("", "heard[0]") - done)
    return float(statistics.median(delays))


def many_writers(writers: list[Child]) -> dict[str, str]:
    rates = {}
    for count in (1, WRITERS):
        for number, writer in enumerate(writers[:count]):
            writer.do(f"transaction.begin(); r['w{number}'] = 0; transaction.commit()")
        started = time.monotonic()
        for number, writer in enumerate(writers[:count]):
            writer.send(RETRY.format(number=number, count=COMMITS))
        for writer in writers[:count]:
            writer.receive()
        rates[f"commits/s of {count} writers"] = f"{count * COMMITS / (time.monotonic() - started):.0f}"
    return rates


# Each writer changes a name of its own in the same folder: ZODB merges them, or the writer tries again.
RETRY = """
from ZODB.POSException import ConflictError
n = 0
while n < {count}:
    try:
        transaction.begin(); r['w{number}'] = n; transaction.commit(); n += 1
    except ConflictError:
        transaction.abort()
"""


def idle(child: Child) -> float:
    """The share of one processor that a process uses while nothing happens."""
    started, before = time.monotonic(), spent(child.pid)
    time.sleep(2)
    return (spent(child.pid) - before) / (time.monotonic() - started)


def spent(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def clocked(child: Child, code: str) -> float:
    return float(child.do(f"import time; started = time.monotonic()\n{code}\n", "time.monotonic() - started"))


def timed(call: Any) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms" if abs(seconds) < 0.1 else f"{1000 * seconds:.0f} ms"
