"""`%wendelin diff`: which rows of an array differ between two states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wendelin.kernel.magics.command import Command, Options, Parser
from wendelin.kernel.magics.history import array_at
from wendelin.storage.history.moments import moment

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "A state is a transaction as %wendelin history shows it, a tag, or a time as 2026-01-01T12:00, in local time if it "
    "names no zone."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", help="the array, as plants/4/power")
    parser.add_argument("t0", help="the first state")
    parser.add_argument("t1", nargs="?", help="the second one; now when left out")
    parser.add_argument("-q", "--quick", action="store_true", help="read no bytes: may name rows that hold the same")


def run(magics: WendelinMagics, options: Options) -> Any:
    """Compare."""
    first = moment(options.t0, "local")
    second = None if options.t1 is None else moment(options.t1, "local")
    return array_at(magics, options.path).diff(first, second, exact=not options.quick)


COMMAND = Command("diff", "tell which rows of an array changed", arguments, run, DETAILS, completes_paths=True)
