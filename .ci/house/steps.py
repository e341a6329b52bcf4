"""One quiet step: a line on screen, a log, a stamp; and where everything lies."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


class StopError(Exception):
    """A step failed: the message says what happened and what to do."""


def log_of(title: str) -> Path:
    """The log file of a step; its folder exists."""
    (TOOLS / "log").mkdir(parents=True, exist_ok=True)
    return TOOLS / "log" / (re.sub(r"\W+", "-", title.lower()).strip("-") + ".log")


def step(
    title: str, command: Sequence[str | Path], hint: str, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> None:
    """Run one command quietly: one line on screen, its output in a log, the log's tail when it fails."""
    log, start = log_of(title), time.monotonic()
    print(f"  {title} … ", end="", flush=True)
    with log.open("wb") as out:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, check=False
        ).returncode
    if code == 0:
        print(f"{time.monotonic() - start:.1f} s", flush=True)
        return
    print("failed", flush=True)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    raise StopError(f"{tail}\n\n{title}: exit status {code}; the whole log is {log.relative_to(ROOT)}.\n{hint}")


def digest(*parts: object) -> str:
    """One hash over files (their bytes) and anything else (its JSON)."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else json.dumps(part, sort_keys=True).encode()
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def is_fresh(stamp: Path, value: str) -> bool:
    """Whether what the stamp vouches for was made from the same input."""
    return stamp.is_file() and stamp.read_text() == value


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Two bootstraps in one clone take turns."""
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  waiting for another bootstrap.py in this clone …", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def one_pin(name: str) -> Path:
    """The lines of one package out of bootstrap.lock, as a requirements file for pip and uv."""
    found = re.search(rf"^{name}==[^\n]*\n(?:[ ]+[^\n]*\n)*", (ROOT / "bootstrap.lock").read_text(), re.MULTILINE)
    if found is None:
        raise StopError(f"bootstrap.lock does not pin {name}. Run: python3 bootstrap.py lock")
    target = TOOLS / f"{name}.lock"
    TOOLS.mkdir(exist_ok=True)
    target.write_text(found.group())
    return target
