"""The front ends in Chromium, on a bare page with a model of ours: each state, size and colour scheme.

`tests/notebooks/test_voila.py` shows the same modules with a real kernel behind them.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wendelin
from wendelin.widgets.activities import WORDS as ACTIVITY_WORDS
from wendelin.widgets.status import WORDS

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

WIDGETS = Path(wendelin.__file__).parent / "widgets"
COMMIT = {"time": "2026-01-02T03:04:05+00:00", "user": "operator", "note": "a note", "tid": "00"}
TILE: dict[str, Any] = {
    "state": "connected", "words": WORDS, "url": "local:///data/db", "size": 8_610_000, "problem": "",
    "transactions": [COMMIT],
}  # fmt: skip

PAGE = """<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="NAME.css"><body><div id="here"></div>
<script type="module">
import widget from "./NAME.js";
const listeners = {}, data = STATE;
window.sent = []; window.saved = 0;
window.model = {
  get: (name) => data[name],
  set: (name, value) => { data[name] = value; (listeners["change:" + name] ?? []).forEach((f) => f()); },
  save_changes: () => { window.saved += 1; },
  on: (name, f) => { (listeners[name] ??= []).push(f); },
  off: (name, f) => { listeners[name] = listeners[name].filter((g) => g !== f); },
  send: (message) => { window.sent.push(message); },
  hear: () => (listeners["msg:custom"] ?? []).forEach((f) => f({ alive: true })),
  heard_by: () => Object.values(listeners).flat().length,
};
window.clean = widget.render({ model: window.model, el: document.getElementById("here") });
</script></body>"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served, and its URL."""
    for name in ("status", "table", "activities"):
        for ending in (".js", ".css"):
            (tmp_path / f"{name}{ending}").write_bytes((WIDGETS / f"{name}{ending}").read_bytes())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on the terminal of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def show(page: Page, site: tuple[Path, str], name: str, state: dict[str, Any]) -> None:
    folder, url = site
    (folder / "page.html").write_text(PAGE.replace("NAME", name).replace("STATE", json.dumps(state)))
    page.goto(url + "page.html")
    page.wait_for_function("window.clean !== undefined")


def brightness(page: Page, selector: str, which: str) -> float:
    colour = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{which}")
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


def test_the_tile_shows_state_size_and_commits(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "status", TILE)
    assert page.get_by_role("status").inner_text() == "Connected"
    assert page.locator(".wendelin-status-size").inner_text() == "8.6 MB"
    assert page.get_by_role("list", name="Last transactions").get_by_role("listitem").count() == 1
    when = page.locator("time")
    assert when.get_attribute("datetime") == COMMIT["time"]
    assert "operator" in page.get_by_role("listitem").inner_text()


@pytest.mark.parametrize(
    ("state", "problem", "words", "help_"),
    [
        ("loading", "", "Looking for the database", ""),
        ("empty", "", "Connected, nothing stored yet", "Whatever is committed will appear here."),
        ("disconnected", "", "Disconnected", "The server does not answer."),
        ("error", "no route to host", "Error", "no route to host"),
        ("closed", "", "Closed", ""),
    ],
)
def test_each_state_has_its_words(
    page: Page, site: tuple[Path, str], state: str, problem: str, words: str, help_: str
) -> None:
    show(page, site, "status", {**TILE, "state": state, "problem": problem})
    assert page.get_by_role("status").inner_text() == words
    assert help_ in page.locator(".wendelin-status").inner_text()
    assert page.get_by_role("list").count() == (0 if state == "empty" else 1)


def test_a_change_arrives_without_a_question(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "status", TILE)
    page.evaluate("c => model.set('transactions', [c, ...model.get('transactions')])", {**COMMIT, "note": "newer"})
    assert page.get_by_role("listitem").first.inner_text().count("newer") == 1
    page.evaluate("model.set('state', 'disconnected')")
    assert page.get_by_role("status").inner_text() == "Disconnected"


def test_a_silent_kernel_is_noticed_and_forgiven(page: Page, site: tuple[Path, str]) -> None:
    page.clock.install()
    show(page, site, "status", TILE)
    page.clock.run_for(31_000)
    assert page.evaluate("sent.length") == 3
    assert page.get_by_role("status").inner_text() == "Connected"
    page.clock.run_for(20_000)
    assert page.get_by_role("status").inner_text() == "Disconnected"
    assert "lost its kernel" in page.locator(".wendelin-status").inner_text()
    page.evaluate("model.hear()")
    assert page.get_by_role("status").inner_text() == "Connected"


def test_an_answering_kernel_stays_connected(page: Page, site: tuple[Path, str]) -> None:
    page.clock.install()
    show(page, site, "status", TILE)
    for _ in range(12):
        page.clock.run_for(10_000)
        page.evaluate("model.hear()")
    assert page.get_by_role("status").inner_text() == "Connected"
    assert page.locator("time").inner_text().endswith("ago")


