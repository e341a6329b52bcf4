"""Other processes for tests: a `Child` runs the Python that it is told, step by step."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOOP = """
import contextlib, json, os, sys
wire = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
names = {}
for line in sys.stdin:
    code, wanted = json.loads(line)
    try:
        exec(code, names)
        answer = ["ok", eval(wanted, names)]
    except BaseException as error:
        answer = ["error", type(error).__name__ + ": " + str(error)]
    wire.write(json.dumps(answer) + chr(10))
    wire.flush()
"""


class Failed(Exception):
    """What the child raised, as text."""


class Child:
    """A Python process of its own group, so that tests can kill it as a notebook is killed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, code: str, wanted: str = "None") -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([code, wanted]) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout
        kind, value = json.loads(self.process.stdout.readline() or '["error", "the child died"]')
        if kind == "error":
            raise Failed(value)
        return value

    def do(self, code: str, wanted: str = "None") -> Any:
        """Run `code` in the child, then return the value of the expression `wanted`."""
        self.send(code, wanted)
        return self.receive()

    def kill_group(self) -> None:
        import os

        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """Let it end as a program does; its exit status."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()
        return self.process.wait(60)


@contextmanager
def children(count: int = 1) -> Iterator[list[Child]]:
    """Processes that are killed at the end if they still live."""
    found = [Child() for _ in range(count)]
    try:
        yield found
    finally:
        for child in found:
            child.process.kill()
            child.process.wait()
            for pipe in (child.process.stdin, child.process.stdout):
                assert pipe
                pipe.close()
