"""The kernel as Jupyter sees it: its specification, the messaging protocol, and how it starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_core.paths import jupyter_data_dir
from jupyter_kernel_test import KernelTests
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import wendelin
from tests.kernel.notebooks import eventually, stored
from wendelin.kernel import install
from wendelin.storage.database import ondemand


@pytest.mark.usefixtures("home")
class TestProtocol(KernelTests):
    """The messaging protocol, as Jupyter's own tests check it."""

    __test__ = True

    @classmethod
    def setUpClass(cls) -> None:
        """Start, and wait until the database is open: the helpers take any "idle" for that of their own request."""
        super().setUpClass()
        cls.kc.execute_interactive("db", timeout=60, output_hook=lambda message: None)

    kernel_name = "wendelin"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [  # noqa: RUF012  # the base class declares no ClassVar
        {"text": "zi", "matches": {"zip"}},
        {"text": "%wendelin stat", "matches": {"status"}},
    ]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n", "%wendelin ls"]  # noqa: RUF012
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2"]  # noqa: RUF012
    invalid_code_samples = ["import = 7q"]  # noqa: RUF012
    code_page_something = "zip?"
    code_generate_error = "raise ValueError('expected')"
    code_execute_result = [  # noqa: RUF012
        {"code": "1+2+3", "result": "6"},
        {"code": "type(db).__name__, type(root).__name__, np.__name__", "result": "('Connection', 'Folder', 'numpy')"},
    ]
    code_display_data = [  # noqa: RUF012
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"}
    ]
    code_inspect_sample = "zip"
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")  # "range" gives a relative session number in IPython, too
    code_clear_output = "from IPython.display import clear_output; clear_output()"
    code_stdin = "name = input('what is it? ')"


del KernelTests  # pytest would collect it by itself


def test_names_at_hand(notebook):
    """A notebook opens with its connection, the root folder and NumPy, and they are not the user's own variables."""
    assert notebook.ok("db.root() is root, np.zeros(2).tolist()").result == "(True, [0.0, 0.0])"
    assert notebook.ok("%who").stdout.strip() == "Interactive namespace is empty."


def test_connection_shows_its_status(notebook):
    """`db` shows as a table, in text and HTML."""
    notebook.ok("root['shown'] = 1")
    shown = notebook.ok("db")
    for text in ("local:///", "reading and writing", "root['shown'] = 1"):
        assert text in shown.result
    assert "<table>" in shown.html
    assert "&#x27;shown&#x27;" in shown.html


def test_kernel_tells_what_it_is(notebook):
    """Consoles show how to get help."""
    info = notebook.client.kernel_info(reply=True, timeout=60)["content"]
    assert (info["implementation"], info["implementation_version"]) == ("wendelin", wendelin.__version__)
    assert "%wendelin help" in info["banner"]
    assert "IPython" in info["banner"]


def test_specification():
    """What the wheel brings: started by its module, with logos of the sizes Jupyter shows."""
    spec = json.loads((install.KERNELSPEC / "kernel.json").read_text())
    assert spec["argv"] == ["python", "-m", "wendelin.kernel", "-f", "{connection_file}"]
    assert (spec["language"], spec["display_name"], spec["kernel_protocol_version"]) == ("python", "Wendelin", "5.5")
    for size in (32, 64):
        header = (install.KERNELSPEC / f"logo-{size}x{size}.png").read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert [int.from_bytes(header[i : i + 4]) for i in (16, 20)] == [size, size]
    assert "<svg" in (install.KERNELSPEC / "logo-svg.svg").read_text()


