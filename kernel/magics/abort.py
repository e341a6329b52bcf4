"""`%wendelin abort`: take stored data back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wendelin.kernel.magics.command import Command, Options, connection, nothing

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def run(magics: WendelinMagics, options: Options) -> None:
    """Abort."""
    connection(magics)
    magics.session.abort()


COMMAND = Command(
    "abort", "take stored data back to the last commit", nothing, run, "Python variables keep their values."
)
