"""A real JupyterLab with the installed extension and the REST door, on a database with a few entities."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from tests import processes
from tests.extensions.conftest import ROOT, environment
from wendelin.hub_config.ports import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

PATIENCE = 120_000  # ms: on a busy machine JupyterLab takes its time
SETUP = """
import numpy as np, transaction, wendelin
db = wendelin.connect()
ubm = wendelin.entities(db)
acme = ubm.create("organisation", title="Acme Solar", reference="ACME")
park = ubm.create("plant", title="Park", reference="PLANT-1", owner=acme, peak_power="12.5 MW")
roof = ubm.create("plant", title="Roof 4", reference="PLANT-4", owner=acme, parent=park, peak_power="12.3 kW")
logger = ubm.create("device", title="Logger", reference="LOG-1", asset=roof)
power = wendelin.ZBigArray((0, 8), "f4")
power.append(np.arange(800).reshape(100, 8))
meter = ubm.create("sensor", title="DC power", reference="SEN-1", unit="W", asset=roof, device=logger, array=power)
meter.do("validate", why="commissioned")
db.root()["plants/4/power"] = huge = wendelin.ZBigArray((10**12, 3), "f8")
huge[:50] = np.arange(150).reshape(50, 3)
db.root()["plants/4/log"] = wendelin.ZBigArray((1000,), [("time", "M8[s]"), ("value", "f8"), ("code", "i4")])
for number in range(1200):
    ubm.create("component", reference=f"PART-{number:04}")
transaction.get().note("set up for a test")
transaction.commit()
"""


@dataclass
class Lab:
    """A JupyterLab that runs."""

    url: str
    home: Path
    server: subprocess.Popen[bytes]

    def visit(self, page: Page, who: str, path: str = "/lab") -> None:
        """Open JupyterLab in the browser of a person of `tests.extensions.people`."""
        page.set_default_timeout(PATIENCE)
        page.context.add_cookies([{"name": "person", "value": who, "url": self.url}])
        page.goto(self.url + path)
        page.wait_for_selector("#wendelin-explorer", state="attached")

    def explorer(self, page: Page, who: str = "root", path: str = "/lab") -> None:
        """... with the explorer in front."""
        self.visit(page, who, path)
        if not page.locator("#wendelin-explorer").is_visible():
            page.locator('.jp-SideBar [data-id="wendelin-explorer"]').click()
        page.locator(".wl-row").first.wait_for()


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    home = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    port = free_port()
    subprocess.run([sys.executable, "-c", SETUP], env=environment(home), check=True, cwd=ROOT)
    (home / "notebooks").mkdir()
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", "--ServerApp.port_retries=0", "--no-browser"]
    command += ["--allow-root", "--ServerApp.identity_provider_class=tests.lab.people.Visitors"]
    command += [
        f"--ServerApp.root_dir={home / 'notebooks'}",
        "--LabApp.news_url=None",
        "--LabApp.extension_manager=readonly",
    ]
    command += [f"--LabApp.workspaces_dir={home / 'workspaces'}", f"--LabApp.user_settings_dir={home / 'settings'}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment(home), cwd=ROOT, stdout=log, stderr=log)
    found = Lab(f"http://127.0.0.1:{port}", home, server)
    try:
        _wait(found)
        yield found
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        processes.stop(processes.started_with("WENDELIN_HOME", str(home)))
        shutil.rmtree(home, ignore_errors=True)


def _wait(lab: Lab) -> None:
    end = time.monotonic() + 120
    with requests.Session() as session:
        session.trust_env = False
        while time.monotonic() < end and lab.server.poll() is None:
            try:
                answer = session.get(f"{lab.url}/wendelin/api/v1/", cookies={"person": "root"}, timeout=60)
                if answer.status_code == 200:
                    return
            except requests.ConnectionError:
                pass
            time.sleep(0.1)
    raise AssertionError((lab.home / "log").read_text())
