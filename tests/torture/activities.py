"""Torture of activities: workers, dispatchers, schedulers and the database server are killed or stopped at random.

Each activity appends its own number and place to one array, which merges; chains wait for each other by tags, and short
ones that wait for nobody come by the dozen, so that they share calls and commits. At the end every effect must be there
exactly once, in order, and nothing may be left: no message, no process.
`python -m tests.torture.activities FOLDER --kills 50 --engine mixed`

Nodes are two: each with workers of its own (local), each with the same Dask cluster (dask), or one of either kind
(mixed). The one that does not dispatch works for the other.

A message whose worker is killed three times while it runs it fails, and waits for a person. In hundreds of kills that
happens by chance; such ones are run again, as a person would, and counted (`helped`). Any other failure is a violation.

`--sabotage` takes out the conflict on the message's record: then two runs of one message both count, which must show.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import transaction
from ZODB.POSException import ConflictError

import wendelin
from tests.torture.marks import children
from wendelin import ZBigArray
from wendelin.storage.activities.message import FAILED
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.errors import UnavailableError

if TYPE_CHECKING:
    from tests.torture.schedulers import Cluster

ROOT = Path(__file__).resolve().parents[2]
CHAINS, PATIENCE = 4, 120.0

#: Instead of a chain, for those that are in none; and how many of them come together.
FREE, BURST = -1, 40


def effect(log: ZBigArray, number: int, chain: int, place: int) -> None:
    """What one activity does."""
    log.append([[number, chain, place]])
    time.sleep(random.random() * 0.05)


def short_effect(log: ZBigArray, number: int) -> None:
    """What many do in one commit; now and then one that takes long, so that others are given back."""
    log.append([[number, FREE, 0]])
    if number % 97 == 0:
        time.sleep(0.7)


class Torture:
    """One run in a folder."""

    def __init__(self, folder: Path, seed: int, *, engine: str = "local", sabotage: bool = False) -> None:
        self.url = f"local://{folder}/db"
        self.random = random.Random(seed)
        if sabotage:  # for the server, the nodes and their workers
            os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests/torture/sabotage"), str(ROOT)])
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.log = (folder / "nodes.log").open("ab")
        self.engines = {"local": ["local"], "dask": ["dask"], "mixed": ["local", "dask"]}[engine]
        self.started = 0
        self.cluster: Cluster | None = None
        if engine != "local":
            from tests.torture.schedulers import Cluster

            self.cluster = Cluster(folder, self.log)
        self.made = 0
        self.places = [0] * CHAINS
        self.helped = 0
        self.kills: dict[str, int] = {}
        self.manager = transaction.TransactionManager()
        self.connection = wendelin.connect(self.url, transaction_manager=self.manager)
        with self.manager:
            self.connection.root()["log"] = ZBigArray((0, 3), "i8")
            self.connection.root()["activities"] = ActivityQueue()

    def run(self, kills: int) -> dict[str, Any]:
        """Create, kill, wait; what was found."""
        try:
            for _ in range(2):
                self.start_node()
            for _ in range(kills):
                self.create()
                time.sleep(self.random.random() * 0.3)
                self.hurt()
            for process in self.nodes:
                process.send_signal(signal.SIGCONT)
            left = self.wait()
            return self.verdict(left)
        finally:
            self.end()

    def start_node(self) -> None:
        """One more process that dispatches and works."""
        command = [sys.executable, "-m", "wendelin.kernel.activity.node", "--database", self.url, "--workers", "2"]
        kind = self.engines[self.started % len(self.engines)]
        self.started += 1
        command += ["--name", f"{kind}-{self.started}"]
        if kind == "dask" and self.cluster is not None:
            command += ["--scheduler", self.cluster.address]
        self.nodes.append(subprocess.Popen(command, cwd=ROOT, stdout=self.log, stderr=self.log, start_new_session=True))

    def create(self) -> None:
        """Some transactions that leave activities; those that the kill of the server cuts leave none."""
        for _ in range(self.random.randrange(1, 4)):
            made, places = self.made, list(self.places)
            try:
                self.manager.begin()
                log = self.connection.root()["log"]
                for _ in range(self.random.randrange(1, 6)):
                    chain = self.random.randrange(CHAINS)
                    place = places[chain]
                    group = {"group_method_id": "", "group_method_cost": 0.3} if self.random.random() < 0.3 else {}
                    wendelin.operation(effect)
                    log.activate(
                        tag=f"{chain}:{place}", after_tag=f"{chain}:{place - 1}", max_retry=100, delay=0.1, **group
                    ).effect(made, chain, place)
                    made, places[chain] = made + 1, place + 1
                if self.random.random() < 0.5:
                    wendelin.operation(short_effect)
                    for _ in range(BURST):
                        log.activate(max_retry=100, delay=0.1).short_effect(made)
                        made += 1
                self.manager.commit()
                self.made, self.places = made, places
            except (UnavailableError, ConflictError) as error:
                self.manager.abort()
                if "succeeded or not" in str(error):
                    self.look(made, places)

    def look(self, made: int, places: list[int]) -> None:
        """The server was killed within a commit: did it take place?"""
        for _ in range(100):
            try:
                with self.manager:
                    queue = queue_of(self.connection)
                    numbers = {int(row[0]) for row in self.connection.root()["log"][:]}
                    waiting = {message.options.tag for message in queue or ()}
            except (UnavailableError, ConflictError):
                time.sleep(0.1)
                continue
            tags = {f"{chain}:{place}" for chain, place in enumerate(self.places) if places[chain] > place}
            if self.made in numbers or tags & waiting:
                self.made, self.places = made, places
            return

    def hurt(self) -> None:
        """Kill or stop somebody."""
        ways = ["worker", "worker", "node", "stop", "server", *(["scheduler"] if self.cluster else [])]
        what = self.random.choice(ways)
        alive = [process for process in self.nodes if process.poll() is None]
        self.nodes = alive
        if self.cluster is not None:
            self.cluster.keep()
        if what == "scheduler" and self.cluster is not None:
            self.cluster.kill_scheduler()
        elif what == "server":
            from wendelin.storage.database import ondemand
            from wendelin.storage.database.urls import LocalURL, parse

            place = parse(self.url)
            found = ondemand.find(place.folder) if isinstance(place, LocalURL) else None
            if found is not None:
                os.kill(found.pid, signal.SIGKILL)
        elif what == "worker":
            workers = [pid for process in alive for pid in children(process.pid)]
            workers += [] if self.cluster is None else self.cluster.working()
            if workers:
                _signal(self.random.choice(workers), signal.SIGKILL)
        elif what == "node" and alive:
            self.random.choice(alive).kill()
            self.start_node()
        elif what == "stop" and alive:
            self.create()
            leader = self.leader()
            self.stop_for_a_while([*children(leader), leader] if leader else [])
        self.kills[what] = self.kills.get(what, 0) + 1

    def leader(self) -> int:
        """The node that dispatches, as soon as its workers have something to do."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                with self.manager:
                    queue = queue_of(self.connection)
                    if queue is not None and not queue.lease.is_free and queue.board:
                        return int(queue.lease.holder.rpartition(":")[2])
            except (UnavailableError, ConflictError):
                time.sleep(0.1)
        return 0

    def stop_for_a_while(self, pids: list[int]) -> None:
        """A node and its workers stand still, another one takes over, and they go on where they were."""
        for pid in pids:
            _signal(pid, signal.SIGSTOP)
        time.sleep(5 + self.random.random())
        for pid in pids:  # the workers first: their dispatcher would end them
            _signal(pid, signal.SIGCONT)
            time.sleep(0.1)

    def wait(self) -> int:
        """Until nothing is left to do; how many messages are left when none has ended for too long."""
        deadline, left = time.monotonic() + PATIENCE, -1
        before = left
        while time.monotonic() < deadline and left:
            if left != before:  # it goes on, however slow this machine is
                deadline, before = time.monotonic() + PATIENCE, left
            time.sleep(0.1)
            if self.cluster is not None:
                self.cluster.keep()
            if not [process for process in self.nodes if process.poll() is None]:
                self.start_node()
            try:
                with self.manager:
                    left = self.help()
            except (UnavailableError, ConflictError):
                continue
        return left

    def help(self) -> int:
        """Run again what has failed because its worker was killed three times; how many messages are left."""
        queue, left = queue_of(self.connection), 0
        for message in queue or ():
            left += 1
            if queue is not None and message.state == FAILED and "its worker died" in message.error:
                queue.retry(message)
                self.helped += 1
        return left

    def verdict(self, left: int) -> dict[str, Any]:
        """What is wrong, if anything."""
        self.manager.begin()
        rows: np.ndarray[Any, Any] = np.asarray(self.connection.root()["log"]).copy()
        numbers = rows[:, 0].tolist()
        wrong = [f"{left} messages are left"] if left else []
        if missing := set(range(self.made)) - set(numbers):
            wrong.append(f"effects are missing: {sorted(missing)[:10]}")
        if len(numbers) != len(set(numbers)):
            wrong.append(f"{len(numbers) - len(set(numbers))} effects happened twice")
        for chain in range(CHAINS):
            places = rows[rows[:, 1] == chain][:, 2].tolist()
            if not wrong and places != sorted(places):
                wrong.append(f"chain {chain} is out of order")
        return {"activities": self.made, "kills": self.kills, "helped": self.helped, "violations": wrong}

    def end(self) -> None:
        """Stop everybody; what is left of them is a violation of the caller's."""
        pids = [pid for process in self.nodes for pid in (process.pid, *children(process.pid))]
        pids += [] if self.cluster is None else self.cluster.pids()
        for process in self.nodes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.nodes:
            process.wait(60)
        if self.cluster is not None:
            self.cluster.stop()
        self.manager.abort()
        self.connection.close()
        from wendelin.storage.database.status import stop

        stop(self.url)
        self.log.close()
        deadline = time.monotonic() + 10
        while (zombies := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not zombies, f"processes are left: {zombies}"


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("local", "dask", "mixed"), default="local")
    parser.add_argument("--sabotage", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    given = {"engine": options.engine, "sabotage": options.sabotage}
    found = Torture(options.folder, options.seed, **given).run(options.kills)
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.exit(bool(found["violations"]))


if __name__ == "__main__":
    main()
