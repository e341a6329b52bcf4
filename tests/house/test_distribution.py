"""The sdist has everything, the wheel built from it has everything, and what it installs works by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.repository import FLOORS, ROOT, tracked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMOKE = """
import importlib, pkgutil, sys
import numpy as np
import transaction
import wendelin

assert wendelin.__file__.startswith(sys.prefix), wendelin.__file__

db = wendelin.connect(sys.argv[1])
db.root()["plant/power"] = wendelin.ZBigArray((1000, 4), "f4")
db.root()["plant/power"][10:20] = 7
transaction.commit()
db.close()

db = wendelin.connect(sys.argv[1])
power = db.root()["plant/power"]
assert type(power[:]) is np.ndarray and power[:].sum() == 10 * 4 * 7
transaction.abort()
del power
db.close()

def failed(name):
    raise ImportError(name)

for module in pkgutil.walk_packages(wendelin.__path__, "wendelin.", onerror=failed):
    # Programs run when imported; configuration files are read by their servers.
    if not module.name.endswith((".__main__", ".jupyterhub_config", ".run")):
        importlib.import_module(module.name)
        print(module.name)
"""


def build(kind: str, source: Path, target: Path) -> Path:
    """The one file that `python -m build` makes, without a network."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        f"--{kind}",
        "--outdir",
        target,
        source,
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    [made] = target.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree."""
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the unpacked sdist."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    [source] = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def floor_files() -> set[str]:
    """The tracked files of the floors, as the package calls them."""
    return {f"wendelin/{name}" for name in tracked() if name.split("/")[0] in FLOORS}


def test_the_sdist_has_every_tracked_file(sdist: Path) -> None:
    """The floors under their package's name; what serves only the repository stays out."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    only_here = (".ci/", ".git", ".pre-commit")
    others = {name for name in tracked() if name.split("/")[0] not in FLOORS and not name.startswith(only_here)}
    links = {f"wendelin/{floor}" for floor in FLOORS}
    assert (floor_files() | others) - links - packed == set()


def test_the_wheel_has_every_file_of_the_floors(wheel: Path) -> None:
    """Code, notebooks, data, configuration, py.typed, licence; and no test."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert floor_files() - packed == set()
    assert {"wendelin/py.typed", "wendelin/testing.py"} <= packed
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)
    assert {name.split("/")[0] for name in packed if ".dist-info/" not in name and ".data/" not in name} == {"wendelin"}


def test_the_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that sees the locked packages and not this repository."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    uv_check = "import sys; sys.path.insert(0, '.ci'); from house.uv import get_uv; print(get_uv())"
    uv = subprocess.run([sys.executable, "-c", uv_check], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    install: list[str | Path] = [uv.split()[-1], "pip", "install", "--no-deps", "--offline", "--python", python, wheel]
    subprocess.run(install, capture_output=True, check=True)
    # A .pth inside a folder that a .pth names is not read: the editable installation stays out of sight.
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")

    (tmp_path / "smoke.py").write_text(SMOKE)
    command: list[str | Path] = [python, tmp_path / "smoke.py", f"file://{tmp_path}/db"]
    smoke = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert {f"wendelin.{floor}" for floor in FLOORS} <= set(smoke.stdout.split())

    kernels = tmp_path / "env" / "share" / "jupyter" / "kernels"
    assert json.loads((kernels / "wendelin" / "kernel.json").read_text())["display_name"] == "Wendelin"
    helped = subprocess.run([tmp_path / "env/bin/wendelin", "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in helped.stdout
