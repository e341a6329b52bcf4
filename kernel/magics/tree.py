"""`%wendelin tree`: folders within folders, as an indented list."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from wendelin.kernel.display import Table
from wendelin.kernel.inventory import entry
from wendelin.kernel.magics.command import Command, Options, Parser, at
from wendelin.storage.folder import Folder

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", nargs="?", default="", help="a folder; the root when left out")
    parser.add_argument("-d", "--depth", type=int, default=3, help="folders within folders, so deep (3)")
    parser.add_argument("-n", "--names", type=int, default=200, help="show at most so many names (200)")


def run(magics: WendelinMagics, options: Options) -> Table:
    """Show what lies below a path."""
    found = at(magics, options.path)
    rows = list(islice(_rows(found, 0, options.depth), max(options.names, 0) + 1))
    more = "… and more; -n shows it" if len(rows) > options.names else ""
    return Table(options.path.strip("/") or "root", (), rows[: options.names], footer=more)


def _rows(folder: object, level: int, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(folder, Folder) or level >= depth:
        return
    for name in folder:
        value = folder[name]
        each = entry(name, value)
        shape = "" if each.shape is None else f"{each.shape} {each.dtype}"
        yield "\N{NO-BREAK SPACE}" * 3 * level + name + ("/" if each.kind == "folder" else ""), shape or each.kind
        yield from _rows(value, level + 1, depth)


COMMAND = Command("tree", "show folders within folders", arguments, run, completes_paths=True)
