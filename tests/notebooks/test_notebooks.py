"""The notebooks run as they are, top to bottom, and are committed without outputs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import wendelin
from wendelin.kernel import install

HERE = Path(wendelin.__file__).parent / "notebooks" / "solar"
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))


def read(name: str) -> Any:
    return nbformat.read(HERE / name, as_version=4)


def run(notebook: Any, kernel: str) -> str:
    """Run all cells in a kernel of its own and give their text outputs."""
    NotebookClient(notebook, kernel_name=kernel, timeout=280).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    streams = "".join(output.get("text", "") for output in outputs)
    shown = "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in outputs)
    return streams + shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_valid_and_committed_without_outputs(path: Path) -> None:
    notebook = read(path.name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_dashboard_says_what_it_is() -> None:
    """The hub's list of dashboards reads this."""
    said = json.loads((HERE / "dashboard.ipynb").read_text())["metadata"]["wendelin"]["dashboard"]
    assert said["title"] == "Solar fleet"
    assert said["description"]


def test_each_notebook_names_its_kernel() -> None:
    kernels = {path.name: read(path.name).metadata.kernelspec for path in NOTEBOOKS}
    assert kernels["solar.ipynb"] == {"name": "wendelin", "display_name": "Wendelin", "language": "python"}
    assert kernels["dashboard.ipynb"]["name"] == "python3"


@pytest.mark.slow
def test_the_analysts_notebook_runs_on_the_wendelin_kernel(
    wendelin_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an empty database: it loads the five systems by itself, and finds what the tests of its parts find."""
    install.install(prefix=str(wendelin_home / "prefix"))
    monkeypatch.setenv("JUPYTER_PATH", str(wendelin_home / "prefix" / "share" / "jupyter"))
    shown = run(read("solar.ipynb"), "wendelin")
    assert "system 1422, Burlington, Vermont: loaded 15207 rows" in shown
    rate = re.search(r"measured\s+([+−-]\d\.\d\d) %/year", shown)
    moved = re.search(r"moved by ([+−-]\d\.\d\d)", shown)
    assert rate is not None
    assert moved is not None
    assert -0.63 <= float(rate.group(1)) <= -0.30
    assert float(moved.group(1)) == pytest.approx(-1.0, abs=0.1)
    assert "only 37 of the" in shown


@pytest.mark.slow
@pytest.mark.usefixtures("wendelin_home")
def test_the_dashboards_notebook_runs_on_a_stock_kernel() -> None:
    """Voilà runs it so; with no data it says what to run."""
    notebook = read("dashboard.ipynb")
    run(notebook, "python3")
    widgets = [output for cell in notebook.cells for output in cell.get("outputs", [])
               if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]  # fmt: skip
    assert len(widgets) == 1
    errors = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert errors == []


def test_showing_a_dashboard_imports_no_analysis() -> None:
    """Stored figures need no scientific package: a manager's page opens in seconds, not in ten."""
    code = (
        "import sys; import wendelin.notebooks.solar.dashboard; "
        "print(sorted({'rdtools', 'xgboost', 'pvlib', 'pvanalytics', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
