"""`%wendelin help`: all subcommands, or one in detail, out of their parsers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wendelin.kernel.display import Table
from wendelin.kernel.magics.command import Command, Options, Parser

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("subcommand", nargs="?", help="which to explain")


def run(magics: WendelinMagics, options: Options) -> Table | None:
    """Show help."""
    from wendelin.kernel.magics import SUBCOMMANDS, subcommand

    if options.subcommand:
        sys.stdout.write(subcommand(options.subcommand).parser.format_help())
        return None
    rows = [(subcommand(name).magic, subcommand(name).summary) for name in SUBCOMMANDS]
    return Table("%wendelin", (), rows, footer="%wendelin help SUBCOMMAND tells more.")


COMMAND = Command("help", "explain the subcommands", arguments, run)
