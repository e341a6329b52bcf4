"""`%wendelin begin`: a new transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wendelin.kernel.magics.command import Command, Options, connection, nothing

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def run(magics: WendelinMagics, options: Options) -> None:
    """Begin."""
    connection(magics)
    magics.session.begin()


COMMAND = Command(
    "begin",
    "begin a transaction: see what others committed",
    nothing,
    run,
    "What was not committed before is given up.",
)
