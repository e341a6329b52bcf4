"""The dashboard as a manager sees it: Voilà, Chromium, a real database that others write to.

Voilà runs without the hub here, with the hub's template; `tests/hub` goes the whole way with sign-in.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import transaction

import wendelin
from tests.notebooks import plants
from tests.notebooks.test_dashboard import ELSEWHERE
from wendelin.notebooks.solar import load
from wendelin.notebooks.solar.systems import SYSTEMS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PACKAGE = Path(wendelin.__file__).parent
NOTEBOOK = PACKAGE / "notebooks" / "solar" / "dashboard.ipynb"
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def voila(folder: Path) -> Iterator[str]:
    """Voilà on the dashboard's notebook; gives its URL and ends it with its kernels."""
    url = f"http://127.0.0.1:{free_port()}/"
    environment = {**os.environ, "JUPYTER_PATH": str(PACKAGE / "hub_config" / "share" / "jupyter")}
    command = [sys.executable, "-m", "voila", str(NOTEBOOK), "--no-browser", f"--port={url.split(':')[2][:-1]}"]
    log = folder / "voila.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--Voila.ip=127.0.0.1", "--template=wendelin"],
            env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            try:
                urllib.request.urlopen(url + "voila/static/nothing", timeout=5)  # noqa: S310  our own server
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.2)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def elsewhere(change: str) -> None:
    """Commit from a process of its own."""
    subprocess.run([sys.executable, "-c", ELSEWHERE.format(change=change)], check=True, cwd=Path(__file__).parents[2])


@pytest.fixture
def served(wendelin_home: Path) -> Iterator[str]:
    """The dashboard on a database with a plant that ages 1 % a year, and one with too few data."""
    db = wendelin.connect(transaction_manager=transaction.TransactionManager())
    load.store_system(db, plants.PLANT, plants.frame(3 * 365, rate=-1.0, noise=0.01))
    load.load_system(db, SYSTEMS["1422"])
    db.close()
    with voila(wendelin_home) as url:
        yield url


def open_page(page: Page, url: str) -> list[str]:
    """Go there, wait for the fleet and its plots; gives the list that script errors are added to."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    page.get_by_role("heading", name="The fleet").wait_for()
    page.locator(".bk-Figure").first.wait_for()
    return errors


def shade(page: Page) -> float:
    """Brightness 0…255 of the page's background."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    return (red + green + blue) / 3


def test_a_manager_sees_the_fleet_chooses_a_system_and_follows_commits(page: Page, served: str) -> None:
    errors = open_page(page, served)
    # the fleet: a number with its interval, and a reason instead of one
    fleet = page.locator(".wendelin-table")
    assert "95 % interval −" in fleet.inner_text()
    assert "no rate yet" in fleet.inner_text()
    assert "comparing years needs 2" in fleet.inner_text()
    assert "CC BY 4.0" in page.locator(".wendelin-footer").inner_text()
    page.get_by_role("heading", name="Maintenance orders").wait_for()
    assert page.get_by_text("Expected to cost 300 USD and to save 9 USD a year.").count() == 1
    assert page.get_by_role("status").filter(has_text="Connected").count() == 1

    # a system by keyboard
    other = page.get_by_role("button", name="Plant")
    other.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Plant, Nowhere").wait_for()
    assert other.get_attribute("aria-pressed") == "true"
    page.get_by_text("loses").first.wait_for()
    page.wait_for_function("document.querySelectorAll('.bk-Figure').length === 4")

    # figures under the mouse
    plot = page.locator(".bk-Figure").nth(1)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    label = page.locator(".bk-tooltip-row-label", has_text="Days without output")
    for part in range(20, 90, 2):  # wherever the bars are
        page.mouse.move(box["x"] + box["width"] * part / 100, box["y"] + box["height"] * 0.7)
        if label.count():
            break
    label.first.wait_for()

    # news
    before = page.locator(".wendelin-header").inner_text()
    elsewhere('load.update(db, "plant", plants.frame(90, "2018-05-31", rate=-1.0, noise=0.01))')
    page.get_by_text("Data until 28 August 2018").wait_for()
    page.get_by_text("solar: 2160 new rows of system plant").wait_for()
    assert "28 August 2018" not in before

    # the server goes away: said, and nothing that was known is lost
    subprocess.run([sys.executable, "-m", "wendelin.storage.cli", "db", "stop"], check=True, capture_output=True)
    page.get_by_role("status").filter(has_text="Disconnected").wait_for()
    assert page.get_by_text("Data until 28 August 2018").count() == 1
    assert errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_screen_and_the_readers_colours(
    page: Page, served: str, size: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    errors = open_page(page, served)
    page.wait_for_function("document.querySelectorAll('.bk-Figure').length >= 3")
    page.screenshot(path=tmp_path / "page.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    wide = page.evaluate(
        "[...document.querySelectorAll('.wendelin-dashboard *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.className)"
    )
    assert wide == []
    assert (shade(page) < 80) is (scheme == "dark")
    columns = page.locator(".wendelin-table thead")
    assert columns.is_visible() is (size is DESKTOP)
    assert errors == []


def test_an_empty_database_is_explained_and_fills_by_itself(page: Page, wendelin_home: Path) -> None:
    with voila(wendelin_home) as url:
        page.goto(url)
        page.get_by_text("No solar data in this database yet").wait_for()
        assert page.get_by_text("python -m wendelin.notebooks.solar.load").is_visible()
        elsewhere("load.store_system(db, plants.PLANT, plants.frame(60))")
        page.get_by_role("heading", name="The fleet").wait_for()
        page.locator(".bk-Figure").first.wait_for()
        assert page.get_by_text("No solar data").count() == 0
