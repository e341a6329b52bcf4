"""Small notebooks with real parts: a dashboard with a plot, a number and a button, and one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SECRET = "not-for-managers"

IMPORTS = """
import ipywidgets as widgets
import numpy as np
import wendelin
from bokeh.io import output_notebook
from bokeh.plotting import figure
from bokeh.resources import INLINE
from jupyter_bokeh import BokehModel
from voila.utils import wait_for_request
output_notebook(INLINE, hide_banner=True)
"""
PLOT = """
connection = wendelin.connect(read_only=True)
numbers = np.asarray(connection.root()["first-light/numbers"]) if "first-light" in connection.root() else np.arange(5)
plot = figure(height=240, sizing_mode="stretch_width")
plot.line(list(range(len(numbers))), numbers.tolist())
BokehModel(plot)
"""
BUTTON = """
answer = widgets.HTML(f"<b id='sum'>sum {numbers.sum():.0f}</b>")
button = widgets.Button(description="Write")
def write(_):
    import os, transaction
    try:
        connection.root()["written-by-a-manager"] = 1
        transaction.commit()
        answer.value = "<b id='sum'>written</b>"
    except Exception as error:
        transaction.abort()
        leaked = [name for name in os.environ if name.startswith("JUPYTERHUB_")]
        answer.value = f"<b id='sum'>{type(error).__name__} {leaked}</b>"
button.on_click(write)
widgets.VBox([answer, button])
"""


def dashboard(title: str, cells: list[Any]) -> Any:
    return new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "wendelin", "display_name": "Wendelin", "language": "python"},
            "wendelin": {"dashboard": {"title": title, "description": f"What {title} tells."}},
        },
    )


def write_dashboards(folder: Path) -> None:
    """`plant.ipynb` and `failing.ipynb`."""
    folder.mkdir(parents=True, exist_ok=True)
    plant = [
        new_code_cell(IMPORTS),
        new_code_cell("wait_for_request()"),
        new_markdown_cell("# Test plant\n\nWith a formula, $E = m c^2$."),
        new_code_cell(PLOT),
        new_code_cell(BUTTON),
    ]
    failing = [
        new_markdown_cell("# Before"),
        new_code_cell(f"raise RuntimeError({SECRET!r})"),
        new_markdown_cell("# After"),
    ]
    nbformat.write(dashboard("Test plant", plant), folder / "plant.ipynb")
    nbformat.write(dashboard("Failing plant", failing), folder / "failing.ipynb")


def write_words(file: Path, word: str) -> None:
    """A dashboard, called `word`, that prints it."""
    nbformat.write(dashboard(word, [new_code_cell(f"print('printed', {word!r})")]), file)
