"""`%wendelin open`: another database, or a Python name for what is stored."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from wendelin.kernel.magics.command import Command, Options, Parser, at

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "With a URL (local:///folder, zeo://host:port, file:///folder, postgresql://…), db and root lead to that database "
    "from now on; without anything, to the default one, again if it was not reachable. With a path, a Python variable "
    "is bound: %wendelin open plants/4/power as power."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("what", nargs="?", help="the URL of a database, or a path within the open one")
    parser.add_argument("as_", nargs="?", metavar="as", choices=("as",), help="the word as, before a name")
    parser.add_argument("name", nargs="?", help="the Python variable; the path's last part when left out")
    parser.add_argument("-r", "--read-only", action="store_true", help="open a database for reading only")


def run(magics: WendelinMagics, options: Options) -> Any:
    """Open a database or a path."""
    if options.what is None or "://" in options.what:
        if options.name:
            raise UsageError("a database is always called db, and its root folder root; leave `as …` out")
        return _database(magics, options)
    value = at(magics, options.what)
    if options.as_ and not options.name:
        raise UsageError(f"as what? write %wendelin open {options.what} as NAME")
    name = options.name or options.what.rstrip("/").rpartition("/")[2]
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"{name!r} is no Python name: write %wendelin open {options.what} as NAME")
    magics.session.namespace[name] = value
    return value


def _database(magics: WendelinMagics, options: Options) -> Any:
    try:
        return magics.session.open(options.what, read_only=options.read_only)
    except OSError as error:
        raise UsageError(str(error)) from error


COMMAND = Command("open", "open a database, or bind a stored object to a name", arguments, run, DETAILS, True)