@pytest.mark.slow
def test_install(tmp_path: Path, kernelspec: Path):
    """The command writes the specification, with this interpreter in it, where it is told to."""
    run = subprocess.run(
        [sys.executable, "-m", "wendelin.kernel.install", "--prefix", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    folder = tmp_path / "share" / "jupyter" / "kernels" / "wendelin"
    assert str(folder) in run.stdout
    assert json.loads((folder / "kernel.json").read_text())["argv"][0] == sys.executable
    assert {file.name for file in folder.iterdir()} == {
        "kernel.json",
        "logo-32x32.png",
        "logo-64x64.png",
        "logo-svg.svg",
    }
    assert str(kernelspec) == str(Path(jupyter_data_dir()) / "kernels" / "wendelin")  # by --user, in conftest


def test_install_refuses_two_places():
    """One place at a time."""
    with pytest.raises(SystemExit):
        install.main(["--user", "--sys-prefix"])


@pytest.mark.slow
def test_database_down_at_start(open_notebook):
    """The kernel comes up; the first cell says what to do, Python works on, and `%wendelin open` retries."""
    notebook = open_notebook(WENDELIN_DB="zeo:///nowhere/socket?wait_timeout=0.1")
    plain = notebook.ok("1 + 1")
    assert plain.result == "2"
    first = notebook.run("root['x']")
    assert first.ename == "UnavailableError"
    announced = plain.stderr + first.stderr  # by the first cell that ends after the attempt did; once
    assert announced.count("no database is open") == 1
    assert "%wendelin open" in announced
    assert "/nowhere/socket" in announced
    assert notebook.ok("2 + 2").stderr == ""
    for code in ("root['x']", "root['x'] = 1", "'x' in root", "list(root)", "root.items()", "db.root()", "len(root)"):
        cell = notebook.run(code)
        assert (cell.ename, "%wendelin open" in cell.evalue) == ("UnavailableError", True), code
    assert "no database" in notebook.ok("root").result
    assert notebook.ok("np.ones(1).tolist()").result == "[1.0]"
    assert "does not answer" in notebook.run("%wendelin ls").stderr
    assert "does not answer" in notebook.run("%wendelin open").stderr
    url = wendelin.connect().url
    notebook.ok(f"%wendelin open {url}")
    notebook.ok("root['after/all'] = 1")
    assert stored("after/all", url) == 1


@pytest.mark.slow
def test_server_that_went_away_comes_back(wendelin_home, kernelspec, open_notebook):
    """A server killed between two cells is started again by the next one, without a word about it."""
    notebook = open_notebook()
    notebook.ok("root['before'] = 1")
    server = ondemand.find(wendelin_home / "db" / "default")
    assert server is not None
    import os
    import signal

    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: notebook.run("root['before'] = 2").status == "ok")
    assert stored("before") == 2


@pytest.mark.slow
def test_server_stopped_on_purpose(wendelin_home, kernelspec, open_notebook):
    """After `wendelin db stop` cells that store fail and say what to do; others work; `%wendelin open` starts it."""
    notebook = open_notebook()
    notebook.ok("root['kept'] = 1")
    subprocess.run([sys.executable, "-m", "wendelin.storage.cli", "db", "stop"], check=True, capture_output=True)
    assert notebook.ok("1 + 1").result == "2"
    cell = notebook.run("root['kept'] = 2")
    assert cell.status == "error"
    assert "%wendelin open" in cell.traceback + cell.stderr
    notebook.ok("%wendelin open")
    assert notebook.ok("root['kept']").result == "1"


def notebook_of(*cells: str) -> Any:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(code) for code in cells]
    made.metadata["kernelspec"] = {"name": "wendelin", "display_name": "Wendelin", "language": "python"}
    return made


def test_tools_that_run_notebooks_stop_at_a_failed_commit(home, tmp_path: Path):
    """nbclient, which nbconvert and papermill use, raises when a cell's commit fails, and runs no cell after it."""
    book = notebook_of("root['run/a'] = 1", "root['run/b'] = (i for i in [])", "root['run/c'] = 1")
    with pytest.raises(CellExecutionError, match=r"root\['run/b'\] is a generator"):
        NotebookClient(
            book, kernel_name="wendelin", timeout=60, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    assert [stored(f"run/{name}") for name in "abc"] == [1, None, None]
    assert book.cells[1].outputs[0].output_type == "error"


@pytest.mark.slow
def test_nbconvert_execute(home, tmp_path: Path):
    """`jupyter nbconvert --execute` commits each cell and stops at an exception."""
    for name, last in (("good", "root['converted'] = 2"), ("bad", "root['converted'] = 3; 1/0")):
        nbformat.write(notebook_of("root['converted'] = 1", last), tmp_path / f"{name}.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace"]
    subprocess.run([*command, str(tmp_path / "good.ipynb")], capture_output=True, check=True)
    assert stored("converted") == 2
    failed = subprocess.run([*command, str(tmp_path / "bad.ipynb")], capture_output=True, text=True, check=False)
    assert failed.returncode != 0
    assert "stored data is back at its last commit" in failed.stderr
    assert stored("converted") == 1


def test_starting_imports_nothing_heavy():
    """NumPy, ZODB and ZEO load after the kernel is up."""
    code = (
        "import sys; before = set(sys.modules); import wendelin.kernel.kernel\n"
        "print([name for name in ('numpy', 'ZODB', 'ZEO', 'transaction', 'BTrees') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
def test_shutdown_leaves_no_lock(home, open_notebook, tmp_path: Path):
    """A kernel that shut down has given its file database back."""
    folder = tmp_path / "files"
    notebook = open_notebook(WENDELIN_DB=f"file://{folder}")
    notebook.ok("root['mine'] = 1")
    notebook.client.shutdown()
    assert eventually(lambda: not notebook.manager.is_alive())
    assert stored("mine", f"file://{folder}") == 1
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "code",
    [
        "root['x']",
        "f(𝐫oot)",  # Python reads letters of this kind as plain ones
        "np.ones(3)",
        "exec(open('setup.py').read())",
        "%run -i setup.py",
        "%wendelin ls",
        "globals()['r' + 'oot']",
        "get_ipython().user_ns['ro' + 'ot']",
    ],
)
def test_cells_that_may_use_the_database_find_it_open(code):
    """The first cell waits for the database if it could reach the names that come with it."""
    from wendelin.kernel.kernel import may_use_database

    assert may_use_database(code)
    assert not may_use_database("1 + 1")
    assert not may_use_database("import pandas as pd\nprint(pd.__version__)")


def test_first_cells_at_once(open_notebook):
    """Cells sent before the kernel had time to open the database: those which do not use it, and those which do."""
    notebook = open_notebook()
    assert notebook.ok("1 + 1").result == "2"
    assert (
        notebook.ok("root['at/once'] = np.int64(3); root['at/once']", user_expressions={"a": "1"}).result
        == "np.int64(3)"
    )
    assert stored("at/once") == 3
    later = open_notebook()
    assert later.run("x = 1", silent=True).status == "ok"
    assert eventually(lambda: later.ok("import sys; 'ZODB' in sys.modules").result == "True")  # while nobody waits
