"""`%wendelin history|diff|undo|tag` and `%%wendelin at`: the past, in a notebook."""

from __future__ import annotations

import re

import pytest

TID = re.compile(r"\b[0-9a-f]{16}\b")


@pytest.fixture(scope="module")
def plant(notebook):
    """The notebook with an array of three versions; their transactions, the oldest first."""
    notebook.ok("root['past/power'] = wendelin.ZBigArray((1000, 2), 'f8')")
    notebook.ok("root['past/power'][10:20] = 1  # the second version")
    notebook.ok("root['past/power'].append([[5, 5]])")
    shown = notebook.ok("%wendelin history past/power").result
    return notebook, TID.findall(shown)[::-1]


def test_history_lists_transactions(plant):
    """Of the database with the cells that made them, of an array with its shapes; as HTML too."""
    notebook, tids = plant
    assert len(tids) == 3
    shown = notebook.ok("%wendelin history -n 3")
    assert "the second version" in shown.result
    assert "<table>" in shown.html
    assert "1,001 × 2" in notebook.ok("%wendelin history past/power").result
    refused = notebook.run("%wendelin history past")
    assert (refused.status, refused.evalue) == ("error", "'past' is Folder, not an array")


def test_diff_names_rows(plant):
    """Between two transactions, and up to now."""
    notebook, tids = plant
    assert "10:20" in notebook.ok(f"%wendelin diff past/power {tids[0]} {tids[1]}").result
    assert "10:20, 1,000:1,001" in notebook.ok(f"%wendelin diff past/power {tids[0]}").result
    assert "no tag has that name" in notebook.run("%wendelin diff past/power nonsense").evalue


def test_a_cell_runs_on_the_past(plant):
    """`db` and `root` are those of the state, other names are the notebook's and stay; afterwards all is as before."""
    notebook, tids = plant
    notebook.ok("factor = 3")
    cell = notebook.ok(
        f"%%wendelin at {tids[0]}\nold = root['past/power']\nvalues = old[:]\nfound = factor * len(values)\nfound"
    )
    assert cell.result == "3000"
    assert notebook.ok("len(root['past/power']), len(values), values.flags.writeable, float(old[:].sum())").result == (
        "(1001, 1000, False, 0.0)"
    )
    assert notebook.ok("db is root._p_jar and not db.read_only").result == "True"


def test_the_past_cannot_be_written(plant):
    """Nor by a folder, nor by an array; the cell fails, and what else it did is not stored."""
    notebook, tids = plant
    for line in ("root['past/other'] = 1", "root['past/power'][0] = 1", "root['past/power'][:][0] = 1"):
        cell = notebook.run(f"%%wendelin at {tids[1]}\n{line}")
        assert cell.status == "error", line
        assert re.search("cannot be changed|read-only", cell.traceback), line
        assert "cell failed on the state of" in cell.evalue
    assert notebook.ok("list(root['past'])").result == "['power']"


def test_a_state_that_is_not_there_is_refused(plant):
    """With the times there are; a line without a cell says how it is written."""
    notebook, _ = plant
    assert "this database has the states from" in notebook.run("%%wendelin at 1999-01-01\nroot").evalue
    assert "first line of a cell" in notebook.run("%wendelin at 2026-01-01").evalue
    assert "takes no cell" in notebook.run("%%wendelin ls\nroot").evalue


def test_tags_and_undo(plant):
    """A tag opens its state; an undo shows in the next cell, and a refused one says what stands in the way."""
    notebook, tids = plant
    assert "makes one" in notebook.ok("%wendelin tag").result
    notebook.ok("%wendelin tag 'first light' past/power -m for us")
    assert re.search(r"first light +past/power +\d{4}.* for us", notebook.ok("%wendelin tag").result)
    notebook.ok("root['past/power'][:] = 7  # a mistake")
    assert notebook.ok("%%wendelin at first light\nfloat(root['past/power'][:].sum())").result == "30.0"
    assert "a mistake" in notebook.run(f"%wendelin undo {tids[1]}").evalue
    mistake = TID.findall(notebook.ok("%wendelin history past/power -n 1").result)[0]
    assert "Undone by" in notebook.ok(f"%wendelin undo {mistake}").stdout
    assert notebook.ok("float(root['past/power'][:].sum())").result == "30.0"
    notebook.ok("%wendelin tag 'first light' --delete")
    assert "makes one" in notebook.ok("%wendelin tag").result
