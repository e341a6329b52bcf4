"""`%load_ext wendelin` in other kernels and in a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.notebooks import stored
from wendelin.kernel.cells import WENT_BACK

pytestmark = pytest.mark.slow


@pytest.fixture
def stock(open_notebook):
    """A notebook with the kernel that ipykernel installs."""
    return open_notebook("python3")


def test_stock_kernel(stock):
    """The magics and the names are there; cells are no transactions until one says so."""
    stock.ok("%load_ext wendelin")
    assert stock.ok("db.root() is root, np.__name__").result == "(True, 'numpy')"
    stock.ok("root['stock'] = 1")
    assert stored("stock") is None
    assert WENT_BACK not in stock.run("1/0").traceback
    assert stock.ok("root['stock']").result == "1"
    stock.ok("%wendelin commit -m by hand")
    assert stored("stock") == 1
    assert "by hand" in stock.ok("%wendelin status").result
    assert stock.complete('root["sto') == ['root["stock']
    assert "<table>" in stock.ok("db").html


def test_stock_kernel_with_cells(stock):
    """Switched on, cells are transactions as in the Wendelin kernel."""
    stock.ok("%load_ext wendelin\n%wendelin cells on")
    stock.ok("root['cells'] = 1")
    assert stored("cells") == 1
    assert stock.run("root['cells'] = 2; 1/0").last_line == WENT_BACK
    assert stored("cells") == 1
    cell = stock.run("root['cells'] = (i for i in [])")
    assert (cell.status, "root['cells'] is a generator" in cell.traceback) == ("error", True)


def test_cells_by_configuration(open_notebook):
    """The setting that one writes into a profile."""
    stock = open_notebook("python3", ["--WendelinMagics.cells=True"])
    stock.ok("%load_ext wendelin")
    stock.ok("root['configured'] = 1")
    assert stored("configured") == 1
    plain = open_notebook("wendelin", ["--WendelinMagics.cells=False"])
    plain.ok("root['configured'] = 2")
    assert stored("configured") == 1


def test_loading_twice_and_unloading(stock):
    """Loading twice is harmless; unloading gives everything back."""
    stock.ok("before = set(vars(get_ipython())); handlers = dict(get_ipython().kernel.shell_handlers)")
    stock.ok("matchers = len(get_ipython().Completer.custom_matchers)")
    stock.ok("%load_ext wendelin\n%load_ext wendelin\n%reload_ext wendelin\n%wendelin cells on")
    stock.ok("1")
    stock.ok("%unload_ext wendelin")
    assert "not found" in stock.run("%wendelin").stderr
    assert stock.run("db").ename == stock.run("root").ename == stock.run("ubm").ename == "NameError"
    assert stock.ok("{name for name in set(vars(get_ipython())) - before if 'showtraceback' in name}").result == "set()"
    assert stock.ok("handlers == get_ipython().kernel.shell_handlers").result == "True"
    assert stock.ok("matchers == len(get_ipython().Completer.custom_matchers)").result == "True"
    assert WENT_BACK not in stock.run("1/0").traceback


def test_loading_in_the_wendelin_kernel(notebook):
    """There it is loaded already, and stays so: notebooks for both kernels may say it."""
    notebook.ok("%load_ext wendelin")
    notebook.ok("root['both'] = 1")
    assert stored("both") == 1


def test_database_down(open_notebook):
    """The extension loads and says what to do."""
    stock = open_notebook("python3", WENDELIN_DB="zeo:///nowhere?wait_timeout=0.1")
    loaded = stock.ok("%load_ext wendelin")
    assert "no database is open" in loaded.stderr
    assert "%wendelin open" in loaded.stderr
    assert stock.run("root['x']").ename == "UnavailableError"


def terminal(lines: list[str], tmp_path: Path) -> str:
    """What plain IPython prints for typed lines."""
    run = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        input="\n".join([*lines, "exit", ""]), capture_output=True, text=True, cwd=tmp_path, check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    return run.stdout + run.stderr


def test_terminal(home, tmp_path):
    """IPython in a terminal has all of it, with tables as text."""
    said = terminal(
        ["%load_ext wendelin", "root['terminal'] = 1", "%wendelin commit", "%wendelin ls", "db", "root['later'] = 1"],
        tmp_path,
    )
    assert "name " in said
    assert "terminal" in said
    assert "Wendelin database" in said
    assert "Traceback" not in said
    assert (stored("terminal"), stored("later")) == (1, None)


def test_terminal_with_cells(home, tmp_path):
    """In a terminal an input is a cell."""
    said = terminal(
        ["%load_ext wendelin", "%wendelin cells on", "root['typed'] = 1", "root['typed'] = 2; 1/0", "%wendelin lss"],
        tmp_path,
    )
    assert stored("typed") == 1
    assert WENT_BACK in said
    assert "did you mean %wendelin ls?" in said
