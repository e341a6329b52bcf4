"""One store and one operation in a process of its own: `worker.py PEER OPERATION FOLDER DATA TURNS`.

A line on standard input asks for a turn, a line of JSON on standard output is its figures. It runs by itself, so that
an interpreter that must not see this repository can run it too (wendelin.core's package is called `wendelin`).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
import types
from collections.abc import Generator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]


def stand_alone() -> None:
    """Make `tests.benchmarks` importable where the repository is not."""
    for name, folder in (("tests", BENCHMARKS.parent), ("tests.benchmarks", BENCHMARKS)):
        if name not in sys.modules:
            sys.modules[name] = module = types.ModuleType(name)
            module.__path__ = [str(folder)]


def load(peer: str, folder: Path) -> Any:
    """The store of that key in that folder."""
    from tests.benchmarks.peers import PEERS

    module, name = PEERS[peer].split(":")
    return getattr(importlib.import_module(module), name)(folder)


def turns(peer: str, operation: str, folder: Path, data: Path, number: int) -> Generator[dict[str, float], None, None]:
    """The figures of an operation's turns; the store is closed at the end."""
    import numpy as np

    if operation.startswith("age_"):
        from tests.benchmarks.peers.ageing import OPERATIONS as AGEING

        yield from AGEING[operation](folder.parent)
        return
    from tests.benchmarks.peers.operations import OPERATIONS

    values = np.fromfile(data) if operation == "fill" else np.memmap(data, "f8", "r")
    store = load(peer, folder)
    try:
        yield from OPERATIONS[operation](store, values, number)
    finally:
        store.close()


def main() -> None:
    """Answer until standard input ends. What libraries print goes to standard error."""
    stand_alone()
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    peer, operation, folder, data, number = sys.argv[1:]
    asked = iter(sys.stdin)
    try:
        iterator = turns(peer, operation, Path(folder), Path(data), int(number))
        for _ in asked:
            out.write(json.dumps(next(iterator)) + "\n")
        iterator.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, its row says it
        traceback.print_exc()
        out.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")


if __name__ == "__main__":
    main()
