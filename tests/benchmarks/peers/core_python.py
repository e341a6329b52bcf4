"""The Python 3.10 that has wendelin.core 0.13: one named by `WENDELIN_BENCH_CORE`, or one made below `.tools`."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Where `WENDELIN_BENCH_CORE=1` makes an environment.
PLACE = HERE.parents[2] / ".tools" / "wendelin-core"
#: What its setup.py imports: installed before it.
FIRST = ("numpy", "setuptools", "wheel")


@functools.cache
def core_python() -> Path | None:
    """A Python that imports wendelin.core, or None."""
    named = os.environ.get("WENDELIN_BENCH_CORE", "")
    for candidate in (named if named not in ("0", "1") else "", str(PLACE / "bin" / "python")):
        if candidate and shutil.which(candidate):
            command = [candidate, "-I", "-c", "import wendelin.bigarray.array_zodb"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return Path(candidate)
    return None


def make_core_python() -> str:
    """With `WENDELIN_BENCH_CORE=1` make the environment where there is none; what went wrong, or nothing."""
    if os.environ.get("WENDELIN_BENCH_CORE") != "1" or core_python() is not None:
        return ""
    python = next(
        filter(_is_310, ["python3.10", *map(str, Path.home().glob(".pyenv/versions/3.10*/bin/python"))]), None
    )
    if python is None:
        return "there is no Python 3.10 on PATH or below ~/.pyenv/versions"
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.parent.mkdir(exist_ok=True)
    pip = [str(PLACE / "bin" / "python"), "-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "-r"]
    for command in (
        [python, "-m", "venv", str(PLACE)],
        [*pip, str(_pins("first", wanted=True))],
        [*pip, str(_pins("rest", wanted=False)), "--no-build-isolation"],
    ):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            return f"{' '.join(command[:5])} … failed: {(answer.stderr.strip().splitlines() or ['?'])[-1]}"
    core_python.cache_clear()
    return ""


def _is_310(python: str) -> bool:
    command = [python, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 10))"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _pins(name: str, *, wanted: bool) -> Path:
    """The part of core.lock that is installed first, or the rest, as a file for pip."""
    blocks = re.findall(r"^\S+==[^\n]*\n(?:[ ]+[^\n]*\n)*", (HERE / "core.lock").read_text(), re.MULTILINE)
    chosen = [block for block in blocks if (block.split("==")[0] in FIRST) == wanted]
    target = PLACE.parent / f"wendelin-core-{name}.lock"
    target.write_text("".join(chosen))
    return target
