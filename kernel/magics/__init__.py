"""`%wendelin <subcommand>`: one file a subcommand, each a parser and one call of a lower layer.

A user's mistake is an IPython `UsageError`, shown as one sentence; anything else shows its traceback.
"""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from traitlets import Bool

import wendelin.storage.errors as storage_errors

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from wendelin.kernel.cells import Cells
    from wendelin.kernel.magics.command import Command
    from wendelin.kernel.session import Session

#: The subcommands, in the order of the help; each is a module of this folder with its `COMMAND`.
SUBCOMMANDS = (
    "status", "ls", "tree", "info", "new", "open", "begin", "commit", "abort", "history", "diff", "undo", "tag", "at",
    "entity", "activities", "cells", "help",
)  # fmt: skip


@cache
def subcommand(name: str) -> Command:
    """The subcommand of a name. Raises `UsageError` with the nearest name."""
    if name not in SUBCOMMANDS:
        near = get_close_matches(name, SUBCOMMANDS, 1)
        meant = f"did you mean %wendelin {near[0]}? " if near else ""
        raise UsageError(f"%wendelin has no subcommand {name!r}: {meant}%wendelin help lists all")
    found: Command = importlib.import_module(f"wendelin.kernel.magics.{name}").COMMAND
    return found


@magics_class
class WendelinMagics(Magics):
    """The magic of `%load_ext wendelin` and of the Wendelin kernel."""

    cells = Bool(
        None,
        allow_none=True,
        help="Whether each cell is a transaction. Unset: in the Wendelin kernel they are, elsewhere not.",
    ).tag(config=True)

    def __init__(self, shell: InteractiveShell, session: Session, transactions: Cells) -> None:
        super().__init__(shell)
        self.session = session
        self.transactions = transactions

    @line_cell_magic
    def wendelin(self, line: str, cell: str | None = None) -> Any:
        """Look at and work with the open database: `%wendelin help`."""
        name, _, rest = line.strip().partition(" ")
        found = subcommand(name or "help")
        options = found.parse(rest)
        if options is None:  # the help was asked for
            return None
        try:
            if cell is None:
                return found.run(self, options)
            if found.run_cell is None:
                raise UsageError(f"{found.magic} takes no cell: write it with one % sign, on a line of its own")
            return found.run_cell(self, options, cell)
        except storage_errors.WendelinError as error:
            raise UsageError(str(error)) from error
