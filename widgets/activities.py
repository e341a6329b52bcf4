"""Live tiles of activities: all of a database, or some that one waits for.

::

    ActivityMonitor()                   # in a notebook or a dashboard: what runs, how far, what failed, who works
    ActivityBar(handle)                 # one; or many, ActivityBar([handle, …]); or all of a tag, ActivityBar("load")

They look twice a second from a thread of their own, and go on while a cell is running. They store nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from wendelin.storage.activities.handle import ActivityHandle
from wendelin.storage.activities.monitor import Failure, Monitor, Picture, Running
from wendelin.storage.errors import UnavailableError

_HERE = Path(__file__).parent

LOOK_SECONDS: Final = 0.5

WORDS: Final = {
    "loading": "Looking for activities",
    "working": "Working",
    "idle": "Nothing is waiting",
    "stalled": "Waiting, and nobody works on it",
    "failing": "Some have failed",
    "empty": "Nothing was ever activated",
    "done": "Done",
    "disconnected": "Disconnected",
    "closed": "Closed",
}

#: Of running and failed ones, so many are shown.
MOST: Final = 20


class _Tile(anywidget.AnyWidget):
    """What both have: traits, and a thread that looks.

    Traits: ``title``; ``state``, one of the keys of `WORDS`; ``counts`` of ``done``, ``running``, ``waiting`` and
    ``failed``; ``rate``, ended a second; ``running``, dicts of ``uid``, ``what``, ``node``, ``since`` (seconds since
    1970), ``count``, ``done``, ``total`` (−1: unknown), ``note``; ``failures``, dicts of ``uid``, ``what``, ``error``,
    ``traceback``; ``nodes``, dicts of ``name``, ``slots``, ``busy``.

    *Concurrency*: traits change in the tile's thread, also while a cell runs, and so do those who `observe` them.
    """

    _esm = _HERE / "activities.js"
    _css = _HERE / "activities.css"

    title = traitlets.Unicode("Activities").tag(sync=True)
    state = traitlets.Enum(list(WORDS), "loading").tag(sync=True)
    counts = traitlets.Dict().tag(sync=True)
    rate = traitlets.Float(0.0).tag(sync=True)
    running = traitlets.List(traitlets.Dict()).tag(sync=True)
    failures = traitlets.List(traitlets.Dict()).tag(sync=True)
    nodes = traitlets.List(traitlets.Dict()).tag(sync=True)
    words = traitlets.Dict(WORDS).tag(sync=True)

    def __init__(self, database: Any, **options: Any) -> None:
        super().__init__(**options)
        self._ended = threading.Event()
        self._monitor = Monitor(database)
        self._thread = threading.Thread(target=self._watch, name="wendelin activities", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking, and take the tile off the page. Again: nothing."""
        if getattr(self, "_ended", None) is not None and not self._ended.is_set():
            self._ended.set()
            if self._thread is not threading.current_thread():
                self._thread.join()
            self.state = "closed"
        super().close()

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                picture = self._monitor.look()
                seen = self._seen(picture)
            except UnavailableError:
                seen = {"state": "disconnected"}
            with self.hold_sync():
                for name, value in seen.items():
                    setattr(self, name, value)
            if seen["state"] == "done":
                break
            self._ended.wait(LOOK_SECONDS)
        self._monitor.close()

    def _seen(self, picture: Picture) -> dict[str, Any]:
        raise NotImplementedError

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return f"<{type(self).__name__} {self.title}: {WORDS[self.state].lower()}{counts and f', {counts}'}>"


class ActivityMonitor(_Tile):
    """All activities of a database: its URL, a connection to it, or nothing for your own. `counts["done"]` is 0."""

    def __init__(self, database: Any = None, **options: Any) -> None:
        super().__init__(database, **options)

    def _seen(self, picture: Picture) -> dict[str, Any]:
        counts = {name: picture.counts[name] for name in ("running", "waiting", "failed")}
        return {
            "state": picture.health,
            "counts": {"done": 0, **counts},
            "rate": round(picture.rate, 1),
            "running": [_running(each) for each in picture.running[:MOST]],
            "failures": [_failure(each) for each in picture.failures[:MOST]],
            "nodes": [{"name": node.name, "slots": node.slots, "busy": node.busy} for node in picture.nodes],
        }


class ActivityBar(_Tile):
    """A bar of some activities: a handle, handles, or the tag of those that are there now and come later.

    `database`: as for the monitor, needed for a tag. It ends looking when all have ended; with a tag it does not.
    """

    def __init__(
        self, what: ActivityHandle | Iterable[ActivityHandle] | str, database: Any = None, **options: Any
    ) -> None:
        self._tag = what if isinstance(what, str) else ""
        handles = [] if isinstance(what, str) else [what] if isinstance(what, ActivityHandle) else list(what)
        self._oids = {handle.uid: handle.oid for handle in handles}
        self._known = set(self._oids)
        self._left = set(self._oids)
        self._failed: set[str] = set()
        self._stored: set[str] = set()
        self._begin = time.monotonic()
        if handles:
            database = handles[0].url
            options.setdefault("title", handles[0].name if len(handles) == 1 else f"{len(handles)} activities")
        else:
            options.setdefault("title", self._tag or "No activities")
        super().__init__(database, **options)

    def _seen(self, picture: Picture) -> dict[str, Any]:
        self._look()
        running = [each for each in picture.running if each.uid in self._left]
        failures = [each for each in picture.failures if each.uid in self._failed]
        done, at_work = len(self._known) - len(self._left) - len(self._failed), sum(each.count for each in running)
        at_work = min(at_work, len(self._left))
        if self._left:
            state = "stalled" if picture.health == "stalled" else "working"
        else:
            state = "failing" if self._failed else "idle" if self._tag else "done"
        return {
            "state": state,
            "counts": {
                "done": done, "running": at_work, "waiting": len(self._left) - at_work, "failed": len(self._failed),
            },
            "rate": round(done / max(time.monotonic() - self._begin, 0.1), 1),
            "running": [_running(each) for each in running[:MOST]],
            "failures": [_failure(each) for each in failures[:MOST]],
        }  # fmt: skip

    def _look(self) -> None:
        """Which of them have ended."""
        if self._tag:
            states: dict[str, str] = self._monitor.tagged(self._tag)
            self._known |= set(states)
            self._failed = {uid for uid, state in states.items() if state == "failed"}
            self._left = set(states) - self._failed
            return
        asked = self._left | self._failed  # a person may retry those
        found = self._monitor.states(self._oids[uid] for uid in asked)
        self._stored |= set(found)
        states = {uid: found.get(uid, "done" if uid in self._stored else "pending") for uid in asked}
        self._failed = {uid for uid, state in states.items() if state == "failed"}
        self._left = {uid for uid, state in states.items() if state == "pending"}


def _running(one: Running) -> dict[str, Any]:
    progress = one.progress
    return {
        "uid": one.uid, "what": one.what, "node": one.node, "since": one.since, "count": one.count,
        "done": progress.done if progress else -1, "note": progress.note if progress else "",
        "total": progress.total if progress and progress.total else -1,
    }  # fmt: skip


def _failure(one: Failure) -> dict[str, Any]:
    last = one.traceback.strip().rpartition("\n")[2]
    return {"uid": one.uid, "what": one.what, "error": last, "traceback": one.traceback}
