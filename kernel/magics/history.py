"""`%wendelin history`: what was committed, or what changed an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from wendelin.kernel.magics.command import Command, Options, Parser, at, connection
from wendelin.storage.history.transactions import history

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = "Each transaction is a state that %%wendelin at shows again, until it is packed away."


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", nargs="?", help="an array: only the transactions that changed it")
    parser.add_argument("-n", "--limit", type=int, default=20, help="show at most so many (20)")


def run(magics: WendelinMagics, options: Options) -> Any:
    """Show transactions."""
    if options.limit < 0:
        raise UsageError(f"-n {options.limit}: how many transactions? write -n 20")
    if options.path is None:
        return history(connection(magics), options.limit)
    return array_at(magics, options.path).history(options.limit)


def array_at(magics: WendelinMagics, path: str) -> Any:
    """The array at a path; `UsageError` names what is there instead."""
    from wendelin.storage.arrays.array import ZBigArray

    found = at(magics, path)
    if not isinstance(found, ZBigArray):
        raise UsageError(f"{path!r} is {type(found).__name__}, not an array")
    return found


COMMAND = Command("history", "list transactions, of all or of an array", arguments, run, DETAILS, completes_paths=True)
