"""The dispatcher: takes messages in, hands what may run to an engine, and notes what has ended.

Exactly one works for a database: it holds the lease in the queue and renews it; whoever finds the lease run out takes
over. A dispatcher that lost it notices at its next commit, which conflicts. It knows nothing that is not in the
database but what runs now; so if it dies, its successor starts those again, and the workers see which have ended.

Each round begins a transaction, so it sees what was committed; takes in what is new *before* it lets others follow
those that ended, because an activity's end and what it left behind are one commit; and starts what may run. What it has
moved and removed it stores a few times a second, or when nothing runs: its commits compete with those of the workers.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from functools import partial
from typing import Any

import transaction
from persistent.TimeStamp import TimeStamp
from ZODB.POSException import ConflictError, POSKeyError

from wendelin.kernel.activity.account import Account, report
from wendelin.kernel.activity.election import Election
from wendelin.kernel.activity.engine import Engine, Task
from wendelin.kernel.activity.work import was_stopped, work
from wendelin.storage.activities.message import FAILED, MERGED, PENDING, Message
from wendelin.storage.activities.order import Item, Order
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.activities.run import Outcome, note_death
from wendelin.storage.database.connect import connect
from wendelin.storage.database.watch import watch
from wendelin.storage.errors import UnavailableError

log = logging.getLogger(__name__)

#: Seconds between two commits of the dispatcher while workers are busy, and ended messages that make one due.
STORE_SECONDS, STORE_MESSAGES = 0.2, 1000

#: Seconds in which calls that end are gathered while others are at hand for the workers.
GATHER_SECONDS = 0.003

#: Seconds between two looks when nothing was heard of.
LOOK_SECONDS = 0.5

#: Times that a message may have been with a worker that died.
DEATHS = 3

#: Calls that an engine is given for each of its slots: the next one waits beside the one that runs.
AHEAD = 4


class Dispatcher:
    """Dispatches the activities of one database to one engine, as long as it is the elected one.

    `run()` works until `stop()`, in the thread that calls it; `stop` and `state` may be used in any thread. `state`:
    what a monitor shows.
    """

    def __init__(self, url: str, engine: Engine, node: str = "") -> None:
        self.url = url
        self.node = node or socket.gethostname()
        self.name = f"{self.node}:{os.getpid()}"
        self.account = Account()
        self._election = Election(url, self.name, self.node, engine, partial(report, self))
        self.engine = self._election.fleet
        self._order = Order()
        self._tasks: dict[Task, list[Item]] = {}
        self._deadlines: dict[Task, float] = {}
        self._deaths: Counter[str] = Counter()
        self._alone: set[str] = set()
        self._gone: set[str] = set()
        self._removing: set[str] = set()
        self._seen: set[str] = set()
        self._duplicates: list[Message] = []
        self._wanted: set[str] = set()
        self._held: deque[list[Item]] = deque()
        self._stored = 0.0
        self._stopping = threading.Event()
        self._connection: Any = None

    def run(self) -> None:
        """Dispatch until `stop()` is called or somebody stops the database; while it does not answer, wait for it."""
        while not self._stopping.is_set():
            try:
                self._work_on_a_connection()
            except (UnavailableError, ConflictError) as error:
                log.info("the dispatcher of %s begins again: %s", self.url, error)
                self._forget()
                if was_stopped(self.url):
                    log.info("the database was stopped on purpose, so its dispatcher ends")
                    return
                self._stopping.wait(LOOK_SECONDS)

    def stop(self) -> None:
        """Let `run` return soon. What runs in the engine goes on."""
        self._stopping.set()
        self.engine.wake()

    @property
    def leads(self) -> bool:
        """Whether it is the elected one."""
        return self._election.leads

    @property
    def is_idle(self) -> bool:
        """Whether it leads, and nothing is waiting to be run, now or later; failed messages do not count."""
        return self.leads and not self._tasks and all(item.failed for item in list(self._order.items.values()))

    @property
    def state(self) -> dict[str, int]:
        """Numbers of messages by what they do: running, waiting, failed; and what has ended since it began."""
        items = list(self._order.items.values())
        failed, running = sum(item.failed for item in items), len(self._order.running)
        return {
            "running": running,
            "waiting": len(items) - failed - running,
            "failed": failed,
            "ended": self.account.finished,
            "errors": self.account.failed,
        }

    @property
    def items(self) -> list[Item]:
        """All that is on the board."""
        return list(self._order.items.values())

    @property
    def tasks(self) -> list[tuple[Task, list[Item]]]:
        """What the engine has."""
        return list(self._tasks.items())

    # -- a connection's life

    def _work_on_a_connection(self) -> None:
        self._connection = connect(self.url, transaction_manager=transaction.TransactionManager())
        stop_watching = watch(self._connection.db(), self.engine.wake)
        try:
            while not self._stopping.is_set():
                if self.leads or self._take_lease():
                    self._round()
                    tasks = self._ended_tasks()
                else:
                    tasks = []
                    self._election.stand_by(LOOK_SECONDS)
                for task in tasks:
                    self._take_back(task)
                self._cancel_late()
            self._leave()
        finally:
            self._election.close()
            stop_watching()
            self._connection.transaction_manager.abort()
            self._connection.close()

    def _ended_tasks(self) -> list[Task]:
        """What has ended. While the workers have enough to do, a few are waited for: each round asks the server."""
        tasks = self.engine.wait(self._patience())
        if tasks and len(self._tasks) - len(tasks) >= self.engine.slots:
            time.sleep(GATHER_SECONDS)
            tasks += self.engine.wait(0)
        return tasks

    def _patience(self) -> float:
        """Seconds until the next date, at most until the next look."""
        soonest = min(
            [date for date in (self._order.next_date(), *self._deadlines.values()) if date is not None] or [0]
        )
        return min(max(soonest - time.time(), 0.0), LOOK_SECONDS) if soonest else LOOK_SECONDS

    def _take_lease(self) -> bool:
        if not self._election.take(self._connection):
            return False
        self._order = Order()
        self._connection.transaction_manager.begin()
        queue = queue_of(self._connection)
        self._add(queue.board.values() if queue is not None else ())
        log.info("%s dispatches the activities of %s: %d wait", self.name, self.url, len(self._order))
        return True

    def _leave(self) -> None:
        if self.leads:
            self._election.give_back(self._connection)
            self._forget()

    def _forget(self) -> None:
        """Somebody else may lead now: what runs here ends, and the database tells which of it has."""
        self._election.lose()
        for task in list(self._tasks):
            task.cancel()
        self._tasks, self._deadlines, self._gone, self._order = {}, {}, set(), Order()
        self._removing, self._seen, self._duplicates, self._wanted = set(), set(), [], set()
        self._held.clear()

    # -- a round

    def _round(self) -> None:
        ended, self._gone = self._gone, set()
        manager = self._connection.transaction_manager
        manager.begin()
        queue = queue_of(self._connection)
        if queue is None or not self._election.holds(queue):
            self._gone = ended
            raise ConflictError("another dispatcher has taken over")
        self._removing |= ended
        stores = self._stores(queue)
        changed = self._take_in(queue, move=stores)
        for uid in ended:
            self._order.ended(uid)
            self._deaths.pop(uid, None)
        self._start()
        if stores and (self._remove(queue) or changed):
            for message in self._duplicates:
                message.stop(MERGED)
            manager.commit()
            self._duplicates = []
            self._stored, self._removing = time.time(), set()
        else:
            manager.abort()
        self._fail_circles()

    def _stores(self, queue: ActivityQueue) -> bool:
        """Whether it is time for a commit."""
        late = time.time() - self._stored > STORE_SECONDS or len(self._removing) > STORE_MESSAGES
        return late or not self._tasks or bool(queue.requests)

    def _remove(self, queue: ActivityQueue) -> bool:
        """Take what has ended from the board, and renew the lease; False when there was nothing to do."""
        changed = False
        for uid in self._removing:
            if uid in queue.board:
                del queue.board[uid]
                changed = True
        return self._election.renew(queue) or changed

    def _take_in(self, queue: ActivityQueue, *, move: bool) -> bool:
        """See what is new; and `move` it to the board."""
        changed = False
        for inbox in queue.inboxes:
            if inbox:
                changed = True
                self._connection.prefetch([message for uid, message in inbox if uid not in self._order.items])
                for uid, message in inbox.take() if move else inbox:
                    known = uid in self._order.items or (not move and uid in self._seen)
                    self._seen.add(uid)
                    if (known or (uid not in self._removing and self._add([message]))) and move:
                        queue.board[uid] = message
        if move:
            self._seen = set()
        if queue.requests:
            changed = True
            for _, message in queue.requests.take():
                self._look_again(queue, message)
        return changed

    def _add(self, some: Iterable[Message]) -> bool:
        """Take messages in; False when the last one needs no place on the board."""
        kept = True
        for message in some:
            try:
                state, options = message.state, message.options
            except POSKeyError:
                continue
            kept = state in (PENDING, FAILED)
            if not kept:
                self._gone.add(message.uid)
                continue
            item = Item(message.uid, message._p_oid, message.path, message.method_id, options, message.not_before)
            item.failed = state == FAILED
            if not (item.not_before or item.failed or options.waits or options.serialization_tag):
                item.committed = TimeStamp(message._p_serial).timeTime()
            if not self._order.add(item):
                self._duplicates.append(message)
                kept = False
        return kept

    def _look_again(self, queue: ActivityQueue, message: Message) -> None:
        """A person did something about a message."""
        if message.state == PENDING:
            if message.uid not in self._order.items:
                self._add([message])
                queue.board[message.uid] = message
            elif message.uid in self._order.running:
                self._wanted.add(message.uid)  # its failure has not been heard of yet
            else:
                self._order.again(message.uid, message.not_before)
            return
        self._gone.add(message.uid)
        for task, items in list(self._tasks.items()):
            if any(item.uid == message.uid for item in items) and len(items) == 1:
                task.cancel()
        self.engine.wake()

    def _start(self) -> None:
        room = self.engine.slots * AHEAD - len(self._tasks) - len(self._held)
        for group in self._order.start(time.time(), room, self.engine.names) if room > 0 else ():
            apart = any(item.uid in self._alone for item in group)
            for items in [[item] for item in group] if apart else [group]:
                if items[0].options.timeout is None:
                    self._hand_over(items)
                else:
                    self._held.append(items)
        while self._held and len(self._tasks) < self.engine.slots:  # its time counts from now on
            items = self._held.popleft()
            task = self._hand_over(items)
            self._deadlines[task] = time.time() + (items[0].options.timeout or 0.0) * len(items)

    def _hand_over(self, items: list[Item]) -> Task:
        oids, group = [item.oid for item in items], items[0].options.group_method_id
        task = self.engine.start_on(items[0].options.node, work, self.url, oids, group, self.name)
        self.account.start(items)
        self._tasks[task] = items
        return task

    def _cancel_late(self) -> None:
        now = time.time()
        for task, deadline in self._deadlines.items():
            if now >= deadline:
                task.cancel()

    def _fail_circles(self) -> None:
        if self._tasks or self._gone:
            return
        for item in self._order.circle():
            names = ", ".join(sorted({" ".join(key) for key in item.waits_for}))
            self._died(
                item, f"it waits for {names}, and what has that waits for it: they would wait for ever", last=True
            )

    # -- what comes back

    def _take_back(self, task: Task) -> None:
        items = self._tasks.pop(task, None)
        late = self._deadlines.pop(task, None)
        if items is None:
            return
        self.account.back(task, items)
        if task.cancelled and late is not None and time.time() >= late:
            self._took_too_long(items)
        elif task.cancelled:
            for item in items:
                self._order.again(item.uid)
        elif task.died:
            self._buried(items)
        elif task.error is not None:
            self._broken(items, task.error)
        else:
            for item, outcome in zip(items, task.result, strict=True):
                self._note(item, outcome)

    def _note(self, item: Item, outcome: Outcome) -> None:
        wanted = item.uid in self._wanted
        self._wanted.discard(item.uid)
        self.account.note(outcome.kind)
        if outcome.kind == "ended":
            self._gone.add(item.uid)
            return
        if wanted:
            self._order.again(item.uid)
        else:
            self._order.again(item.uid, outcome.not_before, failed=outcome.kind == "failed")

    def _took_too_long(self, items: list[Item]) -> None:
        for item in items:
            if len(items) > 1:  # one of them did: which one shows when each is run by itself
                self._alone.add(item.uid)
                self._order.again(item.uid)
            else:
                self._died(item, f"it took longer than its time-out of {item.options.timeout:g} s", last=False)

    def _buried(self, items: list[Item]) -> None:
        """A worker died with these: they are tried again, those of a group one by one."""
        for item in items:
            if len(items) > 1:
                self._alone.add(item.uid)
            else:
                self._deaths[item.uid] += 1
            if self._deaths[item.uid] >= DEATHS:
                self._died(
                    item, f"its worker died {DEATHS} times while running it: killed, or out of memory", last=True
                )
            else:
                self._order.again(item.uid)

    def _broken(self, items: list[Item], error: BaseException) -> None:
        """The call itself failed, as when the database does not answer: nothing has happened."""
        log.warning("activities are tried again: %r", error)
        for item in items:
            self._order.again(item.uid, time.time() + LOOK_SECONDS)

    def _died(self, item: Item, why: str, *, last: bool) -> None:
        outcome = note_death(self._connection, item.oid, why, self.name, last=last)
        self._note(item, outcome)
