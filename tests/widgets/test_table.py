"""Tables and cards: what they say in text, and that nothing anybody wrote becomes HTML."""

from __future__ import annotations

import re

import pytest

from wendelin.widgets import cards
from wendelin.widgets.table import Cell, ChoiceTable, Column, Row

EVIL = '<img src=x onerror="alert(1)">'


def table() -> ChoiceTable:
    return ChoiceTable(
        [Column("name", "System"), Column("power", "Power", "kWp", numeric=True)],
        [Row("a", {"name": Cell("Alpha"), "power": Cell("1.0")}), Row("b", {"name": Cell("Beta", "small", "good")})],
        caption="Two",
    )


def test_its_text_is_a_table_with_the_choice_marked() -> None:
    made = table()
    made.chosen = "b"
    assert repr(made).splitlines() == ["System | Power", "  Alpha | 1.0", "> Beta | "]


def test_new_rows_keep_the_choice_only_if_its_row_is_there() -> None:
    made = table()
    made.chosen = "b"
    made.fill([Row("b", {}), Row("c", {})])
    assert made.chosen == "b"
    made.fill([Row("c", {})])
    assert made.chosen == ""


def test_a_choice_can_be_observed() -> None:
    made = table()
    seen: list[str] = []
    made.observe(lambda change: seen.append(change["new"]), "chosen")
    made.chosen = "a"
    assert seen == ["a"]


PIECES = {
    "header": cards.header(EVIL, [EVIL]),
    "section": cards.section(EVIL, EVIL),
    "figures": cards.figures([cards.Figure(EVIL, EVIL, EVIL, EVIL)]),
    "badge": cards.badge(EVIL),
    "notice": cards.notice(EVIL, EVIL, "bad", EVIL),
    "busy": cards.busy(EVIL),
    "advice": cards.advice([(EVIL, "bad", EVIL, EVIL, EVIL)]),
    "footer": cards.footer([EVIL]),
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_words_never_become_html(piece: str) -> None:
    assert "<img" not in piece
    assert "&lt;img" in piece


def test_notices_are_announced() -> None:
    assert 'role="alert"' in cards.notice("a", "b", "bad")
    assert 'role="status"' in cards.notice("a", "b", "watch")


def test_styles_fetch_nothing_and_close_their_element() -> None:
    style = cards.style()
    assert style.startswith("<style>")
    assert style.count("</style>") == 1
    assert not re.search(r"@import|url\(|https?:", style)
