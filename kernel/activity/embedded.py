"""The embedded default: whoever leaves activities makes sure that a node of this machine works on them.

The node is a process of its own, so it survives the notebook; it ends by itself when nothing has been waiting for a
while: `WENDELIN_ACTIVITIES` says for how many seconds. `WENDELIN_ACTIVITIES=off` leaves the work to nodes that were
started otherwise.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import wendelin
from wendelin.storage.database import paths
from wendelin.storage.database.urls import FileURL, parse

log = logging.getLogger(__name__)

#: Seconds without work after which a node that was started on demand ends.
IDLE_SECONDS = 300.0

#: Seconds after a start during which no other one is tried: the new node takes the lease.
_PATIENCE = 5.0

_started: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}
_lock = threading.Lock()


def ensure(url: str) -> None:
    """Start a node for a database, unless one works on it already, or it was switched off. Never raises."""
    if _setting() is None or isinstance(parse(url), FileURL):
        return
    threading.Thread(target=_ensure, args=(url,), name="wendelin activities", daemon=True).start()


def _setting() -> float | None:
    """Seconds after which an idle node ends; None for no node."""
    text = os.environ.get("WENDELIN_ACTIVITIES", "")
    try:
        return float(text or IDLE_SECONDS)
    except ValueError:
        if text.lower() != "off":
            log.warning("WENDELIN_ACTIVITIES=%r: set it to off, or to seconds; taken as off", text)
        return None


def _ensure(url: str) -> None:
    with _lock:
        known = _started.get(url)
        if known is not None and known[1].poll() is None:
            return
        if known is not None and time.monotonic() - known[0] < _PATIENCE:
            return
        try:
            if not _is_free(url):
                return
            _started[url] = (time.monotonic(), _start(url))
        except Exception:
            log.exception("no node could be started for %s: start one, wendelin node --database %s", url, url)


def _is_free(url: str) -> bool:
    """Whether nobody dispatches."""
    import transaction

    from wendelin.storage.activities.queue import queue_of

    manager = transaction.TransactionManager()
    connection = wendelin.connect(url, transaction_manager=manager)
    try:
        manager.begin()
        queue = queue_of(connection)
        return queue is not None and bool(queue.lease.is_free)
    finally:
        manager.abort()
        connection.close()


def _start(url: str) -> subprocess.Popen[bytes]:
    folder = paths.private_folder(paths.home() / "activities")
    module = "wendelin.kernel.activity.node"
    command = [sys.executable, "-P", "-m", module, "--database", url, "--idle", str(_setting())]
    with (folder / "node.log").open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, env=_environment()
        )


def _environment() -> dict[str, str]:
    root = str(Path(wendelin.__file__).resolve().parents[1])
    search = os.environ.get("PYTHONPATH", "")
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": f"{search}{os.pathsep}{root}" if search else root}
    return environment
