"""The connection of an engine to a Dask scheduler: a thread with an event loop, and a client that is renewed when lost.

Dask repeats by itself what a dead worker had, results included. An engine must not, so each call is bound to one
worker: when that is gone, Dask has nowhere to run it again, and it is `died`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from distributed import Client, KilledWorker
from distributed.comm.core import CommClosedError

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import Ended, Task
from wendelin.kernel.activity.link_worker import NOTES, Node, kill_this, run
from wendelin.storage.errors import EngineClosedError, ServerGoneError, WendelinError, WorkerLostError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
"""How long the first scheduler is waited for; later ones without end."""
CLOSE_SECONDS = 5.0
"""The most that the end of an engine waits for a client to say goodbye."""
LOOK_SECONDS = 1.0
"""Workers come and go by events; this often they are looked for as well."""
STATUS_SECONDS = 0.1
"""How often the connection to the scheduler is looked at."""
SEND_SECONDS = 0.001
"""Messages to the scheduler that fall into such a time are sent as one."""
SCATTERED = 256 * 1024
"""Bytes from which a call goes to its worker as data, not inside Dask's task."""

_LOST = (CancelledError, CommClosedError, KilledWorker, OSError)


class DaskTask(Task):
    """A call of a Dask engine."""

    def __init__(self, link: Link, name: str) -> None:
        super().__init__(name)
        self.data = b""
        self.at: Node | None = None
        self.job: asyncio.Task[tuple[bytes, bytes]] | None = None
        self.is_sent = self.is_cancelling = False
        self._link = link

    def cancel(self) -> None:
        """See `DaskEngine`."""
        self._link.soon(self._link.cancel, self)


