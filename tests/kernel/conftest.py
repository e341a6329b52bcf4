"""Kernels over a real database server that one module's tests share; each test uses names of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wendelin
from tests import processes
from tests.kernel.notebooks import Notebook
from wendelin.kernel import install


@pytest.fixture(scope="session")
def kernelspec() -> Path:
    """The kernel's specification, installed where this session's Jupyter looks."""
    return install.install(user=True)


@pytest.fixture(scope="module")
def home(kernelspec: Path) -> Iterator[Path]:
    """A fresh WENDELIN_HOME whose database server runs."""
    folder = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    (folder / "run").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WENDELIN_HOME", str(folder))
        patch.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        patch.delenv("WENDELIN_DB", raising=False)
        wendelin.connect().close()
        yield folder
    processes.stop(processes.started_with("WENDELIN_HOME", str(folder)))
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def notebook(home: Path) -> Iterator[Notebook]:
    """One notebook for all tests of a module that do not disturb it."""
    opened = Notebook()
    yield opened
    opened.close()


@pytest.fixture
def open_notebook(home: Path) -> Iterator[Callable[..., Notebook]]:
    """Opens notebooks with the Wendelin kernel, or another; closes them after the test."""
    opened: list[Notebook] = []

    def start(kernel: str = "wendelin", arguments: list[str] | None = None, **environment: str) -> Notebook:
        opened.append(Notebook(kernel, arguments, **environment))
        return opened[-1]

    yield start
    for each in opened:
        each.close()