def test_notes_are_words_never_html(page: Page, site: tuple[Path, str]) -> None:
    """A note is anybody's text; at its length it must not break the tile either."""
    evil = "<img src=x onerror='window.broken=1'>" + "W" * 300
    show(page, site, "status", {**TILE, "transactions": [{**COMMIT, "note": evil, "user": evil}], "problem": evil})
    assert page.locator("#here img").count() == 0
    assert page.evaluate("window.broken") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_taking_it_off_the_page_stops_everything(page: Page, site: tuple[Path, str]) -> None:
    page.clock.install()
    show(page, site, "status", TILE)
    page.evaluate("clean()")
    page.clock.run_for(60_000)
    assert page.evaluate("sent.length") == 0
    assert page.evaluate("model.heard_by()") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_tile_is_readable_on_each_screen(
    page: Page, site: tuple[Path, str], width: int, scheme: str, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": width, "height": 400})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    show(page, site, "status", TILE)
    page.screenshot(path=tmp_path / "tile.png")
    text, ground = (brightness(page, ".wendelin-status", which) for which in ("color", "backgroundColor"))
    assert abs(text - ground) > 150
    assert (ground < 80) is (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


TABLE: dict[str, Any] = {
    "columns": [
        {"key": "name", "title": "System", "unit": "", "numeric": False},
        {"key": "power", "title": "Power", "unit": "kWp", "numeric": True},
    ],
    "rows": [
        {"id": "a", "cells": {"name": {"text": "Alpha"}, "power": {"text": "1.0", "detail": "small", "kind": ""}}},
        {"id": "b", "cells": {"name": {"text": "<b>Beta</b>"}, "power": {"text": "good", "kind": "good"}}},
    ],
    "chosen": "a",
    "caption": "",
}


def test_rows_are_chosen_by_click_and_by_keyboard(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "table", TABLE)
    first, second = page.get_by_role("button").all()
    assert first.get_attribute("aria-pressed") == "true"
    page.get_by_text("good").click()
    assert page.evaluate("[model.get('chosen'), saved]") == ["b", 1]
    assert second.get_attribute("aria-pressed") == "true"
    first.focus()
    page.keyboard.press("Space")
    assert page.evaluate("model.get('chosen')") == "a"
    assert page.get_by_role("columnheader").all_inner_texts()[1].split() == ["Power", "kWp"]
    assert second.inner_text() == "<b>Beta</b>"


def test_new_rows_keep_the_focus_and_the_choice(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "table", TABLE)
    page.get_by_role("button").nth(1).focus()
    page.evaluate("model.set('rows', [...model.get('rows')].reverse())")
    assert page.evaluate("document.activeElement.dataset.id") == "b"
    assert page.locator("tr.wendelin-chosen").get_attribute("data-id") == "a"


def test_on_a_phone_rows_become_cards_with_titles(page: Page, site: tuple[Path, str]) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    show(page, site, "table", TABLE)
    assert not page.locator("thead").is_visible()
    title = page.evaluate("getComputedStyle(document.querySelector('td'), '::before').content")
    assert title == '"Power (kWp)"'
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


ACTIVITIES: dict[str, Any] = {
    "title": "Activities", "state": "working", "words": ACTIVITY_WORDS, "rate": 12.5,
    "counts": {"done": 40, "running": 2, "waiting": 17, "failed": 1},
    "running": [
        {
            "uid": "a", "what": "the load", "node": "north", "since": 0, "count": 1, "done": 3, "total": 10,
            "note": "row 3",
        },
        {
            "uid": "b", "what": "0x5.process", "node": "south", "since": 0, "count": 7, "done": -1, "total": -1,
            "note": "",
        },
    ],
    "failures": [
        {"uid": "c", "what": "divmod", "error": "ZeroDivisionError: by zero", "traceback": "Traceback\n  by zero"}
    ],
    "nodes": [{"name": "north", "slots": 2, "busy": 1}, {"name": "south", "slots": 4, "busy": 1}],
}  # fmt: skip


def test_activities_show_what_runs_how_far_and_what_failed(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "activities", ACTIVITIES)
    assert page.get_by_role("status").inner_text() == "Working"
    first, second = page.get_by_role("list", name="Running").get_by_role("listitem").all()
    assert page.get_by_role("progressbar").first.evaluate("bar => [bar.value, bar.max, bar.position]") == [3, 10, 0.3]
    assert page.get_by_role("progressbar").nth(1).evaluate("bar => bar.position") == -1
    assert "3 of 10 · row 3 · on north" in first.inner_text()
    assert "0x5.process × 7" in second.inner_text()
    widths = page.evaluate("[...document.querySelectorAll('.wendelin-activities-bar span')].map(s => s.clientWidth)")
    assert widths[0] > widths[2] > widths[1] > widths[3] > 0
    assert "north: 1 of 2 workers busy" in page.locator(".wendelin-activities").inner_text()
    trace = page.locator(".wendelin-activities-traceback")
    assert not trace.is_visible()
    page.get_by_text("ZeroDivisionError").click()
    assert trace.is_visible()


def test_activities_change_and_a_traceback_stays_open(page: Page, site: tuple[Path, str]) -> None:
    show(page, site, "activities", ACTIVITIES)
    page.get_by_text("ZeroDivisionError").click()
    more = {**ACTIVITIES["failures"][0], "uid": "d", "what": "<img src=x onerror='window.broken=1'>" + "W" * 300}
    page.evaluate("f => model.set('failures', [f, ...model.get('failures')])", more)
    page.evaluate("model.set('running', []); model.set('state', 'failing')")
    page.wait_for_function("document.querySelectorAll('details').length === 2")
    assert page.evaluate("[...document.querySelectorAll('details')].map(one => one.open)") == [False, True]
    assert page.evaluate("document.activeElement.parentElement.dataset.uid") == "c"
    assert page.get_by_role("status").inner_text() == "Some have failed"
    assert page.get_by_role("progressbar").count() == 0
    assert page.locator("#here img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("clean()")
    assert page.evaluate("model.heard_by()") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_activities_are_readable_on_each_screen(
    page: Page, site: tuple[Path, str], width: int, scheme: str, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": width, "height": 400})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    show(page, site, "activities", ACTIVITIES)
    page.screenshot(path=tmp_path / "activities.png")
    text, ground = (brightness(page, ".wendelin-activities", which) for which in ("color", "backgroundColor"))
    assert abs(text - ground) > 150
    assert (ground < 80) is (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
