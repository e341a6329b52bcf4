"""The installed extension in a real JupyterLab: what a person sees of entities, may do, and puts into a notebook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.extensions.conftest import ROOT
from tests.lab.conftest import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

AXE = ROOT / ".tools/lab/node_modules/axe-core/axe.min.js"
VIOLATIONS = """async () => (await axe.run('#wendelin-explorer')).violations
  .filter(one => ['serious', 'critical'].includes(one.impact)).map(one => `${one.id}: ${one.nodes[0].html}`)"""


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: into the documentation when they are to be renewed."""
    return ROOT / "docs" / "images" if os.environ.get("WENDELIN_UPDATE_SCREENSHOTS") else tmp_path


def labels(page: Page) -> list[str]:
    return page.locator(".wl-row .wl-label").all_inner_texts()


def opened(page: Page, label: str) -> None:
    """Click at the caret of a row, and wait for what is below it."""
    row = page.locator(".wl-row", has=page.locator(".wl-label", has_text=label)).first
    row.locator(".wl-caret").click()
    page.wait_for_function(
        "label => [...document.querySelectorAll('.wl-row')].some("
        "row => row.textContent.includes(label) && row.getAttribute('aria-expanded') === 'true')",
        arg=label,
    )


def by_asset(page: Page) -> None:
    page.get_by_label("Order of the tree").select_option("asset")
    page.locator(".wl-label", has_text="Park").wait_for()


def test_entities_stand_below_their_roles_and_assets_down_to_the_array(lab: Lab, page: Page, screenshots: Path):
    page.set_viewport_size({"width": 1280, "height": 800})
    lab.explorer(page)
    page.locator(".wl-label", has_text="Movements").wait_for()
    assert labels(page) == ["Nodes", "Resources", "Items", "Paths", "Movements"]
    by_asset(page)
    opened(page, "Park")
    opened(page, "Roof 4")
    page.locator(".wl-label", has_text="Logger").wait_for()
    opened(page, "Logger")
    page.locator(".wl-label", has_text="DC power").wait_for()
    opened(page, "DC power")
    page.locator(".wl-kind-array").wait_for()
    page.locator(".wl-label", has_text="DC power").click()
    pane = page.get_by_role("region", name="Details")
    pane.get_by_text("commissioned").wait_for()
    assert "SEN-1" in pane.inner_text()
    page.screenshot(path=screenshots / "sidebar.png")
    page.add_script_tag(path=str(AXE))
    assert page.evaluate(VIOLATIONS) == []


def test_a_search_finds_words(lab: Lab, page: Page):
    lab.explorer(page)
    page.get_by_label("Search entities").fill("roof")
    page.locator(".wl-label", has_text="Roof 4").wait_for()
    page.wait_for_function("document.querySelector('.wl-row .wl-label').textContent === 'Roof 4'")
    page.get_by_label("Search entities").fill("nothing-has-this")
    page.get_by_text("Nothing fits").wait_for()


def test_a_transition_is_taken_with_its_reason(lab: Lab, page: Page):
    lab.explorer(page)
    by_asset(page)
    page.locator(".wl-label", has_text="Park").click()
    pane = page.get_by_role("region", name="Details")
    pane.get_by_role("button", name="validate").click()
    pane.get_by_label("Why, for the trail").fill("it was looked at")
    pane.get_by_role("button", name="From draft to validated").click()
    pane.get_by_text("it was looked at").wait_for()
    assert "validated" in pane.inner_text()


def test_what_one_may_not_do_is_not_offered(lab: Lab, page: Page):
    lab.explorer(page, "udo")  # an auditor
    by_asset(page)
    page.locator(".wl-label", has_text="Park").click()
    pane = page.get_by_role("region", name="Details")
    pane.get_by_text("PLANT-1").wait_for()
    assert pane.get_by_role("button").all_inner_texts() == ["×", "Acme Solar"], "to close it, and to its owner"
    assert page.get_by_role("button", name="New").count() == 0


def test_a_thousand_rows_are_a_few_in_the_page_and_a_phone_shows_them(lab: Lab, page: Page, screenshots: Path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    lab.explorer(page)
    opened(page, "Resources")
    page.locator(".wl-label", has_text="component").wait_for()
    opened(page, "component")
    page.locator(".wl-label", has_text="PART-0000").wait_for()
    assert page.locator(".wl-row").count() < 120
    page.screenshot(path=screenshots / "sidebar-phone.png")


def test_what_is_chosen_goes_into_the_notebook(lab: Lab, page: Page):
    lab.explorer(page)
    page.locator(".jp-LauncherCard[title*='Python 3']").first.click()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    by_asset(page)
    page.locator(".wl-label", has_text="Park").click()
    page.locator(".wl-label", has_text="Park").click(button="right")
    page.get_by_text("Insert Code that Opens It").first.click()
    page.wait_for_function("document.querySelector('.jp-Notebook').textContent.includes('PLANT-1')")
