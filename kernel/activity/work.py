"""What an engine's worker process runs: messages of a database, by their numbers."""

from __future__ import annotations

import os
from typing import Any

from wendelin.storage.activities.run import Outcome, run
from wendelin.storage.database.connect import connect

_connections: dict[str, Any] = {}


def work(url: str, oids: list[bytes], group: str | None, node: str) -> list[Outcome]:
    """Run messages; what became of each. The connection stays open for the next ones.

    The transactions are those of the thread (`transaction.manager`), so that what the functions call finds them.
    Raises `UnavailableError` when the database does not answer; then nothing has happened.
    """
    return run(_connection(url), oids, group, node)


def _connection(url: str) -> Any:
    found = _connections.get(url)
    if found is None or found[0] != os.getpid() or found[1].opened is None:
        found = _connections[url] = (os.getpid(), connect(url))
    return found[1]
