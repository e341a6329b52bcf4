"""Lists that show as tables: as text in a terminal, as HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


class Listed(list[T], Generic[T]):
    """A list with a title whose items have rows of texts."""

    title = ""
    columns: Sequence[str] = ()
    right: Sequence[int] = ()

    def rows(self) -> list[Sequence[str]]:
        """The texts of each item."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        texts = (
            "  ".join(
                text.rjust(width) if i in self.right else text.ljust(width)
                for i, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([self.title, *(f"  {text}" for text in texts)])

    def _repr_html_(self) -> str:
        head = "".join(self._cell("th", i, name) for i, name in enumerate(self.columns))
        body = "".join(
            f"<tr>{''.join(self._cell('td', i, text) for i, text in enumerate(row))}</tr>" for row in self.rows()
        )
        return (
            f"<table><caption style='text-align:left'>{html.escape(self.title)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(repr(self))  # type: ignore[attr-defined]  # IPython's, which this floor does not import

    def _cell(self, tag: str, column: int, text: str) -> str:
        side = "right" if column in self.right else "left"
        return f"<{tag} style='text-align:{side}'>{html.escape(text)}</{tag}>"


def moment_text(time: datetime) -> str:
    """A time with its zone, so that it can be given as `at=` again."""
    return f"{time:%Y-%m-%d %H:%M:%S.%f}Z"


def one_line(texts: Iterable[str]) -> str:
    """A note of several lines in one."""
    return " · ".join(texts)


def size_text(nbytes: int | None) -> str:
    """Bytes for people; empty where they are not known."""
    if nbytes is None:
        return ""
    amount = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} TB"
