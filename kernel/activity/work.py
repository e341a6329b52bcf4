"""What an engine's worker process runs: messages of a database, by their numbers."""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import Any

from wendelin.kernel.activity import wire
from wendelin.storage.activities.run import Outcome, run
from wendelin.storage.database import ondemand
from wendelin.storage.database.connect import connect
from wendelin.storage.database.urls import LocalURL, parse
from wendelin.storage.errors import UnavailableError


class _Connections(threading.local):
    """Of one thread, since transactions are: workers of a cluster may have several."""

    def __init__(self) -> None:
        self.by_url: dict[str, Any] = {}


_connections = _Connections()

#: The database's URL as this node knows it, and the node's name, when it works for a dispatcher elsewhere.
_here: ContextVar[tuple[str, str]] = ContextVar("wendelin_here", default=("", ""))


def work(url: str, oids: list[bytes], group: str | None, node: str) -> list[Outcome]:
    """Run messages; what became of each. The connection stays open for the next ones.

    The transactions are those of the thread (`transaction.manager`), so that what the functions call finds them.
    Raises `UnavailableError` when the database does not answer; then nothing has happened.
    """
    own, name = _here.get()
    return run(_connection(own or url), oids, group, name or node)


def work_for(data: bytes, url: str, node: str) -> tuple[bytes, bytes]:
    """In a worker of a node that joined another's dispatcher: answer a call of that one."""
    token = _here.set((url, node))
    try:
        return wire.answer_bytes(data)
    finally:
        _here.reset(token)  # a cluster's worker may serve other dispatchers, too


def _connection(url: str) -> Any:
    found = _connections.by_url.get(url)
    if found is None or found[0] != os.getpid() or found[1].opened is None:
        if was_stopped(url):  # connecting would start it again
            raise UnavailableError(f"{url} was stopped on purpose; to start it: wendelin.connect({url!r})")
        found = _connections.by_url[url] = (os.getpid(), connect(url))
    return found[1]


def was_stopped(url: str) -> bool:
    """Whether somebody stopped the server of an own database."""
    place = parse(url)
    return isinstance(place, LocalURL) and ondemand.was_stopped(place.folder)
