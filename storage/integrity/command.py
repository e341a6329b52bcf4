"""The commands `wendelin db verify|backup|restore`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wendelin.storage.arrays.layout import human
from wendelin.storage.history.moments import told

if TYPE_CHECKING:
    from wendelin.storage.integrity.backup import Copied

_DB = click.option("--db", "db_url", metavar="URL", help="The database, as the argument.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")

#: The exit status of damage that was found.
DAMAGED = 3


class Bar:
    """A bar on the terminal, with the time that is left; nothing where nobody looks."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._at = 0
        self._begun = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """So many bytes are done, of so many."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=max(total or done, 1), label=self._label, file=sys.stderr, item_show_func=self._rate
            )
            self._bar.__enter__()
        self._bar.length = max(self._bar.length, done)
        self._bar.update(done - self._at, done)
        self._at = done

    def _rate(self, done: int | None) -> str:
        seconds = time.monotonic() - self._begun
        return "" if not done or seconds <= 0 else f"{human(done / seconds)}/s"

    def end(self) -> None:
        """Leave it."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _one(url: str | None, db_url: str | None) -> str | None:
    if url and db_url and url != db_url:
        raise click.UsageError(f"two databases: {url!r} and --db {db_url!r}")
    return url or db_url


@click.command()
@click.argument("url", required=False)
@_DB
@click.option("--restart", is_flag=True, help="Begin anew, also where an earlier run was interrupted.")
@_JSON
def verify(url: str | None, db_url: str | None, restart: bool, as_json: bool) -> None:
    """Look at every byte of the database URL, history too, and find what its disk has changed.

    Others go on working. An interrupted run goes on where it was. Damage is named with array, block and transaction,
    and what helps. The exit status is 0 when all is sound, 3 when something is damaged, 1 when it could not be
    verified, 2 when the URL is wrong.
    """
    from wendelin.storage.integrity.verify import verify as look

    bar = Bar("verifying")
    try:
        report = look(_one(url, db_url), restart=restart, progress=bar)
    finally:
        bar.end()
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        for damage in report.damages:
            click.echo(f"{damage}\n")
        rate = f" at {human(report.nbytes / report.seconds)}/s" if report.seconds > 0 else ""
        click.echo(
            f"{report.transactions:,} transactions, {report.blobs:,} blobs, {human(report.nbytes)}{rate}: "
            + (f"{len(report.damages):,} damaged" if report.damages else "sound")
        )
        if report.unchecked_transactions or report.unchecked_blobs:
            click.echo(
                f"{report.unchecked_transactions:,} transactions and {report.unchecked_blobs:,} blobs have no "
                "checksums: earlier versions or other programs wrote them; they could be read"
            )
    sys.exit(DAMAGED if report.damages else 0)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.argument("url", required=False)
@_DB
@click.option("--verify", "then_verify", is_flag=True, help="Then read the whole backup back and check it.")
def backup(folder: Path, url: str | None, db_url: str | None, then_verify: bool) -> None:
    """Bring the backup in FOLDER up to date with the database URL, history and blobs too, while others work with it.

    Only what is new is copied. A run that is killed leaves the earlier backup good, and the next one goes on. A backup
    is a database by itself: file://FOLDER.
    """
    from wendelin.storage.integrity.backup import backup as copy

    bar = Bar("backing up")
    try:
        done = copy(folder, _one(url, db_url), progress=bar)
    finally:
        bar.end()
    _tell(done, f"backed up to {done.place}")
    if then_verify:
        _verified(folder)
    sys.exit(DAMAGED if done.damages else 0)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("url")
@click.option("--verify", "then_verify", is_flag=True, help="First read the whole backup and check it.")
def restore(folder: Path, url: str, then_verify: bool) -> None:
    """Make the database URL of the backup in FOLDER. It may be of another kind than the one that was backed up.

    Nothing is overwritten: a URL that holds a database is refused. A run that is killed goes on when it is run again.
    """
    from wendelin.storage.integrity.restore import restore as copy

    if then_verify:
        _verified(folder)
    bar = Bar("restoring")
    try:
        done = copy(folder, url, progress=bar)
    finally:
        bar.end()
    _tell(done, f"restored {done.place}")
    sys.exit(DAMAGED if done.damages else 0)


def _tell(done: Copied, what: str) -> None:
    for damage in done.damages:
        click.echo(f"{damage}\n")
    state = "" if int.from_bytes(done.last) == 0 else f"; its last state is of {told(done.last)}"
    click.echo(f"{what}: {done.transactions:,} transactions, {done.blobs:,} blobs, {human(done.nbytes)} new{state}")


def _verified(folder: Path) -> None:
    """Check a backup; ends the command when it is damaged."""
    from wendelin.storage.database.urls import FileURL
    from wendelin.storage.integrity.verify import verify as look

    bar = Bar("verifying")
    try:
        report = look(FileURL(folder.absolute()).url, restart=True, progress=bar)
    finally:
        bar.end()
    for damage in report.damages:
        click.echo(f"{damage}\n")
    if report.damages:
        click.echo(f"the backup in {folder} is damaged")
        sys.exit(DAMAGED)
    click.echo(f"the backup in {folder} is sound: {report.transactions:,} transactions, {report.blobs:,} blobs")


COMMANDS = (verify, backup, restore)
