"""The command `wendelin`.

Commands are thin: they parse, call one function, and show. Other floors add groups of their own through the entry
points named `wendelin.commands`; they are loaded when they are used or listed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click

import wendelin
from wendelin.storage.activities.command import activity
from wendelin.storage.errors import UsageError, WendelinError
from wendelin.storage.history.command import COMMANDS as HISTORY
from wendelin.storage.integrity.command import COMMANDS as INTEGRITY
from wendelin.storage.ubm.command import entity

COMMANDS = "wendelin.commands"
"""The group of entry points through which other floors add commands."""


class Commands(click.Group):
    """Our commands and those of the entry points `wendelin.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        ours = super().get_command(ctx, cmd_name)
        if ours is not None or cmd_name not in _plugins():
            return ours
        return _load(_plugins()[cmd_name])


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS)}


def _load(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except ImportError as error:
        # Help must list the others when a package of one is missing.
        return _missing(entry.name, error)
    assert isinstance(command, click.Command), f"{entry.value} is no click command"
    return command


def _missing(name: str, error: ImportError) -> click.Command:
    def complain() -> None:
        raise click.ClickException(f"`wendelin {name}` needs a package that is not installed: {error}")

    return click.Command(name, callback=complain, short_help=f"(not available: {error})")


class WrongCall(click.ClickException):
    """Ends the command with the status of click's own usage errors."""

    exit_code = 2


def explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Show Wendelin's errors as one message without a traceback: status 2 for a wrong call, else 1."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except WendelinError as error:
            raise (WrongCall if isinstance(error, UsageError) else click.ClickException)(str(error)) from error

    return run


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(wendelin.__version__, prog_name="wendelin")
def main() -> None:
    """Wendelin: transactional out-of-core arrays, notebooks whose cells are transactions, dashboards."""


main.add_command(activity)
main.add_command(entity)


@main.group()
def db() -> None:
    """Databases: their state, their servers.

    A database is named by a URL; without one, commands mean $WENDELIN_DB, else your own default database, which a
    server of yours offers to all your notebooks. It starts on demand, so there is rarely a need to start it.
    """


for _command in (*HISTORY, *INTEGRITY):
    assert _command.callback is not None
    _command.callback = explained(_command.callback)
    db.add_command(_command)


def database(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the argument URL, also as --db, to a command with the parameter `url`."""

    @wraps(command)
    def run(url: str | None, db_url: str | None, **options: Any) -> Any:
        if url and db_url and url != db_url:
            raise click.UsageError(f"two databases: {url!r} and --db {db_url!r}")
        return command(url=url or db_url, **options)

    decorated = click.argument("url", required=False)(run)
    return click.option("--db", "db_url", metavar="URL", help="The database, as the argument.")(decorated)


@db.command()
@database
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@explained
def status(url: str | None, as_json: bool) -> None:
    """Show whether the database URL answers, where it lies, how big it is.

    Starts nothing. The exit status is 0 when it answers, 1 when it does not, 2 when the URL is wrong.
    """
    from wendelin.storage.database.status import status as look

    found = asdict(look(url))
    if as_json:
        click.echo(json.dumps(found, default=_plain))
    else:
        click.echo("\n".join(f"{name:<18}{value}" for name, value in _rows(found)))
    sys.exit(0 if found["running"] else 1)


@db.command()
@database
@explained
def start(url: str | None) -> None:
    """Start the server of the database URL, unless it is running."""
    from wendelin.storage.database.status import start as begin

    server = begin(url)
    click.echo(f"process {server.pid} serves {server.folder}")


@db.command()
@database
@explained
def stop(url: str | None) -> None:
    """Stop the server of the database URL; what was committed stays.

    Notebooks that use it get errors until it runs again: `wendelin db start`, or the next wendelin.connect().
    """
    from wendelin.storage.database.status import stop as end

    server = end(url)
    click.echo(f"stopped process {server.pid} of {server.folder}" if server else "no server was running")


@db.command()
@database
@click.option("--array", "arrays", metavar="NAME", multiple=True, help="Only this array, as 'plants/4/power'.")
@click.option("--pack", is_flag=True, help="Then free what only history needs: earlier states can no longer be read.")
@explained
def defragment(url: str | None, arrays: tuple[str, ...], pack: bool) -> None:
    """Put together what many small changes of arrays have scattered, while others go on working.

    Commits tidy up by themselves, a little at a time; this does all at once, for fastest reading.
    """
    from wendelin.storage.tidy import tidy

    progress = Progress("defragmenting")
    try:
        done = tidy(url, arrays, pack=pack, progress=progress)
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from None
    finally:
        progress.end()
    for item in done:
        click.echo(f"{item.name:<40}{item.before:>9,} runs → {item.after:>6,}   {_size(item.moved):>10} moved")
    moved = sum(item.moved for item in done)
    if moved and not pack:
        click.echo(f"The old copies of {_size(moved)} stay as history; `wendelin db defragment --pack` frees them.")


class Progress:
    """A bar on the terminal for one array after the other; nothing where nobody looks."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._name = ""
        self._bar: Any = None

    def __call__(self, name: str, nbytes: int, total: int) -> None:
        if name != self._name:
            self.end()
            self._name = name
            self._bar = click.progressbar(length=total, label=f"{self._label} {name}", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(nbytes)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


@db.command("import-wendelin-core")
@click.argument("source")
@database
@click.option("--into", metavar="PREFIX", default="", help="Copy into this folder of the database, not into its root.")
@click.option("--dry-run", is_flag=True, help="Only show what would be copied.")
@explained
def import_wendelin_core(source: str, url: str | None, into: str, dry_run: bool) -> None:
    """Copy the arrays of the original wendelin.core, and what is plain beside them, into the database URL.

    SOURCE is the path of a Data.fs, or zeo://host:port; it is only read, and wendelin.core need not be installed.
    Names that exist are not overwritten. All names appear at the end, at once; run again after a crash, the same
    command goes on where it was.
    """
    from wendelin.storage.wendelin_core.command import run

    run(source, url, into=into, dry_run=dry_run)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("database", found["url"]),
        ("state", "answers" if found["running"] else f"does not answer: {found['problem']}"),
        ("folder", found["folder"]),
        ("server", found["pid"] and f"process {found['pid']} on {found['socket']}"),
        ("up since", found["since"] and f"{_time(found['since'])} ({_ago(found['since'])})"),
        ("size on disk", None if found["bytes_on_disk"] is None else _size(found["bytes_on_disk"])),
        ("objects", None if found["objects"] is None else f"{found['objects']:,}"),
        ("connections", None if found["connections"] is None else str(found["connections"])),
        ("last transaction", found["last"] and f"{_time(found['last'])} ({_ago(found['last'])} ago)"),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _ago(moment: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} TB"


def _plain(value: object) -> str:
    assert isinstance(value, datetime | Path)
    return value.isoformat() if isinstance(value, datetime) else str(value)


if __name__ == "__main__":
    main()
