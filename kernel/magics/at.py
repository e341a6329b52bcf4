"""`%%wendelin at`: run a cell on an earlier state of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from wendelin.kernel.magics.command import Command, Options, Parser, connection
from wendelin.kernel.ubm import names_of
from wendelin.storage.history.moments import moment, told
from wendelin.storage.history.snapshots import snapshot

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from wendelin.kernel.magics import WendelinMagics

DETAILS = (
    "The cell's first line: below it, db, root and ubm are the earlier state's, which can be read only; all other "
    "names are the notebook's, and stay. A state is a transaction as %wendelin history shows it, a tag, or a time as "
    "2026-01-01 or 2026-01-01 12:00, in local time if it names no zone."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("state", nargs="+", help="the state, as 2026-01-01 12:00")


def run(magics: WendelinMagics, options: Options) -> None:
    """As a line it has no cell."""
    state = " ".join(options.state)
    raise UsageError(f"write %%wendelin at {state} as the first line of a cell; the cell is what runs on that state")


def run_cell(magics: WendelinMagics, options: Options, cell: str) -> None:
    """Run a cell."""
    live = connection(magics)
    past = magics.session.past.at(live.db(), moment(" ".join(options.state), "local"))
    past.url = live.url
    assert magics.shell is not None
    with _bound(magics.shell.user_ns, names_of(past)):
        result: Any = magics.shell.run_cell(cell, store_history=False)  # type: ignore[no-untyped-call]
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        raise UsageError(f"the cell failed on the state of {told(snapshot(past))}: {type(error).__name__}")


@contextmanager
def _bound(names: MutableMapping[str, Any], values: dict[str, Any]) -> Iterator[None]:
    """Bind names for a while."""
    before = {name: names[name] for name in values if name in names}
    names.update(values)
    try:
        yield
    finally:
        for name in values:
            if name in before:
                names[name] = before[name]
            else:
                names.pop(name, None)


COMMAND = Command("at", "run a cell on an earlier state", arguments, run, DETAILS, run_cell=run_cell)
