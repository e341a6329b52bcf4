"""`%wendelin status`: which database is open, who works there, what was committed last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wendelin.kernel.display import Tables, status
from wendelin.kernel.magics.command import Command, Options, connection, nothing

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def run(magics: WendelinMagics, options: Options) -> Tables:
    """Show the connection."""
    cells = "each cell is a transaction" if magics.transactions.active else "off: %wendelin cells on, or commit by hand"
    return status(connection(magics), [("cells", cells)])


COMMAND = Command("status", "show the open database and its last transactions", nothing, run)
