"""`wendelin db history|diff|undo|tag|untag|tags|pack`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

import wendelin
from tests.storage.history.conftest import commit
from wendelin.storage.cli import main


@pytest.fixture
def run(url: str, conn: Any, root: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on a database of three transactions."""
    root["plants/4"] = array = wendelin.ZBigArray((1000, 8), "f4")
    commit(conn, "made")
    array[5:9] = 2
    commit(conn, "changed")
    conn.close()
    monkeypatch.setenv("WENDELIN_DB", url)

    def call(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["db", *words])
        assert done.exit_code == status, done.output
        return str(done.output)

    return call


def test_history_and_diff(run: Any, url: str) -> None:
    shown = run("history")
    assert [word in shown for word in ("made", "changed", "initial database creation")] == [True] * 3
    assert "1,000 × 8" in run("history", "--array", "plants/4", "--db", url)
    entries = json.loads(run("history", url, "--json", "-n", "2"))
    assert [entry["note"] for entry in entries] == ["changed", "made"]
    made = entries[1]["tid"]
    assert "4 rows changed: 5:9" in run("diff", "plants/4", made)
    assert json.loads(run("diff", "plants/4", made, entries[0]["time"], "--json"))["rows"] == [[5, 9]]
    assert "rows changed" in run("diff", "plants/4", made, "--quick")
    assert "not in this folder" in run("diff", "nothing", made, status=2)
    assert "'plants' is Folder, not an array" in run("history", "--array", "plants", status=2)
    assert "this database has the states from" in run("diff", "plants/4", "1999-01-01", status=2)


def test_tags_undo_and_pack(run: Any) -> None:
    assert "there are no tags" in run("tags")
    assert "<tag 'v1' on 'plants/4'" in run("tag", "v1", "plants/4", "--note", "as delivered")
    assert "there is a tag 'v1' already" in run("tag", "v1", status=2)
    assert "not in this folder" in run("tag", "v2", "nothing", status=2)
    (tag,) = json.loads(run("tags", "--json"))
    assert (tag["name"], tag["path"], tag["note"]) == ("v1", "plants/4", "as delivered")
    changed, made = (entry["tid"] for entry in json.loads(run("history", "--json", "-n", "3"))[1:])
    assert "cannot be undone" in run("undo", made, status=2)
    assert "'back'" in run("undo", changed, "--note", "back")
    assert "1 rows" not in run("diff", "plants/4", "v1")
    run("tag", "all")
    assert "packed up to" in run("pack", "--before", "2026-01-01")
    assert "is no time" in run("pack", "--before", "all", status=2)
    run("untag", "all")
    assert "bytes freed" in run("pack")
    assert "4 rows changed: 5:9" in run("diff", "plants/4", "v1")
    assert "removed the tag 'v1'" in run("untag", "v1")
    assert "there is no tag 'v1'" in run("untag", "v1", status=2)
