"""The command `wendelin activity`: look at activities, and help those that failed."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from wendelin.storage.activities.message import Message
    from wendelin.storage.activities.monitor import Picture
    from wendelin.storage.activities.queue import ActivityQueue

T = TypeVar("T")

#: Times that a change is tried that conflicts with the end of an activity.
_ATTEMPTS = 20

#: Activities that are deleted in one transaction.
_PURGED = 1000

#: The health of activities in words; see `wendelin.storage.activities.monitor.Picture`.
WORDS = {
    "working": "working",
    "idle": "nothing is waiting",
    "stalled": "waiting, and no dispatcher answers: start one, wendelin node",
    "failing": "nothing is waiting but those that failed: see wendelin activity list",
    "empty": "nothing was ever activated in this database",
}

_DATABASE = click.option("--db", "url", metavar="URL", help="The database; by default $WENDELIN_DB or your own.")


@click.group(invoke_without_command=True)
@_DATABASE
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def activity(context: click.Context, url: str | None, as_json: bool) -> None:
    """Activities: calls that transactions left for workers. Without a subcommand: how they are going."""
    if context.invoked_subcommand is not None:
        if url or as_json:
            raise click.UsageError(
                f"options belong behind the subcommand: wendelin activity {context.invoked_subcommand} …"
            )
        return
    from wendelin.storage.activities.monitor import Monitor
    from wendelin.storage.errors import WendelinError

    try:
        with Monitor(url) as monitor:
            picture = monitor.look()
    except WendelinError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(picture)))
        return
    for name, value in overview(picture):
        click.echo(f"{name:<14}{value}")


def overview(picture: Picture) -> list[tuple[str, str]]:
    """What a table tells of all activities: pairs of a name and words."""
    counts = picture.counts
    rows = [("activities", WORDS[picture.health])]
    later = f", {counts['later']} of them not before a date" if counts["later"] else ""
    rows.append(("now", f"{counts['running']} running, {counts['waiting']} waiting{later}, {counts['failed']} failed"))
    if picture.dispatcher:
        totals = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in picture.totals.items())
        rows += [("dispatcher", f"{picture.dispatcher}, since {_when(picture.since)}: {totals}")]
        rows += [("rate", f"{picture.rate:.1f} ended a second")]
    for node in picture.nodes:
        rows.append(("node", f"{node.name}: {node.busy} of {node.slots} workers busy"))
    for one in picture.running:
        more = f" and {one.count - 1} more" if one.count > 1 else ""
        far = f", {one.progress}" if one.progress else ""
        name = f"{one.what} ({one.uid[:8]}{more}) on {one.node or 'this node'}"
        rows.append(("running", f"{name} for {picture.at - one.since:.0f} s{far}"))
    for failure in picture.failures:
        last = failure.traceback.strip().rpartition("\n")[2]
        rows.append(("failed", f"{failure.what} ({failure.uid[:8]}) at {_when(failure.when)}: {last}"))
    return rows


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


@activity.command("list")
@_DATABASE
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
def list_(url: str | None, failed: bool, as_json: bool) -> None:
    """List the activities that have not ended, and those that failed."""
    with _queue(url, write=False) as queue:
        found = 0
        for message in queue or ():
            if failed and message.state != "failed":
                continue
            found += 1
            row = summary(message)
            line = "{uid:.8}  {state:<8} {tries:>3}  {user:<10.10} {what}"
            click.echo(json.dumps(row) if as_json else line.format(**row))
        if not found and not as_json:
            click.echo("no activity is waiting" + (" or has failed" if not failed else ", and none has failed"))


@activity.command()
@click.argument("uid")
@_DATABASE
def show(uid: str, url: str | None) -> None:
    """Show all about the activity whose number begins with UID, its last traceback too."""
    with _queue(url, write=False) as queue:
        message = _found(queue, uid)
        for name, value in summary(message).items():
            click.echo(f"{name:<10}{value}")
        for name, value in message.settings.items():
            click.echo(f"{name:<10}{value}")
        if message.error:
            click.echo(f"\n{message.error}")


def _add_action(action: str, told: str, text: str) -> None:
    @activity.command(action, help=text)
    @click.argument("uid", nargs=-1, required=True)
    @_DATABASE
    def act(uid: tuple[str, ...], url: str | None) -> None:
        for one in uid:

            def change(queue: ActivityQueue | None, one: str = one) -> str:
                message = _found(queue, one)
                getattr(queue, action)(message)
                return message.uid[:8]

            click.echo(f"{_changed(url, change)} {told}")


_add_action("retry", "is run again", "Run activities again, now.")
_add_action("cancel", "will not run", "Let activities never run; those that wait for them go on.")
_add_action("skip", "is skipped", "Go on as if failed activities had done their work.")


@activity.command()
@_DATABASE
@click.option("--failed", is_flag=True, help="Only those that failed.")
@click.confirmation_option(prompt="Delete activities that were not run?")
def purge(url: str | None, failed: bool) -> None:
    """Delete all activities; those that are running may end first."""

    def change(queue: ActivityQueue | None) -> int:
        waiting = (message for message in queue or () if not failed or message.state == "failed")
        found = list(itertools.islice(waiting, _PURGED))
        for message in found:
            cast("ActivityQueue", queue).cancel(message)
        return len(found)

    deleted = 0
    while some := _changed(url, change):
        deleted += some
    click.echo(f"{deleted} activities deleted")


def summary(message: Message) -> dict[str, Any]:
    """What a table shows of a message."""
    return {
        "uid": message.uid,
        "state": message.state,
        "tries": message.tries,
        "user": message.user,
        "what": f"{message.path}.{message.method_id}" if message.path else message.method_id,
        "tag": message.options.tag,
        "created": _when(message.created),
        "error": message.error.strip().rpartition("\n")[2],
    }


def _found(queue: ActivityQueue | None, uid: str) -> Message:
    try:
        if queue is None:
            raise KeyError(f"{uid!r} names no activity: nothing was ever activated in this database")
        return queue.find(uid)
    except KeyError as error:
        raise click.ClickException(f"{error.args[0]}; see: wendelin activity list") from None


def _changed(url: str | None, change: Callable[[ActivityQueue | None], T]) -> T:
    """What `change` returned, committed: tried again when activities end meanwhile."""
    from ZODB.POSException import ConflictError

    for attempt in range(_ATTEMPTS):
        try:
            with _queue(url) as queue:
                found = change(queue)
        except ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return found
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _queue(url: str | None, *, write: bool = True) -> Iterator[ActivityQueue | None]:
    """The queue, in a transaction that is committed at the end."""
    import transaction

    import wendelin
    from wendelin.storage.activities.queue import queue_of
    from wendelin.storage.errors import WendelinError

    manager = transaction.TransactionManager()
    try:
        connection = wendelin.connect(url, transaction_manager=manager, read_only=not write)
    except WendelinError as error:
        raise click.ClickException(str(error)) from error
    try:
        with manager:
            yield queue_of(connection)
    finally:
        connection.close()
