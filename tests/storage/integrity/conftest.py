"""A small database with everything that can lie on a disk, and bits to flip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transaction import TransactionManager
from ZODB.blob import Blob

import wendelin
from wendelin.storage.testing.base import small_limits


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_HOME", str(tmp_path / "home"))


def fill(url: str, *, seed: int = 0, turns: int = 6) -> None:
    """Arrays with segments, pages, patches, appends and extent maps that were folded; folders, blobs, undone ones."""
    rng = np.random.default_rng(seed)
    manager = TransactionManager()
    conn = wendelin.connect(url, transaction_manager=manager)
    root = conn.root()
    with small_limits():
        root["plant/power"] = power = wendelin.ZBigArray((0, 8), "f4")
        root["plant/flags"] = flags = wendelin.ZBigArray((300_000,), "i4")
        root["note"] = Blob(rng.bytes(70_000))
        manager.commit()
        for turn in range(turns):
            power.append(rng.random((20_000, 8)).astype("f4"))
            flags[turn] = turn
            manager.commit()
            flags[1000 * turn : 1000 * turn + 3000] = turn
            manager.commit()
            root[f"turn {turn}"] = "\N{SUN}" * turn
            manager.get().note(f"turn {turn}")
            manager.get().setUser("somebody")
            manager.commit()
        power[:] = rng.random(power.shape)
        manager.commit()
    wendelin.undo(conn, wendelin.history(conn)[0])
    conn.close()


def flip(path: Path, at: int, bit: int) -> None:
    """Change one bit of a file that may be protected from writing."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))
    path.chmod(mode)


def everything(conn: Any) -> dict[str, bytes]:
    """The contents of all that `fill` makes."""
    root = conn.root()
    found = {name: root[name][:].tobytes() for name in ("plant/power", "plant/flags")}
    with root["note"].open() as file:
        found["note"] = file.read()
    return found | {name: str(root[name]).encode() for name in root if name.startswith("turn")}
