"""`%wendelin cells`: whether cells are transactions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wendelin.kernel.magics.command import Command, Options, Parser

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "A cell that succeeds commits, one that raises aborts, from the next cell on. When it is off, call "
    "transaction.commit() or %wendelin commit."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("switch", nargs="?", choices=("on", "off"), help="left out: tell how it is")


def run(magics: WendelinMagics, options: Options) -> None:
    """Switch."""
    cells = magics.transactions
    if options.switch == "on":
        cells.on()
    elif options.switch == "off":
        cells.off()
    sys.stdout.write(
        "Each cell is a transaction.\n" if cells.active else "Cells are no transactions: commit by hand.\n"
    )


COMMAND = Command("cells", "switch transactions of cells on or off", arguments, run, DETAILS)
