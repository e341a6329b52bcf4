"""A writer that is killed, again and again, at chosen points; then what it leaves is checked.

Each round forks a writer on the database that the rounds before left. It commits numbered transactions that change
many blocks of an array, append to another, and store the number, and acknowledges each. At a random system event (a
write, an fsync, a rename, a new directory, …) it kills itself with SIGKILL. Then, in every second round, the power
fails as well. The database must now hold the last acknowledged transaction, or the one in flight, whole.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import transaction

from tests.torture.powerloss import SKIPS, Recorder, lose_unsynced
from wendelin import ZBigArray
from wendelin.storage.database.connection import DB, Connection
from wendelin.storage.database.durable import DurableFileStorage

LENGTH = 1 << 18
STEP = 4099  # i8: writes a value into nearly every second page

#: Audit events of Python that change a file system; a kill before each of them is tried.
EVENTS = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod", "os.truncate", "shutil.rmtree"}

#: What can be taken out of the commit, to prove that the torture would notice.
SABOTAGES = ("fsync", "directory fsync", "vote")


@dataclass
class Round:
    """One killed writer: at which event it died, in which phase, what it had acknowledged, what was found."""

    event: str
    phase: str
    acknowledged: int
    power_failed: bool
    lost: list[str]
    violation: str = ""

    @property
    def inside_commit(self) -> bool:
        return self.phase != "program"


@dataclass
class Log:
    """What the rounds of a torture found."""

    rounds: list[Round] = field(default_factory=list)

    @property
    def violations(self) -> list[Round]:
        return [r for r in self.rounds if r.violation]

    @property
    def inside_commit(self) -> float:
        return sum(r.inside_commit for r in self.rounds) / max(len(self.rounds), 1)

    def __str__(self) -> str:
        lines = [f"{r.phase:8} {r.event:28} acknowledged {r.acknowledged:4} {r.violation}" for r in self.rounds]
        return "\n".join([f"{len(self.rounds)} kills, {self.inside_commit:.0%} inside a commit", *lines])


def torture(folder: Path, rounds: int, seed: int, sabotage: str = "") -> Log:
    """Kill `rounds` writers; stops at the first violation. `seed` repeats the same kill points."""
    chooser = random.Random(seed)
    state = folder / "state"
    state.mkdir(parents=True)
    assert _in_a_child(_create, state) == "0"  # so that nothing of it ends while the folder is looked at
    log, acknowledged = Log(), 0
    for number in range(rounds):
        power_fails = bool(number % 2) or bool(sabotage)
        outcome = _one_round(folder, chooser.randrange(1, 150), acknowledged, power_fails, sabotage)
        log.rounds.append(outcome)
        answer = outcome.violation or _in_a_child(_check, state)
        if answer not in (str(outcome.acknowledged), str(outcome.acknowledged + 1)):
            outcome.violation = f"acknowledged was {outcome.acknowledged}, the database holds {answer}"
            break
        acknowledged = int(answer)
    return log


def _one_round(folder: Path, kill_at: int, acknowledged: int, power_fails: bool, sabotage: str) -> Round:
    report, journal = folder / "report", folder / "journal"
    for file in (report, journal):
        file.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        try:
            _writer(folder / "state", report, journal, kill_at, acknowledged, sabotage)
        except BaseException as error:  # noqa: BLE001 (the parent reads it)
            with report.open("a") as log:
                log.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(3)
    _, status = os.waitpid(pid, 0)
    lines = report.read_text().splitlines()
    if not os.WIFSIGNALED(status):
        return Round("", "program", acknowledged, power_fails, [], f"the writer failed by itself: {lines[-1]}")
    event, phase = lines[-1].removeprefix("killed ").split("|")
    done = [int(line.removeprefix("acknowledged ")) for line in lines if line.startswith("acknowledged")]
    lost = lose_unsynced(folder / "state", journal) if power_fails else []
    return Round(event, phase, max(done, default=acknowledged), power_fails, lost)


class _Killer:
    """Counts system events and dies at the chosen one."""

    def __init__(self, report: Path, kill_at: int) -> None:
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._left = kill_at
        self._write = os.write
        self.phase = "program"

    def say(self, text: str) -> None:
        self._write(self._report, text.encode() + b"\n")

    def event(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.say(f"killed {name}|{self.phase}")
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        sys.addaudithook(lambda name, _: self.event(name) if name in EVENTS else None)
        os.write = self._counted("write", os.write)
        os.writev = self._counted("write", os.writev)
        os.fsync = self._counted("fsync", os.fsync)

    def _counted(self, name: str, real: Any) -> Any:
        def call(*args: Any) -> Any:
            self.event(name)
            return real(*args)

        return call

    def during(self, phase: str, owner: Any, name: str) -> None:
        """Name the phase while a method runs."""
        real = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            before, self.phase = self.phase, phase
            self.event(f"enter {name}")
            try:
                return real(*args, **options)
            finally:
                self.event(f"leave {name}")
                self.phase = before

        setattr(owner, name, call)


def _writer(state: Path, report: Path, journal: Path, kill_at: int, last: int, sabotage: str) -> None:
    recorder = Recorder(journal, SKIPS.get(sabotage, lambda path: False))
    recorder.note_all(state)
    recorder.install()
    if sabotage == "vote":
        DurableFileStorage.tpc_vote = lambda self, transaction: None  # type: ignore[method-assign]
    manager = transaction.TransactionManager()
    db = _open(state)
    root = db.open(manager).root()
    killer = _Killer(report, kill_at)
    for phase, owner, name in (
        ("flush", Connection, "beforeCompletion"),
        ("store", Connection, "commit"),
        ("vote", Connection, "tpc_vote"),
        ("finish", Connection, "tpc_finish"),
        ("remap", Connection, "afterCompletion"),
    ):
        killer.during(phase, owner, name)
    killer.install()
    view = root["array"][:]
    for number in range(last + 1, last + 1000):
        manager.begin()
        view[number % STEP :: STEP] = number
        root["log"].append([number])
        root["number"] = number
        killer.event("written")
        manager.commit()
        killer.say(f"acknowledged {number}")
        killer.event("acknowledged")


def _open(state: Path) -> DB:
    return DB(DurableFileStorage(str(state / "Data.fs"), blob_dir=str(state / "blobs")))


def _create(state: Path) -> int:
    manager = transaction.TransactionManager()
    db = _open(state)
    root = db.open(manager).root()
    root["array"] = ZBigArray((LENGTH,), "i8", blksize=1 << 16)
    root["log"] = ZBigArray((0,), "i8", blksize=1 << 16)
    root["number"] = 0
    manager.commit()
    db.close()
    return 0


def _in_a_child(work: Callable[[Path], int], state: Path) -> str:
    """What `work` finds, as text; a damaged mapping may kill the process that looks."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(work(state))
        except BaseException as error:  # noqa: BLE001 (the parent reads it)
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else answer


def _check(state: Path) -> int:
    """The number of the last transaction in the database; AssertionError when anything of it is torn or missing."""
    manager = transaction.TransactionManager()
    db = _open(state)
    try:
        root = db.open(manager).root()
        number: int = root["number"]
        np.testing.assert_array_equal(root["log"][:], np.arange(1, number + 1))
        expected = np.zeros(LENGTH, "i8")
        for n in range(max(1, number - 2 * STEP), number + 1):
            expected[n % STEP :: STEP] = n
        np.testing.assert_array_equal(root["array"][:], expected)
        return number
    finally:
        manager.abort()
        db.close()


def main() -> None:
    """`python -m tests.torture.crash [rounds] [seed] [sabotage]`: prints the log."""
    rounds, seed, sabotage = (*sys.argv[1:], *("1000", "0", "")[len(sys.argv) - 1 :])
    folder = Path("/tmp") / f"wendelin-torture-{os.getpid()}"
    try:
        sys.stdout.write(f"{torture(folder, int(rounds), int(seed), sabotage)}\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
