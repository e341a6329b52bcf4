"""Pieces of a dashboard as accessible HTML strings: headings, figures, badges, notices, and the page's style.

Every text is escaped here, so callers hand over plain words. Show the strings with `ipywidgets.HTML`, or `block`, which
gives them the classes the style expects.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import ipywidgets

from wendelin.widgets.table import Kind

_STYLES: Final = ("cards.css", "table.css")  # badges are the table's

SYMBOLS: Final = {"good": "✓", "watch": "!", "bad": "✕", "unknown": "?", "": ""}
"""Beside the colour of a notice: colour alone tells some people nothing."""


@dataclass(frozen=True)
class Figure:
    """A key figure: `label`, `value`, its `unit`, and a `hint` in small print."""

    label: str
    value: str
    unit: str = ""
    hint: str = ""


def style() -> str:
    """The style sheet of dashboards, light and dark; put it on the page once."""
    here = Path(__file__).parent
    return f"<style>{''.join((here / name).read_text(encoding='utf-8') for name in _STYLES)}</style>"


def block(html: str, *classes: str) -> ipywidgets.HTML:
    """`html` as a widget of the full width, with the classes of the style."""
    widget = ipywidgets.HTML(html, layout=ipywidgets.Layout(width="auto", margin="0"))
    for name in ("wendelin-block", *classes):
        widget.add_class(name)
    return widget


def header(title: str, lines: Iterable[str]) -> str:
    """The page's heading with lines of small print."""
    small = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<header class="wendelin-header"><h1>{escape(title)}</h1>{small}</header>'


def section(title: str, text: str = "") -> str:
    """A section's heading and a sentence about it."""
    return f'<h2 class="wendelin-section">{escape(title)}</h2>' + (
        f'<p class="wendelin-text">{escape(text)}</p>' if text else ""
    )


def figures(items: Iterable[Figure]) -> str:
    """Key figures side by side, two in a row on a phone."""
    return '<div class="wendelin-figures">' + "".join(_figure(item) for item in items) + "</div>"


def _figure(item: Figure) -> str:
    # No <dl>: JupyterLab's style for rendered HTML floats its terms.
    unit = f' <span class="wendelin-figure-unit">{escape(item.unit)}</span>' if item.unit else ""
    hint = f'<div class="wendelin-figure-hint">{escape(item.hint)}</div>' if item.hint else ""
    return (
        f'<div class="wendelin-figure" role="group" aria-label="{escape(item.label)}">'
        f'<div class="wendelin-figure-label">{escape(item.label)}</div>'
        f'<div class="wendelin-figure-value">{escape(item.value)}{unit}</div>{hint}</div>'
    )


def badge(text: str, kind: Kind = "unknown") -> str:
    """A word in a pill, coloured by `kind`."""
    return f'<span class="wendelin-badge" data-kind="{escape(kind)}">{escape(text)}</span>'


def notice(title: str, text: str, kind: Kind = "unknown", code: str = "") -> str:
    """A box that says something about the whole page: what happened, and with `code` what to type."""
    typed = f"<pre><code>{escape(code)}</code></pre>" if code else ""
    role = "alert" if kind == "bad" else "status"
    return (
        f'<div class="wendelin-notice" data-kind="{escape(kind)}" role="{role}">'
        f'<span class="wendelin-notice-sign" aria-hidden="true">{SYMBOLS[kind]}</span>'
        f"<div><strong>{escape(title)}</strong><p>{escape(text)}</p>{typed}</div></div>"
    )


def busy(text: str) -> str:
    """A line that says that something is being computed."""
    return (
        '<p class="wendelin-busy" role="status"><span class="wendelin-spinner" aria-hidden="true"></span>'
        f"{escape(text)}</p>"
    )


def advice(items: Iterable[tuple[str, Kind, str, str, str]]) -> str:
    """A list of suggestions: (word of urgency, its kind, what, why, worth)."""
    lines = [
        f"<li>{badge(word, kind)} <strong>{escape(what)}</strong>"
        f"<p>{escape(why)}</p>{f'<p class=wendelin-worth>{escape(worth)}</p>' if worth else ''}</li>"
        for word, kind, what, why, worth in items
    ]
    return f'<ul class="wendelin-advice">{"".join(lines)}</ul>'


def footer(lines: Iterable[str]) -> str:
    """Small print at the end: where data come from."""
    return '<footer class="wendelin-footer">' + "".join(f"<p>{escape(line)}</p>" for line in lines) + "</footer>"
