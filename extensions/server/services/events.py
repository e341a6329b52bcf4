"""How activities go, as server-sent events: a picture whenever something has changed, looked for twice a second.

A stream is a request that lasts: whoever watches is asked for name and roles again and again, and streams are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from typing import Any

from tornado import web
from tornado.iostream import StreamClosedError

from wendelin.extensions.server import incoming, negotiation
from wendelin.extensions.server.door import Door
from wendelin.extensions.server.endpoint import Endpoint
from wendelin.extensions.server.problems import ProblemError, problem_of
from wendelin.extensions.server.services.activities import open_message
from wendelin.extensions.server.work import Session
from wendelin.storage.activities.message import PENDING
from wendelin.storage.activities.monitor import Monitor, Picture
from wendelin.storage.activities.queue import queue_of

LOOK_SECONDS = 0.5
ASK_SECONDS = 15.0

DETAILS = (
    "Events `picture` tell `health`, `counts`, `running` (with `progress`), `failures` and `nodes`, at once and after "
    "each change. With `uid`, events `activity` tell `uid`, `state` and `progress` of that one, and the stream ends "
    "with it. Who may not watch any more gets no more events."
)


class Events(Door):
    """A stream of events."""

    has_head = False

    def initialize(self, app: Any) -> None:
        super().initialize(app)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let the stream end."""
        self._ended.set()

    def on_connection_close(self) -> None:
        """The watcher has gone."""
        self.end()
        super().on_connection_close()

    async def answer(self, endpoint: Endpoint, names: tuple[str, ...]) -> None:
        """Send events until the watcher goes, may not watch any more, or the server stops."""
        try:
            caller = await self.admitted(endpoint)
            negotiation.chosen(self.request.headers.get("Accept"), [one.media for one in endpoint.answers])
            query: Any = incoming.query_of(self.request, endpoint)
            incoming.body_of(self.request, endpoint, 0)
            if len(self.app.streams) >= self.app.streams_limit:
                retry = {"Retry-After": str(int(ASK_SECONDS))}
                raise ProblemError("busy", f"{len(self.app.streams)} streams are open already: retry", headers=retry)
            oid = await self.workers.do(caller.name, "", lambda session: _oid(session, query.uid))
            monitor = await self.workers.run(lambda: Monitor(self.app.database or None))
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller gets a problem
            raise problem_of(error) from None
        self.app.streams.add(self)
        try:
            await self._tell(endpoint, monitor, query.uid, oid)
        except StreamClosedError:
            pass
        except web.HTTPError as error:  # the headers are out: the stream just ends
            self.log.info("a stream of events ends: %s", error)
        finally:
            self.app.streams.discard(self)
            await self.workers.run(monitor.close)
        with contextlib.suppress(StreamClosedError):
            await self.finish(set_content_type="text/event-stream")

    async def _tell(self, endpoint: Endpoint, monitor: Monitor, uid: str, oid: bytes) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # a proxy must pass each event on at once
        self.write("retry: 2000\n\n")
        await self.flush()
        before, asked, number = None, time.monotonic(), 0
        while not self._ended.is_set():
            found = await self.workers.run(lambda: _one(monitor, uid, oid) if uid else _picture(monitor.look()))
            if found != before:
                before, number = found, number + 1
                kind = "activity" if uid else "picture"
                self.write(f"event: {kind}\nid: {number}\ndata: {json.dumps(found)}\n\n")
                await self.flush()
                if uid and found["state"] != PENDING:
                    return
            if time.monotonic() - asked > ASK_SECONDS:
                asked = time.monotonic()
                await self.admitted(endpoint)
                self.write(": still here\n\n")
                await self.flush()
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._ended.wait(), LOOK_SECONDS)
        except TimeoutError:
            return


def _oid(session: Session, uid: str) -> bytes:
    """The number of the activity in the database, b"" for none. Raises 404."""

    def look(connection: Any) -> bytes:
        queue = queue_of(connection)
        message = open_message(queue, uid) if queue is not None else None
        if message is None:
            raise ProblemError("not-found", f"no activity {uid!r} waits or has failed; ended ones are gone")
        return bytes(message._p_oid)

    return session.read(look if uid else lambda connection: b"")


def _one(monitor: Monitor, uid: str, oid: bytes) -> dict[str, Any]:
    state = monitor.states([oid]).get(uid, "gone")
    progress = monitor.progress(uid) if state == PENDING else None
    return {"uid": uid, "state": state, "progress": None if progress is None else asdict(progress)}


def _picture(picture: Picture) -> dict[str, Any]:
    """What changes only when something happens: without the time, and without what only rates tell."""
    found = asdict(picture)
    for name in ("at", "rate"):
        del found[name]
    found["failures"] = [{**failure, "traceback": failure["traceback"][-2000:]} for failure in found["failures"]]
    return found
