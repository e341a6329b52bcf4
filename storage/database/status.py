"""What can be said about a database from outside, without starting its server."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from wendelin.storage.database import ondemand
from wendelin.storage.database.connect import connect
from wendelin.storage.database.history import last_transactions
from wendelin.storage.database.urls import DatabaseURL, FileURL, LocalURL, SqliteURL, parse
from wendelin.storage.errors import UsageError, WendelinError


@dataclass(frozen=True)
class Status:
    """A database now. None: unknown, or there is no such thing for this kind of database.

    `running`: it answers. `since`: when its server started, `last`: its last commit, both in UTC. `bytes_on_disk`:
    all files in its folder. `connections`: clients of its server, not counting the question. `problem`: why it does
    not answer.
    """

    url: str
    running: bool
    folder: Path | None = None
    pid: int | None = None
    socket: Path | None = None
    since: datetime | None = None
    bytes_on_disk: int | None = None
    objects: int | None = None
    connections: int | None = None
    last: datetime | None = None
    problem: str | None = None


def status(url: str | None = None) -> Status:
    """The status of the database that `url` names (None: the default). Raises only `DatabaseURLError`."""
    database = parse(url)
    if isinstance(database, LocalURL) and ondemand.find(database.folder) is None:
        return Status(**_outside(database), running=False, problem="no server is running; the next connect starts one")
    try:
        return Status(**_outside(database), running=True, **_inside(url))
    except WendelinError as error:
        return Status(**_outside(database), running=False, problem=str(error))


def _outside(url: DatabaseURL) -> dict[str, Any]:
    found: dict[str, Any] = {"url": url.url}
    if isinstance(url, LocalURL | FileURL | SqliteURL):
        found |= {"folder": url.folder, "bytes_on_disk": bytes_on_disk(url.folder)}
    if isinstance(url, LocalURL) and (server := ondemand.find(url.folder)):
        found |= {"pid": server.pid, "socket": server.socket}
        state = ondemand.state(url.folder)
        if state.get("pid") == server.pid:
            found["since"] = datetime.fromisoformat(state["started"])
    return found


def _inside(url: str | None) -> dict[str, Any]:
    """What only a connection knows."""
    connection = connect(url, read_only=True)
    try:
        storage = connection.db().storage
        last = last_transactions(connection, 1)
        found: dict[str, Any] = {"last": last[0].time if last else None, "objects": len(storage)}
        if hasattr(storage, "server_status"):
            found["connections"] = storage.server_status()["connections"] - 1
        return found
    finally:
        connection.close()


def bytes_on_disk(folder: Path) -> int | None:
    """What the files in `folder` take on the disk, holes not counted; None when there is no such folder."""
    if not folder.is_dir():
        return None
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118  a hundred thousand files
            except FileNotFoundError:  # a commit moved it meanwhile
                continue
    return total


def start(url: str | None = None) -> ondemand.Server:
    """Start the server of `url` if it is not running. Raises `UsageError` for databases we do not serve."""
    return ondemand.ensure(_served(url).folder)


def stop(url: str | None = None) -> ondemand.Server | None:
    """Stop the server of `url`; None if none was running."""
    return ondemand.stop(_served(url).folder)


def _served(url: str | None) -> LocalURL:
    database = parse(url)
    if not isinstance(database, LocalURL):
        raise UsageError(
            f"{database.url} has no server of ours to start or stop; local:///folder has, and so has the default"
        )
    return database
