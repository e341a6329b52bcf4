"""`%wendelin commit`: store all changes now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wendelin.kernel.magics.command import Command, Options, Parser, connection

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = "Changes after it, in the same cell, are a transaction of their own."


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("-m", "--note", nargs="+", default=[], help="what the list of transactions tells about it")


def run(magics: WendelinMagics, options: Options) -> None:
    """Commit."""
    connection(magics)
    magics.session.commit(" ".join(options.note))


COMMAND = Command("commit", "store all changes now", arguments, run, DETAILS)
