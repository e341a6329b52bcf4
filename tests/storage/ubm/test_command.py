"""`wendelin entity …`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest

from wendelin.storage.cli import main
from wendelin.storage.ubm.registry import types


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs `wendelin entity` on a database of its own; with `fails`, the error's text."""

    def call(*arguments: str, fails: int = 0) -> str:
        done = click.testing.CliRunner().invoke(
            main, ["entity", *arguments], env={"WENDELIN_DB": f"file://{tmp_path}/db"}, catch_exceptions=False
        )
        assert done.exit_code == fails, done.output
        return done.output

    return call


def test_the_life_of_an_entity(run: Any) -> None:
    assert "there is no database" in run("list", fails=1)
    assert run("create", "organisation", "title=Acme; Solar", "--reference", "ACME") == "ACME\n"
    fields = ("peak_power=12.3 kW", "owner=ACME", "keywords=roof;south")
    assert run("create", "plant", *fields, "--reference", "P4") == "P4\n"
    made = run("create", "sensor", "asset=P4", "unit=W").strip()
    assert made.startswith("SEN-")
    assert run("do", "P4", "validate", "--why", "commissioned") == "validated\n"
    run("set", "P4", "title=Roof 4", "peak_power=13 kW")
    assert run("list", "--type", "plant").split() == ["P4", "plant", "validated", "Roof", "4"]
    assert json.loads(run("list", "--state", "validated", "--json"))["keywords"] == ["roof", "south"]
    assert run("list", "--related", "asset=P4").startswith(made)
    assert run("list", "--text", "solar").startswith("ACME")
    shown = run("show", "P4")
    for text in ("13 kW", "ACME Acme; Solar", "draft → validated  commissioned", "archive"):
        assert text in shown
    assert json.loads(run("show", "P4", "--json"))["pointers"] == 1
    assert "… 3 there are: narrow it, or --limit 3" in run("list", "--limit", "1")
    assert "cannot be deleted" in run("delete", "P4", "--yes", fails=1)
    assert run("delete", made, "P4", "--yes") == f"{made} is deleted\nP4 is deleted\n"
    assert run("reindex") == "1 entities are in the catalogue\n"


def test_mistakes_are_told_in_one_line(run: Any) -> None:
    run("create", "plant", "--reference", "P")
    assert "Error: no entity is named 'X'; look for it" in run("show", "X", fails=1)
    assert "did you mean 'plant'?" in run("create", "plnt", fails=1)
    assert "did you mean title?" in run("set", "P", "titel=x", fails=1)
    assert "is no FIELD=VALUE" in run("set", "P", "title", fails=2)
    assert "from here: 'validate', 'archive'" in run("do", "P", "start", fails=1)
    assert "no type of entities is named 'x'" in run("types", "x", fails=1)


def test_types_are_listed_and_explained(run: Any) -> None:
    assert [line.split()[0] for line in run("types").splitlines()] == [*types()]
    assert json.loads(run("types", "--json").splitlines()[0])["type"] == "analysis"
    assert "| `peak_power` | quantity in kW |" in run("types", "plant")
    assert json.loads(run("types", "plant", "--json"))["properties"]["peak_power"]


@pytest.mark.parametrize("form", ["json", "csv"])
def test_export_and_import(run: Any, tmp_path: Path, form: str) -> None:
    run("create", "organisation", "title=Ünïted", "--reference", "ACME")
    run("create", "plant", "owner=ACME", "--reference", "P4")
    file = tmp_path / f"all.{form}"
    assert run("export", str(file)) == ""
    assert run("export", "--format", form) == file.read_text(encoding="utf-8")
    assert "has it; leave it out, or import with update" in run("import", str(file), fails=1)
    assert run("import", str(file), "--update") == "0 created, 2 changed, 0 left out\n"
    run("delete", "P4", "ACME", "--yes")
    assert run("import", str(file)) == "2 created, 0 changed, 0 left out\n"
    assert run("list", "--related", "owner=ACME").startswith("P4")


def test_a_wrong_line_stops_the_import_unless_told_otherwise(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    file.write_text("type,reference,modules\nplant,A,5\nplant,B,many\n")
    told = run("import", str(file), fails=1)
    assert "1 line cannot be imported:" in told
    assert "line 3: plant: modules = 'many'" in told
    assert run("list") == ""
    told = run("import", str(file), "--partial", fails=1)
    assert told.endswith("1 created, 0 changed, 1 left out\n")
    assert run("list").startswith("A ")
    file.write_bytes(b"type,title\nplant,\xff\n")
    assert "is not UTF-8" in run("import", str(file), fails=1)
