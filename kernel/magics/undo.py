"""`%wendelin undo`: take a transaction back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wendelin.kernel.magics.command import Command, Options, Parser, connection
from wendelin.storage.history.transactions import undo

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "That is a transaction of its own, committed at once: it can be undone too. It is refused when later transactions "
    "changed the same, and says which."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("transaction", help="its number, as the history shows it")
    parser.add_argument("-m", "--note", nargs="+", default=[], help="what the list of transactions tells about it")


def run(magics: WendelinMagics, options: Options) -> None:
    """Undo."""
    done = undo(connection(magics), options.transaction, " ".join(options.note))
    sys.stdout.write(f"Undone by transaction {done.tid.hex()}: the next cell, or %wendelin begin, shows it.\n")


COMMAND = Command("undo", "take back what a transaction changed", arguments, run, DETAILS)
