"""The runner of benchmarks: what it finds, what it says, what it writes. No figure is judged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as runner
from tests.benchmarks.peers import PEERS, TITLES
from tests.benchmarks.peers.goals import Goal
from tests.benchmarks.peers.picture import picture
from tests.benchmarks.peers.tables import Run, tables
from tests.benchmarks.peers.turns import Figures

ROOT = Path(__file__).resolve().parents[2]


def test_every_benchmark_has_a_name_and_a_main() -> None:
    assert {"arrays", "database", "storage"} <= set(runner.names())
    for name in runner.names():
        module: Any = runner.load(name)
        assert module.NAME
        assert callable(module.main)


def test_an_unknown_name_tells_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark 'arays'. There are: .*arrays"):
        runner.load("arays")


def test_a_table_replaces_the_one_before() -> None:
    """Other sections and the text around them stay as they are."""
    page = runner.put("# Benchmarks\n\nText.\n", "a", "Arrays", "old\n\n| a |")
    page = runner.put(page, "b", "Base", "| b |")
    again = runner.put(page, "a", "Arrays", "new\n\n| a |")
    assert again == page.replace("old", "new")
    assert again.startswith("# Benchmarks\n\nText.\n")
    assert again.count("## ") == 2


def test_the_machine_is_told() -> None:
    """Figures without their machine mean nothing."""
    told = runner.machine()
    assert "GiB" in told
    assert "Python 3." in told
    assert "?" not in told


def test_make_takes_names_behind_bench(tmp_path: Path) -> None:
    """`make bench storage`, although a folder of that name is there; ARGS are handed on."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)

    def make(*words: str) -> str:
        command = ["make", "--no-print-directory", f"PYTHON={python}", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    assert make("bench", "storage", "ARGS=--write") == "bootstrap.py bench storage --write"
    assert make("bench", "ARGS=arrays kernel") == "bootstrap.py bench arrays kernel"
    assert make("bench") == "bootstrap.py bench"
    assert make("lint") == "bootstrap.py lint"


@pytest.fixture
def run() -> Run:
    """Made-up figures: h5py takes four times our time; zarr is not there; icechunk failed."""
    found = Run(10**9, ["local", "h5py", "icechunk"], {"zarr": "No module named 'zarr'"})
    found.figures["update"] = {
        "local": Figures([{"update": 0.001}, {"update": 0.003}, {"update": 0.002}], 1 << 20, 2 << 20),
        "h5py": Figures([{"update": 0.004}, {"update": 0.012}, {"update": 0.008}], 3 << 20, 4 << 20),
        "icechunk": Figures([], 0, 0, "OSError: no space"),
    }
    return found


def test_a_store_is_divided_by_ours_turn_by_turn(run: Run) -> None:
    """Medians; what is missing or failed says why instead of standing as zero."""
    told = tables(run)
    assert "| Wendelin, `local://` | 2.00 ms |" in told
    assert "| h5py | 8.00 ms · 4× |" in told
    assert "zarr 3 was not measured: No module named 'zarr'" in told
    assert "icechunk failed at `update`: OSError: no space" in told
    assert "3 / 4" in told


def test_a_goal_is_met_missed_or_not_measured() -> None:
    assert Goal("scan", "≥ 0.98", 0.98, 0.98, "0.98").row()[-1] == "met"
    assert Goal("scan", "≥ 0.98", 0.97, 0.98, "0.97").row()[-1] == "**missed**"
    assert Goal("read", "≤ 2×", 2.1, 2.0, "2.1×", at_least=False).row()[-1] == "**missed**"
    assert Goal("read", "≤ 2×", None, 2.0, "no store", at_least=False).row()[-2:] == ["no store", "not measured"]
    assert Goal("open", "≤ 20 ms", None, 20, "failed: OSError: x", at_least=False).row()[-1] == "**failed**"


def test_the_picture_draws_each_store_that_has_a_figure(run: Run) -> None:
    """Bars start at zero and keep the figures' proportions."""
    [(name, drawn)] = picture(run).items()
    assert name.endswith(".svg")
    bars = [float(width) for width in re.findall(r'<rect class="(?:ours|other)"[^>]* width="([0-9.]+)"', drawn)]
    assert len(bars) == 2
    assert bars[1] == pytest.approx(4 * bars[0], abs=0.3)
    assert picture(Run(8, ["local"], {})) == {}


@pytest.mark.slow
def test_stores_are_measured_side_by_side(tmp_path: Path) -> None:
    """The whole benchmark on one MiB, with the stores that are here: nothing failed, every goal has its line."""
    sizes = {"MIB": "1", "TURNS": "1", "APPENDS": "4", "UPDATES": "10", "BLOCKS": "300"}
    env = {**os.environ, **{f"BENCH_{name}": value for name, value in sizes.items()}, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.benchmarks", "storage"]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    told = result.stdout
    assert "failed" not in told, told
    absent = set(re.findall(r"^- (.*) was not measured: ", told, re.MULTILINE))
    assert absent.isdisjoint(TITLES[peer] for peer in ("local", "file", "memmap", "bare"))
    for peer in PEERS:
        rows = [line for line in told.splitlines() if line.startswith(f"| {TITLES[peer]} |")]
        assert len(rows) == (0 if TITLES[peer] in absent else 4), TITLES[peer]
    goals = told.split("### Goals")[1]
    assert len(re.findall(r"\| (met|\*\*missed\*\*|not measured) \|$", goals, re.MULTILINE)) == 16
    assert list(tmp_path.iterdir()) == [], "what was measured is gone"
