"""`%wendelin ls`: a table of what lies at a path."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from wendelin.kernel.display import Table
from wendelin.kernel.inventory import Entry, count, entries, entry, size_text, time_text
from wendelin.kernel.magics.command import Command, Options, Parser, at
from wendelin.storage.folder import Folder

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

COLUMNS = ("name", "kind", "shape", "dtype", "size", "last change")


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", nargs="?", default="", help="a folder, or one object; the root when left out")
    parser.add_argument("-n", "--names", type=int, default=100, help="show at most so many names (100)")


def run(magics: WendelinMagics, options: Options) -> Table:
    """Show the names at a path."""
    found = at(magics, options.path)
    title = options.path.strip("/") or "root"
    if not isinstance(found, Folder):
        return Table(title, COLUMNS, [row(entry(title, found))], right=(4,))
    shown = [row(each) for each in islice(entries(found), max(options.names, 0) + 1)]
    if not shown:
        return Table(title, (), [], footer="empty: %wendelin new PATH SHAPE DTYPE makes an array")
    more = f"… of {count(found)}; -n shows more" if len(shown) > options.names else ""
    return Table(title, COLUMNS, shown[: options.names], footer=more, right=(4,))


def row(each: Entry) -> tuple[str, ...]:
    """An entry as texts."""
    shape = "" if each.shape is None else " × ".join(f"{n:,}" for n in each.shape) or "()"
    return each.path, each.kind, shape, each.dtype, size_text(each.nbytes), time_text(each.changed)


COMMAND = Command("ls", "list names: kind, shape, dtype, size and last change", arguments, run, completes_paths=True)