class Link:
    """What an engine is made of: a thread with an event loop. Does not know it, so that a forgotten one is closed."""

    def __init__(self, address: str, security: Any, ahead: int) -> None:
        self.ended = Ended()
        self._ahead = ahead
        self.connected: Future[None] = Future()
        self.nodes: dict[str, Node] = {}
        self._address, self._security = address, security
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False
        # All below only in the thread.
        self._pending: deque[DaskTask] = deque()
        self._client: Any = None
        self._connecting: asyncio.Task[Any] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._sent: dict[str, DaskTask] = {}
        self._news = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="wendelin-dask", daemon=True)
        self._thread.start()

    # -- from any thread

    def start(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Task:
        if self._owner != os.getpid() or self._is_closed:
            raise EngineClosedError(
                f"this engine of {self._address} was closed, or belongs to the process {self._owner} and this one is "
                f"{os.getpid()}: make a new one, DaskEngine({self._address!r})"
            )
        task = DaskTask(self, wire.name_of(call))
        try:
            task.data = wire.pack_call(call, args).to_bytes()
        except (WendelinError, OSError, MemoryError) as error:
            task.end(error)
            self.ended.add(task)
            return task
        if not self.soon(self._add, task):
            self._end(task)
        return task

    def soon(self, call: Callable[..., object], *args: Any) -> bool:
        """Call something in the thread; False when it has ended."""
        with self._lock:
            is_there = not self._loop.is_closed() and self._owner == os.getpid()
            if is_there:
                self._loop.call_soon_threadsafe(call, *args)
            return is_there

    def close(self) -> None:
        if self._owner != os.getpid():
            return
        self._is_closed = True
        self.soon(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the thread

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as error:
            log.exception("the thread of a Dask engine failed: its calls are lost")
            if not self.connected.done():
                self.connected.set_exception(error)
        finally:
            self._is_closed = True
            left = asyncio.all_tasks(self._loop)
            for job in left:
                job.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            # Calls that `start` is handing over come with the next turn of the loop.
            with self._lock:
                self._loop.run_until_complete(asyncio.sleep(0))
                self._loop.close()
            for task in self._pending:
                self._end(task)
            self.ended.close()

    def _stop(self) -> None:
        self._news.set()
        if self._connecting is not None:
            self._connecting.cancel()

    async def _live(self) -> None:
        while not self._is_closed:
            self._connecting = self._loop.create_task(self._connect())
            self._client = await self._connecting
            if self._client is not None:
                try:
                    await self._attend()
                finally:
                    self._leave()
        if self._background:
            await asyncio.wait(self._background, timeout=CLOSE_SECONDS)

    async def _connect(self) -> Any:
        """A client; None after a failure, which the first caller is told."""
        connect: Any = Client  # has no annotations
        options = {"asynchronous": True, "set_as_default": False, "name": "wendelin"}
        client = None
        try:
            client = connect(self._address, timeout=CONNECT_SECONDS, security=self._security, **options)
            return await client
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever keeps it from connecting
            if client is not None:
                with contextlib.suppress(Exception):
                    await client.close()
            if isinstance(error, asyncio.CancelledError):
                return None
            if not self.connected.done():
                refused = ServerGoneError(
                    f"no Dask scheduler answers at {self._address} ({type(error).__name__}: {error}): start one, "
                    "dask scheduler, or check address and certificates"
                )
                refused.__cause__ = error
                self.connected.set_exception(refused)
                self._is_closed = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), STATUS_SECONDS)
            return None

    async def _attend(self) -> None:
        """Keep the nodes as the scheduler sees them, until it is lost or the engine is closed."""
        # Dask's client sends each 10 ms: with one message for a call and one for its end that would be its rate.
        self._client.scheduler_comm.interval = SEND_SECONDS
        self._client.subscribe_topic("all", self._hear)
        self._client.subscribe_topic(NOTES, self._note)
        await self._look()
        if not self.connected.done():
            self.connected.set_result(None)
        looked = self._loop.time()
        while not self._is_closed and self._is_connected:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), STATUS_SECONDS)
            if self._news.is_set() or self._loop.time() - looked > LOOK_SECONDS:
                self._news.clear()
                looked = self._loop.time()
                await self._look()

    async def _look(self) -> None:
        try:
            found = (await asyncio.wait_for(self._client.scheduler.identity(), CONNECT_SECONDS))["workers"]
        except (OSError, TimeoutError, CommClosedError):
            return  # the client's status tells whether the scheduler is lost
        for address in [address for address in self.nodes if address not in found]:
            self._drop(address)
        for address, info in found.items():
            if address in self.nodes:
                self.nodes[address].renew(info)
            else:
                self.nodes[address] = Node(address, info)
                self._in_background(self.nodes[address].learn_pid(self._client))
        self._assign()

    def _hear(self, event: Any) -> None:
        message = event[1]
        if message.get("action") == "remove-worker":
            self._drop(message.get("worker"))
        elif message.get("action") == "add-worker":
            self._news.set()

    def _note(self, event: Any) -> None:
        key, word = event[1]
        task = self._sent.get(key)
        if task is not None:
            task.note = pickle.loads(word)

    def _leave(self) -> None:
        """The scheduler is lost, and all that it had; or the engine is closed."""
        for address in list(self.nodes):
            self._drop(address)
        self._in_background(_close(self._client))
        self._client = None

    def _drop(self, address: str) -> None:
        node = self.nodes.pop(address, None)
        if node is not None:
            node.is_gone = True
            for task in node.tasks:
                assert task.job is not None
                task.job.cancel()

    def _in_background(self, what: Any) -> None:
        job = self._loop.create_task(what)
        self._background.add(job)
        job.add_done_callback(self._background.discard)

    @property
    def _is_connected(self) -> bool:
        return self._client is not None and self._client.status == "running"

    # -- calls

    def _add(self, task: DaskTask) -> None:
        self._pending.append(task)
        self._assign()

    def _assign(self) -> None:
        """Give calls that wait to the workers that have most room."""
        while self._pending and self._is_connected and not self._is_closed:
            node = max(self.nodes.values(), key=lambda node: node.room, default=None)
            if node is None or node.room + self._ahead < 1:
                return
            task = self._pending.popleft()
            if not task.ended:
                task.at, task.node = node, node.name
                node.tasks.add(task)
                task.job = self._loop.create_task(self._ask(self._client, task, node))
                task.job.add_done_callback(partial(self._over, task, node))

    async def _ask(self, client: Any, task: DaskTask, node: Node) -> tuple[bytes, bytes]:
        bound = {"workers": [node.address], "allow_other_workers": False}
        data: Any = task.data
        if len(data) > SCATTERED:
            (data,) = await client.scatter([data], workers=[node.address], hash=False)
        key = f"{task.name}-{uuid.uuid4().hex}"
        task.is_sent = True
        self._sent[key] = task
        task.began = time.time()
        future = client.submit(run, data, key, key=key, pure=False, retries=0, **bound)
        del data
        try:
            kind, answer = await future
            return kind, answer
        finally:
            del self._sent[key]
            future.release()

    def _over(self, task: DaskTask, node: Node, job: asyncio.Task[tuple[bytes, bytes]]) -> None:
        """A call was answered, or lost."""
        task.at = None
        node.tasks.discard(task)
        error = CancelledError("its worker was lost") if job.cancelled() else job.exception()
        if error is None:
            kind, data = job.result()
            node.done += kind == wire.DONE
            node.failed += kind != wire.DONE
            if not task.ended:
                task.answered(lambda: wire.outcome(kind, wire.Content.of(data)), node.name)
                self.ended.add(task)
        elif isinstance(error, _LOST):
            self._lost(task, node, error)
        else:  # such as a worker without this package
            node.failed += 1
            self._end(task, error)
        if task.ended:
            task.data = b""
        self._assign()

    def _lost(self, task: DaskTask, node: Node, cause: BaseException) -> None:
        if task.ended:
            return
        if self._is_closed or task.is_cancelling:
            self._end(task)
            return
        if not task.is_sent:
            self._pending.appendleft(task)
            return
        node.failed += 1
        error = WorkerLostError(
            f"{task.name} was lost on the worker {node.name} at {node.address} ({type(cause).__name__}: {cause}); it "
            "may have had effects. If nobody ended worker or scheduler, look into their logs"
        )
        task.end(error, died=True)
        self.ended.add(task)

    def _end(self, task: DaskTask, error: BaseException | None = None) -> None:
        if not task.ended:
            task.end(error)
            self.ended.add(task)

    def cancel(self, task: DaskTask) -> None:
        """In the thread: end a task, by killing its worker where that harms no other call."""
        node = task.at
        if task.ended or task.is_cancelling:
            return
        if node is None or not node.has_nanny or node.slots > 1 or len(node.tasks) > 1:
            self._end(task)
        else:
            task.is_cancelling = True
            node.is_condemned = True
            self._in_background(self._kill(node))

    async def _kill(self, node: Node) -> None:
        """Kill a worker's process; its nanny starts another one."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._client.run(kill_this, workers=[node.address], on_error="ignore"), LOOK_SECONDS)
        if not node.is_gone and self._client is not None:
            with contextlib.suppress(Exception):
                await self._client.restart_workers([node.address], raise_for_error=False)


async def _close(client: Any) -> None:
    """Takes seconds when its scheduler is gone; the next one is not to wait for that."""
    with contextlib.suppress(Exception):
        client.unsubscribe_topic("all")
        client.unsubscribe_topic(NOTES)
        await client.close()
