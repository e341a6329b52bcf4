"""Several processes on one database, killed again and again: writers, appenders, readers, a packer, the server.

Each round one of them dies by SIGKILL: at a random moment, or where the torture planned, at the n-th system event
inside a phase of a commit. In some rounds the power fails: all die, and the folder is cut back to what was synced.
Then a fresh process looks whether what was acknowledged is there and nothing is torn, and the dead are replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transaction

import wendelin
from tests import processes
from tests.storage.database.servers import wait_until
from tests.torture import invariants, kinds, refusals
from tests.torture.invariants import Promises
from tests.torture.marks import Marks
from tests.torture.powerloss import Recorder, lose_unsynced
from tests.torture.recorded import SLOT
from tests.torture.roles import ROLES, transient
from wendelin.storage.errors import UnavailableError

#: What can be taken out of the commit, to prove that the torture would notice.
SABOTAGES = ("fsync", "directory fsync", "vote")

CAST = ("writer-0", "writer-1", "appender-0", "appender-1", "reader-0", "packer-0")
WRITERS = APPENDERS = 2
CLIENT_PHASES = ("flush", "store", "vote", "finish", "remap")
SERVER_PHASES = ("store", "vote", "finish", "pack")
PLAN_SECONDS = 3.0
CHECK_SECONDS = 120.0
ANSWER_SECONDS = 30.0


@dataclass
class Kill:
    """One round: who died, in which phase and at which event, and what was wrong afterwards."""

    victim: str
    phase: str
    event: str = ""
    lost: int = 0
    violation: str = ""

    @property
    def inside_commit(self) -> bool:
        return self.phase not in ("program", "pack")


@dataclass
class Log:
    """What a torture found."""

    kills: list[Kill] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def violations(self) -> list[Kill]:
        return [kill for kill in self.kills if kill.violation]

    @property
    def inside_commit(self) -> float:
        return sum(kill.inside_commit for kill in self.kills) / max(len(self.kills), 1)

    def __str__(self) -> str:
        lines = [f"{k.victim:12} {k.phase:8} {k.event:24} lost {k.lost:3} {k.violation}" for k in self.kills]
        return "\n".join(
            [*lines, f"{len(self.kills)} kills, {self.inside_commit:.0%} inside a commit", f"acknowledged: "
             f"{self.acknowledged}", f"conflicts: {self.conflicts}", f"why: {self.reasons or 'none'}"]
        )  # fmt: skip


class Cluster:
    """The processes and the killer."""

    def __init__(self, place: Path, kind: kinds.Kind, seed: int, sabotage: str) -> None:
        self.place, self.kind, self.sabotage = place, kind, sabotage
        self.random = random.Random(seed)
        self.marks = Marks(place / "marks", slots=len(CAST) + 1)
        self.pids: dict[str, int] = {}
        self.log = Log()

    def play(self, rounds: int, seconds: float) -> Log:
        """Kill until `rounds` are over, or `seconds`, or something is wrong."""
        end = time.monotonic() + seconds
        (self.place / "journal").touch()
        failed = self.in_a_child(self.create)
        assert not failed, failed
        # What is taken out is taken out of commits, not of making the database.
        self.kind.take_out(self.sabotage)
        Recorder(self.place / "journal").note_all(self.kind.state)
        self.start()
        while len(self.log.kills) < rounds and time.monotonic() < end and not self.log.violations:
            kill = self.one_round()
            self.log.kills.append(kill)
            try:
                self.kind.start()
                kill.violation = self.in_a_child(self.check) or self.reported()
                self.start()
            except UnavailableError as error:
                kill.violation = f"the server does not start: {error}"
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for name in CAST:
            promises = Promises(self.place, name)
            self.log.acknowledged[name] = promises.last("ok")
            self.log.conflicts[name] = len(promises.all("conflict"))
        self.log.reasons = self.reasons()
        unexpected = [reason for reason in self.log.reasons if reason.startswith(refusals.UNEXPECTED)]
        if unexpected and not self.log.violations:
            self.log.kills[-1].violation = "\n".join(unexpected)
        return self.log

    def start(self) -> None:
        """Start the server and who is missing."""
        self.kind.start()
        for slot, name in enumerate(CAST, SLOT + 1):
            if name in self.pids:
                continue
            self.marks.reset(slot)
            seed = self.random.randrange(1 << 30)
            pid = os.fork()
            if pid == 0:
                die_with_parent()
                role = ROLES[name.partition("-")[0]]
                role(self.place, self.kind.url, name, slot, self.sabotage, seed).run()
            self.pids[name] = pid

    def one_round(self) -> Kill:
        chance = self.random.random()
        if self.kind.loses_power and (chance < 0.2 or (self.sabotage and chance < 0.6)):
            return self.power_failure()
        if self.kind.has_server and chance < 0.4:
            return self.kill_server()
        return self.kill_client(self.random.choice(CAST))

    def kill_client(self, name: str) -> Kill:
        slot = CAST.index(name) + SLOT + 1
        if name.startswith(("writer", "appender")) and self.random.random() < 0.8:
            self.marks.plan(slot, self.random.choice(CLIENT_PHASES), self.random.randrange(1, 12))
        else:
            time.sleep(self.random.random() * 0.2)
            self.marks.plan(slot, "program", 0)
            os.kill(self.pids[name], signal.SIGKILL)
        self.bury(name, PLAN_SECONDS)
        return Kill(name, self.marks.phase(slot), self.marks.last_event(slot))

    def kill_server(self) -> Kill:
        """Aimed at a phase of its own, or, where it is somebody else's program, of a client."""
        self.marks.reset(SLOT)
        if self.kind.server_pid() and self.random.random() < 0.7:
            return self.planned_server()
        phase = self.await_phase(self.random.choice(("vote", "finish", "program")))
        self.kind.kill_server()
        return Kill("server", phase)

    def planned_server(self) -> Kill:
        running = self.kind.server_pid()
        self.marks.plan(SLOT, self.random.choice(SERVER_PHASES), self.random.randrange(1, 12))
        end = time.monotonic() + PLAN_SECONDS
        while not self.marks.last_event(SLOT) and time.monotonic() < end:
            time.sleep(0.002)
        phase, event = self.marks.phase(SLOT), self.marks.last_event(SLOT)
        if not event:
            self.kind.kill_server()
        wait_until(lambda: not processes.living([running]), "the end of the server")
        self.marks.reset(SLOT)
        return Kill("server", phase, event)

    def power_failure(self) -> Kill:
        """All die while a client or the server is in a phase; what was not synced is lost."""
        phase = self.await_phase(self.random.choice(CLIENT_PHASES))
        for pid in self.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)  # so that nobody starts the server again
        self.kind.kill_server()
        for name in CAST:
            self.bury(name, 0)
        self.kind.kill_rest()
        journal = self.place / "journal"
        lost = lose_unsynced(self.kind.state, journal)
        kinds.forget_caches(self.place)
        journal.write_bytes(b"")
        Recorder(journal).note_all(self.kind.state)
        return Kill("power", phase, lost=len(lost))

    def await_phase(self, wanted: str) -> str:
        """Wait until a writing client is in this phase, and return the phase; another one when none is for long."""
        slots = [slot for slot, name in enumerate(CAST, SLOT + 1) if name.startswith(("writer", "appender"))]
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            for slot in slots:
                if self.marks.phase(slot) == wanted:
                    return wanted
        return self.marks.phase(slots[0])

    def bury(self, name: str, patience: float) -> None:
        """Wait until a client is dead; kill it when it lives on."""
        pid, end = self.pids.pop(name), time.monotonic() + patience
        while time.monotonic() < end:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def reported(self) -> str:
        """What the processes themselves found: no two of them ever write the same block, so they must not conflict."""
        try:
            return (self.place / "violations").read_text()
        except FileNotFoundError:
            return "\n".join(reason for reason in self.reasons() if reason.startswith(refusals.UNEXPECTED))

    def reasons(self) -> dict[str, int]:
        """Why transactions conflicted."""
        return refusals.reasons(self.place, [line for n in CAST for line in Promises(self.place, n).all("conflict")])

    def in_a_child(self, task: Any) -> str:
        """Run `task` in a process of its own; what it raised, "" when nothing."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            answer = ""
            try:
                signal.alarm(int(CHECK_SECONDS))
                task()
            except BaseException:  # noqa: BLE001 (the parent reads it)
                answer = traceback.format_exc()
            os.write(writer, answer[-60_000:].encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        _, status = os.waitpid(pid, 0)
        return f"who looked was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else answer

    def create(self) -> None:
        self.kind.start()
        connection = wendelin.connect(self.kind.url)
        invariants.create(connection.root(), WRITERS)
        transaction.commit()
        connection.close()

    def check(self) -> None:
        """A fresh process's look: what was acknowledged before is there, what is there was tried."""
        promises = {name: Promises(self.place, name) for name in CAST if name.startswith(("writer", "appender"))}
        acknowledged = {name: promise.last("ok") for name, promise in promises.items()}
        found = self.look()
        for name, promise in promises.items():
            tried = promise.last("try")
            assert acknowledged[name] <= found[name] <= tried, (
                f"{name} was acknowledged {acknowledged[name]} and tried {tried}; the database holds {found[name]}"
            )

    def look(self) -> dict[str, int]:
        """The last numbers stored; tries again while the server has not come up."""
        end, patient = time.monotonic() + ANSWER_SECONDS, transient(self.kind.url)
        while True:
            self.kind.start()
            try:
                connection = wendelin.connect(self.kind.url)
                return invariants.last_numbers(connection.root(), WRITERS, APPENDERS)
            except patient:
                if time.monotonic() > end:
                    raise
            with contextlib.suppress(*patient):
                transaction.abort()


def die_with_parent() -> None:
    """Let the kernel kill this child when the killer itself is gone."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def torture(place: Path, kind: str, rounds: int, seed: int, sabotage: str = "", seconds: float = 1e9) -> Log:
    """Torture a fresh database of `kind` below `place`; stops at the first violation."""
    with kinds.opened(kind, place) as opened:
        return Cluster(place, opened, seed, sabotage).play(rounds, seconds)
