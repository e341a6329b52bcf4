"""How things show: tables, as text and as HTML, the status of a connection, entities that a search found.

Nothing here reads array data.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wendelin.kernel.session import user_name

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from wendelin.storage.database.connection import Connection

#: Transactions that the status of a connection shows.
TRANSACTIONS = 5

_CONNECTION = ("wendelin.storage.database.connection", "Connection")
_FOUND = ("wendelin.storage.ubm.entities", "Found")


@dataclass
class Table:
    """Rows of texts under a title; `columns` may be empty. A cell shows it as HTML, a terminal as text."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    footer: str = ""
    right: Sequence[int] = field(default=())  # columns of numbers

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows] if self.columns else list(self.rows)
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))] if lines else []
        texts = [
            "  ".join(
                cell.rjust(width) if i in self.right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *(f"  {text}" for text in texts), *([self.footer] if self.footer else [])])

    def _repr_html_(self) -> str:
        head = "".join(self._cell("th", i, name) for i, name in enumerate(self.columns))
        body = "".join(
            f"<tr>{''.join(self._cell('td', i, cell) for i, cell in enumerate(row))}</tr>" for row in self.rows
        )
        footer = f"<p>{html.escape(self.footer)}</p>" if self.footer else ""
        return (
            f"<table><caption style='text-align:left'>{html.escape(self.title)}</caption>"
            f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>{footer}"
        )

    def _cell(self, tag: str, column: int, text: str) -> str:
        side = "right" if column in self.right else "left"
        return f"<{tag} style='text-align:{side}'>{html.escape(text)}</{tag}>"


@dataclass
class Tables:
    """Several tables, one beneath the other."""

    tables: Sequence[Table]

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.tables))

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


def status(connection: Connection, more: Sequence[tuple[str, str]] = ()) -> Tables:
    """A connection: where it leads, who works there, and its last transactions."""
    from wendelin.kernel.inventory import count, size_text

    rows = [
        ("database", connection.url),
        ("access", "reading only" if connection.read_only else "reading and writing"),
        ("you are", user_name()),
    ]
    if connection.opened is None:
        return Tables([Table("Wendelin: closed connection", (), [*rows, ("open again", "%wendelin open")])])
    size = connection.db().getSize()
    rows += [("size", f"{size_text(size)}, without array data"), ("root", count(connection.root())), *more]
    return Tables([Table("Wendelin database", (), rows), _transactions(connection)])


def _transactions(connection: Connection) -> Table:
    from wendelin.kernel.inventory import size_text, time_text
    from wendelin.storage.database import last_transactions

    try:
        found = last_transactions(connection, TRANSACTIONS)
    except (OSError, NotImplementedError) as error:
        return Table("Last transactions", (), [], footer=f"not available: {error}")
    rows = [
        (time_text(known.time), known.user, " · ".join(known.note.splitlines()), size_text(known.size))
        for known in found
    ]
    return Table("Last transactions", ("time", "user", "note", "size"), rows, right=(3,))


def entities_table(found: Any, more: str) -> Table:
    """What a search found; `more` tells how to see the rest."""
    rows = [(each.reference, each.type, each.state, each.title) for each in found]
    footer = f"… of {found.total}: {more}" if found.next else ""
    return Table("entities", ("reference", "type", "state", "title"), rows, footer=footer)


def register(shell: InteractiveShell) -> None:
    """Show connections as their status and what a search found as a table, without loading ZODB now."""
    for name, mime, show in _shown():
        _formatters(shell)[mime].for_type_by_name(*name, show)


def _shown() -> list[tuple[tuple[str, str], str, Any]]:
    return [
        (_CONNECTION, "text/html", _connection_html),
        (_CONNECTION, "text/plain", _connection_text),
        (_FOUND, "text/html", _found_html),
    ]


def _formatters(shell: InteractiveShell) -> dict[str, Any]:
    assert shell.display_formatter is not None
    formatters: dict[str, Any] = shell.display_formatter.formatters
    return formatters


def unregister(shell: InteractiveShell) -> None:
    """Show all as without us."""
    for name in (_CONNECTION, _FOUND):
        for formatter in _formatters(shell).values():
            for registered in (name, ".".join(name)):
                formatter.deferred_printers.pop(registered, None)
            for kind in [kind for kind in formatter.type_printers if (kind.__module__, kind.__name__) == name]:
                formatter.pop(kind)


def _found_html(found: Any) -> str:
    return entities_table(found, "search(…, limit=…) shows more")._repr_html_()


def _connection_html(connection: Any) -> str:
    return status(connection)._repr_html_()


def _connection_text(connection: Any, printer: Any, cycle: bool) -> None:
    printer.text(repr(status(connection)))
