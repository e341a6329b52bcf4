"""The commands `wendelin db history|diff|undo|tag|untag|tags|pack`.

Times are shown in UTC, so a time without a zone is taken for UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection

_DB = click.option("--db", "url", metavar="URL", help="The database; by default $WENDELIN_DB or your own.")
_URL = click.argument("url", required=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")


@contextmanager
def _connected(url: str | None, *, read_only: bool = False) -> Iterator[Connection]:
    import transaction

    from wendelin.storage.database.connect import connect

    connection = connect(url, read_only=read_only, transaction_manager=transaction.TransactionManager())
    try:
        yield connection
    finally:
        connection.transaction_manager.abort()
        connection.close()


def _moment(text: str) -> Any:
    from wendelin.storage.history.moments import moment

    return moment(text, UTC)


def _array(connection: Connection, name: str) -> Any:
    from wendelin.storage.arrays.array import ZBigArray

    try:
        found = connection.root()[name]
    except (KeyError, ValueError) as error:
        raise click.UsageError(str(error.args[0])) from None
    if not isinstance(found, ZBigArray):
        raise click.UsageError(f"{name!r} is {type(found).__name__}, not an array")
    return found


def _told(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else value


def _as_json(items: Any, names: tuple[str, ...]) -> str:
    return json.dumps([{name: _told(getattr(item, name)) for name in names} for item in items], default=str)


@click.command()
@_URL
@click.option("--db", "db_url", metavar="URL", help="The database, as the argument.")
@click.option("--array", metavar="NAME", help="Only the transactions that changed this array, as 'plants/4/power'.")
@click.option("-n", "--limit", type=click.IntRange(0), default=20, show_default=True, help="So many at most.")
@_JSON
def history(url: str | None, db_url: str | None, array: str | None, limit: int, as_json: bool) -> None:
    """List the transactions of the database URL, newest first: each is a state that can be opened.

    In Python: wendelin.connect(url, at="…") with the transaction or its time.
    """
    from wendelin.storage.history.transactions import history as transactions

    names = ("tid", "time", "user", "note", "size")
    with _connected(url or db_url, read_only=True) as connection:
        found: Any = transactions(connection, limit) if array is None else _array(connection, array).history(limit)
        if array is not None:
            names = ("tid", "time", "user", "note", "shape", "changed")  # type: ignore[assignment]
        click.echo(_as_json(found, names) if as_json else repr(found))


@click.command()
@click.argument("array")
@click.argument("t0")
@click.argument("t1", required=False)
@_DB
@click.option("--quick", is_flag=True, help="Compare where bytes lie, and read none: may name rows that hold the same.")
@_JSON
def diff(array: str, t0: str, t1: str | None, url: str | None, quick: bool, as_json: bool) -> None:
    """Which rows of ARRAY differ between the states T0 and T1 (left out: now).

    A state is a transaction, as `wendelin db history` shows it, a time or a tag.
    """
    with _connected(url) as connection:
        found = _array(connection, array).diff(_moment(t0), None if t1 is None else _moment(t1), exact=not quick)
    if as_json:
        click.echo(json.dumps({"rows": found.rows, "before": found.before, "after": found.after}))
        return
    click.echo(repr(found))


@click.command()
@click.argument("transaction")
@_DB
@click.option("--note", default="", help="What the list of transactions tells about it.")
def undo(transaction: str, url: str | None, note: str) -> None:
    """Take back what TRANSACTION changed, by a new one. Refused when later ones changed the same."""
    from wendelin.storage.history.transactions import undo as take_back

    with _connected(url) as connection:
        click.echo(repr(take_back(connection, transaction, note)))


@click.command()
@click.argument("name")
@click.argument("path", required=False)
@_DB
@click.option("--note", default="", help="What it is for.")
def tag(name: str, path: str | None, url: str | None, note: str) -> None:
    """Give the present state the NAME, which packing then keeps.

    With the PATH of an array or a folder only this is kept; else the whole database, and with it all that comes later.
    """
    with _connected(url) as connection:
        try:
            made = connection.tag(name, path, note)
        except KeyError as error:
            raise click.UsageError(str(error.args[0])) from None
        connection.transaction_manager.get().note(f"tag {name}")
        connection.transaction_manager.commit()
        click.echo(repr(made))


@click.command()
@click.argument("name")
@_DB
def untag(name: str, url: str | None) -> None:
    """Remove the tag NAME; what only it kept goes at the next pack."""
    with _connected(url) as connection:
        connection.untag(name)
        connection.transaction_manager.get().note(f"untag {name}")
        connection.transaction_manager.commit()
    click.echo(f"removed the tag {name!r}")


@click.command()
@_URL
@click.option("--db", "db_url", metavar="URL", help="The database, as the argument.")
@_JSON
def tags(url: str | None, db_url: str | None, as_json: bool) -> None:
    """List the tags of the database URL."""
    with _connected(url or db_url, read_only=True) as connection:
        found = connection.tags()
        if as_json:
            click.echo(_as_json(found, ("name", "path", "tid", "time", "note")))
            return
        click.echo("\n".join(repr(each) for each in found) or "there are no tags: wendelin db tag NAME makes one")


@click.command()
@_URL
@click.option("--db", "db_url", metavar="URL", help="The database, as the argument.")
@click.option("--before", metavar="TIME", help="Keep the states from this time on; left out, only the latest.")
def pack(url: str | None, db_url: str | None, before: str | None) -> None:
    """Free what only earlier states of the database URL need, while others go on working.

    Those that tags name, and those that somebody looks at, are kept.
    """
    from wendelin.storage.history.packing import pack as free

    until = None if before is None else _moment(before)
    if until is not None and not isinstance(until, datetime):
        raise click.UsageError(f"--before {before!r} is no time: write it as 2026-01-01T12:00+00:00")
    with _connected(url or db_url) as connection:
        done = free(connection.db(), until)
    freed = "" if done.before is None or done.after is None else f", {max(done.before - done.after, 0):,} bytes freed"
    click.echo(f"packed up to {done.until:%Y-%m-%d %H:%M:%S} UTC{freed}")
    for hold in done.holds:
        click.echo(f"held back by {hold.why}")


COMMANDS = (history, diff, undo, tag, untag, tags, pack)
