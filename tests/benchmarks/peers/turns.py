"""The stores' processes take turns: one operation, all stores, in another order each time, until all turns are done."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.core_python import core_python

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORKER = HERE / "worker.py"
PATIENCE = float(os.environ.get("BENCH_PATIENCE", "1800"))


@dataclass
class Figures:
    """What one store gave for one operation: seconds by label and turn, or why there are none."""

    turns: list[dict[str, float]] = field(default_factory=list)
    anonymous: int = 0
    resident: int = 0
    error: str = ""


class Worker:
    """A store's process for one operation."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        env = {**os.environ, "PYTHONWARNINGS": "ignore", "WENDELIN_HOME": str(log.parent / "home")}
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=env
            )

    def turn(self, figures: Figures, *, sample: bool = False) -> dict[str, Any]:
        """Ask for a turn and wait; with `sample` note the peak of anonymous memory meanwhile."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(b"turn\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        end = time.monotonic() + PATIENCE
        while not select.select([self.process.stdout], [], [], 0.002 if sample else PATIENCE)[0]:
            if sample:
                figures.anonymous = max(figures.anonymous, self._status("RssAnon"))
            if time.monotonic() > end:
                self.process.kill()
                return {"error": f"no answer within {PATIENCE:.0f} s"}
        line = self.process.stdout.readline()
        figures.resident = max(figures.resident, self._status("VmHWM"))
        return dict(json.loads(line)) if line else {"error": f"ended: {self._last_words()}"}

    def _status(self, name: str) -> int:
        try:
            found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
        except OSError:
            return 0
        return int(found.group(1)) << 10 if found else 0

    def _last_words(self) -> str:
        self.process.wait(10)
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self.process.returncode}"

    def close(self) -> None:
        with self.process as process:  # closes the pipes and waits
            assert process.stdin is not None
            try:
                process.stdin.close()
                process.wait(60)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                process.kill()


def measure(operation: str, peers: list[str], place: Path, turns: int) -> dict[str, Figures]:
    """All turns of one operation; a store that fails keeps its error and leaves the round."""
    found = {peer: Figures() for peer in peers}
    with ExitStack() as stack:
        workers = {peer: stack.enter_context(started(peer, operation, place, turns)) for peer in peers}
        for turn in range(turns + 1):
            shift = turn % len(peers)
            for peer in peers[shift:] + peers[:shift]:
                figures = found[peer]
                if figures.error:
                    continue
                answer = workers[peer].turn(figures, sample=turn == 0)
                if "error" in answer:
                    figures.error = str(answer["error"])
                elif turn:
                    figures.turns.append(answer)
    return found


def once(peer: str, operation: str, place: Path) -> dict[str, Any]:
    """One turn of an operation, in a process of its own."""
    with started(peer, operation, place, 0) as worker:
        return worker.turn(Figures())


@contextmanager
def started(peer: str, operation: str, place: Path, turns: int) -> Iterator[Worker]:
    folder = place / peer / "bulk"
    folder.parent.mkdir(exist_ok=True)
    arguments = [peer, operation, str(folder), str(place / "data"), str(turns)]
    if peer == "core":
        command = [str(core_python()), "-I", str(WORKER)]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.peers.worker"]
    worker = Worker([*command, *arguments], place / f"{peer}.log")
    try:
        yield worker
    finally:
        worker.close()


def missing(peer: str) -> str:
    """Why a store cannot be measured here; empty when it can."""
    if peer == "core":
        if core_python():
            return ""
        return "no Python 3.10 with wendelin.core: run with WENDELIN_BENCH_CORE=1, or set it to such a Python's path"
    code = f"from tests.benchmarks.peers.worker import load; load({peer!r}, None)"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    lines = answer.stderr.strip().splitlines() or ["?"]
    return "" if answer.returncode == 0 else f"{lines[-1]}; python3 bootstrap.py bench storage installs it"
