from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from tests.hub.notebooks import write_dashboards
from wendelin.hub_config.catalogue import dashboards
from wendelin.hub_config.examples import application_digest, copy_dashboards, copy_examples, loaders


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dashboards(tmp_path / "source" / "app")
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# Analysis")]), tmp_path / "source" / "app" / "analysis.ipynb"
    )
    return tmp_path / "source"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.ipynb")}


def test_only_notebooks_that_say_so_are_dashboards(source: Path, tmp_path: Path):
    copy_dashboards(tmp_path / "d", source)
    assert names(tmp_path / "d") == {"app/plant.ipynb", "app/failing.ipynb"}
    copy_examples(tmp_path / "e", source)
    assert names(tmp_path / "e") == {"app/plant.ipynb", "app/failing.ipynb", "app/analysis.ipynb"}


def test_what_a_person_changed_or_deleted_stays_so(source: Path, tmp_path: Path):
    target = tmp_path / "mine"
    copy_examples(target, source)
    (target / "app/plant.ipynb").write_text("mine")
    (target / "app/failing.ipynb").unlink()
    for path in source.glob("*/*.ipynb"):
        path.write_text(path.read_text() + "\n")
    written = copy_examples(target, source)
    assert [path.name for path in written] == ["analysis.ipynb"]
    assert (target / "app/plant.ipynb").read_text() == "mine"
    assert not (target / "app/failing.ipynb").exists()


def test_a_file_that_was_there_before_is_never_touched(source: Path, tmp_path: Path):
    (tmp_path / "mine/app").mkdir(parents=True)
    (tmp_path / "mine/app/plant.ipynb").write_text("older than Wendelin")
    copy_examples(tmp_path / "mine", source)
    assert (tmp_path / "mine/app/plant.ipynb").read_text() == "older than Wendelin"


def test_copying_twice_writes_nothing(source: Path, tmp_path: Path):
    assert copy_examples(tmp_path / "mine", source)
    assert copy_examples(tmp_path / "mine", source) == []


def test_the_list_shows_titles_and_descriptions(source: Path):
    (source / "app/broken.ipynb").write_text("{")
    (source / "app/.ipynb_checkpoints").mkdir()
    (source / "app/.ipynb_checkpoints/plant.ipynb").write_text("{}")
    found = {each.path: each for each in dashboards(source)}
    assert set(found) == {"app/plant.ipynb", "app/failing.ipynb", "app/analysis.ipynb", "app/broken.ipynb"}
    assert found["app/plant.ipynb"].title == "Test plant"
    assert found["app/plant.ipynb"].description == "What Test plant tells."
    assert found["app/analysis.ipynb"].title == "Analysis", "its first heading"
    assert "cannot be read" in found["app/broken.ipynb"].description


def test_solar_comes_with_the_package():
    assert "solar" in loaders()
    assert len(application_digest("solar")) == 64
