"""How long the Wendelin kernel takes to start, against a plain ipykernel.

From the start of the process to the reply to `kernel_info`, which is when a front end shows the kernel as ready, and
to the result of the first cell, sent right behind it. Starts alternate between the kernels, so that a busy machine is
busy for both. The database's server runs already, as it does for every notebook but a user's first.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

import wendelin
from tests import processes

NAME = "Kernel start"

STARTS = 12
NUMPY = "import numpy"


def start(module: str, cell: str) -> tuple[float, float]:
    """Seconds to the kernel_info reply and to the first cell's result."""
    context = zmq.Context()
    context.setsockopt(zmq.RECONNECT_IVL, 2)  # milliseconds: the client notices a socket as soon as it is there
    manager = KernelManager(context=context)
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", module, "-f", "{connection_file}"], language="python", display_name=module
    )
    begin = time.perf_counter()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.kernel_info(reply=True, timeout=60)
        ready = time.perf_counter() - begin
        client.execute(cell, reply=True, timeout=60)
        return ready, time.perf_counter() - begin
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        context.term()


def measure() -> dict[tuple[str, str], tuple[float, float]]:
    """Medians, by kernel and first cell."""
    cases = [
        ("ipykernel_launcher", "1 + 1"),
        ("wendelin.kernel", "1 + 1"),
        ("ipykernel_launcher", NUMPY),
        ("wendelin.kernel", "list(root)"),
    ]
    times: dict[tuple[str, str], list[tuple[float, float]]] = {case: [] for case in cases}
    for number in range(STARTS + 1):
        for case in cases:
            took = start(*case)
            if number:  # the first round fills the system's file cache
                times[case].append(took)
    return {
        case: (statistics.median(t[0] for t in took), statistics.median(t[1] for t in took))
        for case, took in times.items()
    }


def main() -> str:
    """The table."""
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:
        changed = {"WENDELIN_HOME": folder, "XDG_RUNTIME_DIR": str(Path(folder) / "run"), "IPYTHONDIR": folder}
        Path(changed["XDG_RUNTIME_DIR"]).mkdir(mode=0o700)
        before = {name: os.environ.get(name) for name in [*changed, "WENDELIN_DB"]}
        os.environ.update(changed)
        os.environ.pop("WENDELIN_DB", None)
        try:
            wendelin.connect().close()
            medians = measure()
        finally:
            processes.stop(processes.started_with("WENDELIN_HOME", folder))
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    plain, ours, numpy, database = medians.values()
    rows = [
        ("`kernel_info` reply", plain[0], ours[0]),
        ("first cell `1 + 1`", plain[1], ours[1]),
        ("first cell `list(root)` against `1 + 1`", plain[1], database[1]),
        ("first cell `list(root)` against `import numpy`", numpy[1], database[1]),
    ]
    lines = [f"| {what} | {a:.3f} | {b:.3f} | {b / a:.2f} |" for what, a, b in rows]
    head = [f"| median of {STARTS} starts, seconds | ipykernel | Wendelin | ratio |", "|---|---|---|---|"]
    return "\n".join([*head, *lines])
