"""What every test can use, and what every test is held to.

Fixtures: `wendelin_home`, `tools`, `chromium`, `page`. Held to: no process of a test survives it; no floor is
imported under a second name; nothing is written to the home of whoever runs the tests.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import hypothesis
import pytest

from tests import processes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A shell starts what runs in the background with interrupts ignored, which all that it starts would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("storage", "kernel", "widgets", "extensions", "hub_config", "notebooks")

# Deadlines would time tests on a machine that others use. Developers' runs look for new examples and keep failing ones
# in .hypothesis; CI always runs the same ones, so that what it says depends on the change only.
in_ci = bool(os.environ.get("CI"))
hypothesis.settings.register_profile("wendelin", deadline=None, print_blob=True, derandomize=in_ci)
hypothesis.settings.load_profile("wendelin")

CHROMIUM_OPTIONS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # the network log is then the page's own
    "--disable-component-update",
    "--disable-sync",
]


class OneName(importlib.abc.MetaPathFinder):
    """Refuses `import storage`: under a second name every persistent class would exist twice."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> None:
        if fullname in FLOORS:
            raise ImportError(f"import wendelin.{fullname}, not {fullname}: a class must have one name only")


def pytest_configure(config: pytest.Config) -> None:
    sys.meta_path.insert(0, OneName())
    private = tempfile.mkdtemp(prefix="w-", dir="/tmp")  # short: sockets lie below it
    config.stash[PRIVATE] = Path(private)
    for name in ("WENDELIN_DB", "PYTHONPATH", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH"):
        os.environ.pop(name, None)
    os.environ[processes.MARK] = f"session-{uuid.uuid4().hex}"
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    folders = ["WENDELIN_HOME", "XDG_RUNTIME_DIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"]
    for name in [*folders, "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"]:
        folder = Path(private) / name.lower()
        folder.mkdir(mode=0o700)
        os.environ[name] = str(folder)


PRIVATE = pytest.StashKey[Path]()


def pytest_unconfigure(config: pytest.Config) -> None:
    mark = os.environ.get(processes.MARK, "")
    processes.stop(processes.started_with(processes.MARK, mark))
    shutil.rmtree(config.stash[PRIVATE], ignore_errors=True)


def read_tools() -> dict[str, str | None]:
    """The programs bootstrap.py found or installed, by name; see .ci/house/parts.py."""
    file = Path(os.environ.get("WENDELIN_TOOLS", ROOT / ".tools" / "tools.json"))
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests whose Debian package is missing are skipped, and say which."""
    found = read_tools()
    needs = {"browser": ("chromium", "chromium"), "postgresql": ("postgres_bin", "postgresql")}
    for marker, (tool, package) in needs.items():
        if found.get(tool):
            continue
        reason = f"needs the Debian package {package}: python3 bootstrap.py install (as root) brings it"
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def tools() -> dict[str, str | None]:
    """Paths of "node", "configurable-http-proxy", "chromium", "postgres_bin"; None for what is not there."""
    return read_tools()


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves processes behind, detached ones included, after ending them."""
    known = processes.pids()
    session, mark = os.environ[processes.MARK], uuid.uuid4().hex
    os.environ[processes.MARK] = mark
    yield
    os.environ[processes.MARK] = session
    end = time.monotonic() + 5
    while (left := processes.left_behind(mark, known)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        processes.stop(left)
        pytest.fail("left running (ended now):\n" + "\n".join(f"  {process}" for process in left))


@pytest.fixture
def wendelin_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh WENDELIN_HOME (short enough for sockets below it); servers started for it are stopped afterwards."""
    home = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    runtime = home / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("WENDELIN_HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("WENDELIN_DB", raising=False)
    yield home
    if "transaction" in sys.modules:
        sys.modules["transaction"].abort()
    processes.stop(processes.started_with("WENDELIN_HOME", str(home)))
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def chromium(tools: dict[str, str | None]) -> Iterator[Browser]:
    """Debian's Chromium under playwright; mark the test `browser`, so that it is skipped where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tools["chromium"], args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a fresh context (no cookies); fails the test when any request left this machine."""
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    foreign: list[str] = []

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            foreign.append(url)

    fresh = context.new_page()
    context.on("request", lambda request: note(request.url))
    fresh.on("websocket", lambda socket: note(socket.url))
    yield fresh
    context.close()
    assert not foreign, f"requests left this machine: {foreign}"
