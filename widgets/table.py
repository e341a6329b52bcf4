"""A table whose rows can be chosen; on a narrow page each row becomes a card.

::

    table = ChoiceTable(
        columns=[Column("name", "System"), Column("power", "Power", unit="kWp", numeric=True)],
        rows=[Row("4", {"name": Cell("Golden"), "power": Cell("1.0")})],
    )
    table.observe(lambda change: show(change["new"]), "chosen")

Texts are shown as they are, never as HTML. The choice is a button in each row's first cell: it works by keyboard and is
read aloud; a click anywhere in the row does the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import anywidget
import traitlets

_HERE = Path(__file__).parent

Kind = Literal["", "good", "watch", "bad", "unknown"]


@dataclass(frozen=True)
class Column:
    """A column: `key` in the rows' cells, `title`, `unit` in small print beneath it, `numeric` columns align right."""

    key: str
    title: str
    unit: str = ""
    numeric: bool = False


@dataclass(frozen=True)
class Cell:
    """`text`, a second line `detail` in small print, and a `kind` that makes the text a badge."""

    text: str
    detail: str = ""
    kind: Kind = ""


@dataclass(frozen=True)
class Row:
    """`id` is what `ChoiceTable.chosen` becomes; `cells` by column key."""

    id: str
    cells: Mapping[str, Cell]


class ChoiceTable(anywidget.AnyWidget):
    """The table. `chosen` is the id of the chosen row, ``""`` when none is; set it to choose from Python."""

    _esm = _HERE / "table.js"
    _css = _HERE / "table.css"

    columns = traitlets.List(traitlets.Dict()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.Unicode("").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row] = (),
        *,
        caption: str = "",
        chosen: str = "",
        **options: Any,
    ) -> None:
        super().__init__(
            columns=[vars(column) for column in columns],
            rows=[_plain(row) for row in rows],
            caption=caption,
            chosen=chosen,
            **options,
        )

    def fill(self, rows: Sequence[Row]) -> None:
        """Show these rows instead; the choice stays when its row does, else it becomes ``""``."""
        with self.hold_sync():
            self.rows = [_plain(row) for row in rows]
            if self.chosen not in {row.id for row in rows}:
                self.chosen = ""

    def __repr__(self) -> str:
        titles = [str(column["title"]) for column in self.columns]
        keys = [column["key"] for column in self.columns]
        lines = [" | ".join(titles)]
        for row in self.rows:
            mark = "> " if row["id"] == self.chosen else "  "
            lines.append(mark + " | ".join(row["cells"].get(key, {}).get("text", "") for key in keys))
        return "\n".join(lines)


def _plain(row: Row) -> dict[str, Any]:
    return {"id": row.id, "cells": {key: vars(cell) for key, cell in row.cells.items()}}
