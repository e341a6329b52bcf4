"""The import contract holds, and would be seen to break."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import FLOORS, ROOT

RUN = "from importlinter.cli import lint_imports_command as run; run()"
IMPORTS = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*sorted(sys.modules))"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the contract of a repository's pyproject.toml."""
    command = [sys.executable, "-c", RUN, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_point_down() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert "2 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("import wendelin.kernel", "Imports point downward"),
        ("import tornado", "Storage knows neither Jupyter nor Dask"),
    ],
)
def test_a_wrong_import_is_seen(tmp_path: Path, line: str, broken: str) -> None:
    """… through the links as well."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "wendelin").mkdir()
    (tmp_path / "wendelin" / "__init__.py").touch()
    for floor in FLOORS:
        (tmp_path / floor).mkdir()
        (tmp_path / floor / "__init__.py").touch()
        (tmp_path / "wendelin" / floor).symlink_to(f"../{floor}")
    assert lint_imports(tmp_path).returncode == 0
    (tmp_path / "storage" / "wrong.py").write_text(f"{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert f"{broken} BROKEN" in result.stdout


@pytest.mark.parametrize("module", ["wendelin", "wendelin.storage.database.connect", "wendelin.storage.arrays.array"])
def test_storage_loads_no_jupyter(module: str) -> None:
    """Seen at run time too: a batch job that connects has no IPython in its memory."""
    result = subprocess.run([sys.executable, "-c", IMPORTS, module], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert module.split(".")[0] in loaded
    assert (
        loaded & {"IPython", "ipykernel", "jupyter_core", "jupyter_server", "dask", "distributed", "tornado"} == set()
    )
