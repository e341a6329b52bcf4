"""`%wendelin activities`: what waits, runs and failed; and retry, cancel and skip."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from wendelin.kernel.display import Table, Tables
from wendelin.kernel.magics.command import Command, Options, Parser
from wendelin.storage.activities.command import overview, summary
from wendelin.storage.activities.monitor import Monitor
from wendelin.storage.activities.queue import queue_of

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics

COLUMNS = ("number", "state", "tries", "user", "what", "tag", "created", "error")


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("action", nargs="?", choices=("retry", "cancel", "skip"), help="what to do with some")
    parser.add_argument("number", nargs="*", help="the first characters of their numbers")
    parser.add_argument("-n", "--names", type=int, default=50, help="show at most so many (50)")


def run(magics: WendelinMagics, options: Options) -> Tables | None:
    """Show the activities, or do something about some; that is stored when the cell ends."""
    connection = magics.session.connection
    queue = None if connection is None else queue_of(connection)
    if options.action:
        if queue is None or not options.number:
            raise UsageError(f"%wendelin activities {options.action} NUMBER: see %wendelin activities for the numbers")
        for number in options.number:
            try:
                message = queue.find(number)
            except KeyError as error:
                raise UsageError(f"{error.args[0]}: see %wendelin activities") from None
            getattr(queue, options.action)(message)
        return None
    found = [] if queue is None else list(islice(queue, options.names + 1))
    rows = [tuple(str(value) for value in summary(message).values()) for message in found[: options.names]]
    rows = [(row[0][:8], *row[1:]) for row in rows]
    if not rows:
        return Tables([Table("activities", (), [], footer="nothing is waiting, nothing has failed")])
    more = "there are more; -n shows them" if len(found) > options.names else ""
    with Monitor(connection) as monitor:
        summed = Table("activities", (), [row for row in overview(monitor.look()) if row[0] != "failed"])
    return Tables([summed, Table("", COLUMNS, rows, footer=more, right=(2,))])


COMMAND = Command("activities", "show how activities go; retry, cancel, skip some", arguments, run)
