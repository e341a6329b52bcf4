"""Activities in a notebook: left by one cell, worked on by a node that its commit starts, awaited by the next."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_decks_line_in_a_notebook(open_notebook: Any) -> None:
    notebook = open_notebook(WENDELIN_ACTIVITIES="1")  # its node ends soon
    notebook.ok("import wendelin; root['data'] = wendelin.ZBigArray((100,)); root['data'][:] = 1")
    notebook.ok(
        "@wendelin.operation\n"
        "def process(data, start, size):\n"
        "    data[start : start + size] *= factor\n"
        "    return start\n"
        "factor = 3"
    )
    notebook.ok("data = root['data']\nhandles = [data.activate(tag='x').process(s * 25, 25) for s in range(4)]")
    assert notebook.ok("[handle.result(60) for handle in handles]").result.endswith("[0, 25, 50, 75]")
    assert notebook.ok("data[:].sum()").result in ("np.float64(300.0)", "300.0")
    assert notebook.ok("later = wendelin.activate(lambda x: x + factor)(4)").status == "ok"
    assert notebook.ok("await later").result.endswith("7")
    failed = notebook.ok("bad = wendelin.activate(lambda: 1 / 0, max_retry=0)()")
    assert failed.status == "ok"
    shown = notebook.run("bad.result(60)")
    assert shown.ename == "ActivityError"
    assert "ZeroDivisionError" in shown.evalue
    assert "ZeroDivisionError" in notebook.ok("%wendelin activities").html
    notebook.ok("%wendelin activities skip {bad.uid}")
    assert "nothing is waiting" in notebook.ok("%wendelin activities").html


def test_a_bar_moves_while_a_cell_waits(open_notebook: Any) -> None:
    """What a notebook shows of `handle.result()`, and of a tile, while the cell is busy."""
    notebook = open_notebook(WENDELIN_ACTIVITIES="1")
    notebook.ok(
        "import time, wendelin\n"
        "def walk():\n"
        "    for step in range(1, 16):\n"
        "        wendelin.progress(step, 20, f'step {step}')\n"
        "        time.sleep(0.1)\n"
        "handle = wendelin.activate(walk)()"
    )
    notebook.ok("from wendelin.widgets.activities import ActivityBar; tile = ActivityBar(handle)")
    said: list[Any] = []
    reply = notebook.client.execute_interactive("handle.result(60)", timeout=60, output_hook=said.append)
    assert reply["content"]["status"] == "ok"
    drawn = [each["content"]["data"] for each in said if each["msg_type"] in ("display_data", "update_display_data")]
    assert any('<progress value="0.' in data["text/html"] and "of 20" in data["text/html"] for data in drawn)
    assert drawn[-1]["text/html"].startswith("<div> walk: done [")
    tiles = [each["content"]["data"]["state"] for each in said if each["msg_type"] == "comm_msg"]
    assert any("step" in one["note"] for state in tiles for one in state.get("running", ()))
    notebook.ok("tile.close()")
