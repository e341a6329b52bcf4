"""The embedded default: whoever leaves activities makes sure that a node of this machine works on them.

The node is a process of its own, so it survives the notebook; it ends by itself when nothing has been waiting for a
while: `WENDELIN_ACTIVITIES` says for how many seconds. `WENDELIN_ACTIVITIES=off` leaves the work to nodes that were
started otherwise. A node that is killed has a successor: who left activities looks now and then, as long as it lives
and some are waiting, whether somebody works on them.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import wendelin
from wendelin.storage.database import ondemand, paths
from wendelin.storage.database.urls import FileURL, LocalURL, parse
from wendelin.storage.errors import ServerGoneError

log = logging.getLogger(__name__)

#: Seconds without work after which a node that was started on demand ends.
IDLE_SECONDS = 300.0

#: Seconds after a start during which no other one is tried: the new node takes the lease.
_PATIENCE = 5.0

#: Seconds between two looks whether somebody still works on what was left.
LOOK_SECONDS = 3.0

#: Messages that are looked at to find one that waits: behind so many failed ones, somebody has to look anyway.
_LOOKED_AT = 1000

_started: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}
_watched: dict[str, threading.Event] = {}
_lock = threading.Lock()


def ensure(url: str) -> None:
    """Start a node for a database, unless one works on it already, or it was switched off. Never raises."""
    if _setting() is None or isinstance(parse(url), FileURL):
        return
    with _lock:
        wake = _watched.get(url)
        if wake is not None:
            wake.set()
            return
        wake = _watched[url] = threading.Event()
    threading.Thread(target=_watch, args=(url, wake), name="wendelin activities", daemon=True).start()


def _watch(url: str, wake: threading.Event) -> None:
    while True:
        wake.clear()
        is_left = _ensure(url)
        if wake.wait(LOOK_SECONDS) or is_left:
            continue
        with _lock:
            if not wake.is_set():
                del _watched[url]
                return


def _setting() -> float | None:
    """Seconds after which an idle node ends; None for no node."""
    text = os.environ.get("WENDELIN_ACTIVITIES", "")
    try:
        return float(text or IDLE_SECONDS)
    except ValueError:
        if text.lower() != "off":
            log.warning("WENDELIN_ACTIVITIES=%r: set it to off, or to seconds; taken as off", text)
        return None


def _ensure(url: str) -> bool:
    """Start a node if nobody dispatches; whether to look again, because activities are waiting."""
    try:
        if not _is_served(url):
            return not _is_stopped(url)
        is_free, is_left = _state(url)
        if is_free and not _is_starting(url):
            _started[url] = (time.monotonic(), _start(url))
        return is_left
    except ServerGoneError:
        return not _is_stopped(url)
    except Exception:
        log.exception("no node could be started for %s: start one, wendelin node --database %s", url, url)
        return False


def _is_starting(url: str) -> bool:
    known = _started.get(url)
    return known is not None and (known[1].poll() is None or time.monotonic() - known[0] < _PATIENCE)


def _is_served(url: str) -> bool:
    """Whether a connection can be opened without starting a server: a stopped one stays stopped."""
    place = parse(url)
    return not isinstance(place, LocalURL) or ondemand.find(place.folder) is not None


def _is_stopped(url: str) -> bool:
    place = parse(url)
    return isinstance(place, LocalURL) and (not place.folder.is_dir() or ondemand.was_stopped(place.folder))


def _state(url: str) -> tuple[bool, bool]:
    """Whether nobody dispatches, and whether activities are waiting."""
    import transaction

    from wendelin.storage.activities.message import PENDING
    from wendelin.storage.activities.queue import queue_of

    manager = transaction.TransactionManager()
    connection = wendelin.connect(url, transaction_manager=manager)
    try:
        manager.begin()
        queue = queue_of(connection)
        if queue is None:
            return False, False
        return bool(queue.lease.is_free), any(each.state == PENDING for each in islice(queue, _LOOKED_AT))
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


def _forget() -> None:
    """A forked child has none of these threads."""
    global _lock
    _lock = threading.Lock()
    _watched.clear()


os.register_at_fork(after_in_child=_forget)
