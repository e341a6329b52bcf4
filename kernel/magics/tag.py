"""`%wendelin tag`: name a state, list the names, remove one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from wendelin.kernel.display import Table
from wendelin.kernel.inventory import time_text
from wendelin.kernel.magics.command import Command, Options, Parser, at, connection

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "Without a name, list the tags. Packing keeps what a tag names: of an array or a folder exactly that, of the whole "
    "database all from then on. It is stored with the cell; what changed in the same cell must be committed before."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("name", nargs="?", help="the tag, as v1 or 'before the storm'")
    parser.add_argument("path", nargs="?", help="an array or a folder; the whole database when left out")
    parser.add_argument("-m", "--note", nargs="+", default=[], help="what it is for")
    parser.add_argument("-d", "--delete", action="store_true", help="remove the tag of that name")


def run(magics: WendelinMagics, options: Options) -> Any:
    """Tag, list or remove."""
    opened = connection(magics)
    if options.delete and not options.name:
        raise UsageError("which tag? write %wendelin tag NAME --delete")
    if options.delete:
        opened.untag(options.name)
        return None
    if options.name is None:
        rows = [(tag.name, tag.path or "the whole database", time_text(tag.time), tag.note) for tag in opened.tags()]
        return Table(
            "Tags", ("name", "of", "time", "note"), rows, footer="" if rows else "%wendelin tag NAME makes one"
        )
    obj = None if options.path is None else at(magics, options.path)
    return opened.tag(options.name, obj, " ".join(options.note))


COMMAND = Command("tag", "name the present state, so that it stays", arguments, run, DETAILS)
