"""The dispatcher: takes messages in, hands what may run to an engine, and notes what has ended.

Exactly one works for a database: it holds the lease in the queue and renews it; whoever finds the lease run out takes
over. A dispatcher that lost it notices at its next commit, which conflicts. It knows nothing that is not in the
database but what runs now; so if it dies, its successor starts those again, and the workers see which have ended.

Each round begins a transaction, so it sees what was committed; takes in what is new *before* it lets others follow
those that ended, because an activity's end and what it left behind are one commit; and starts what may run. `intake`
stores what came of it a few times a second, or when nothing runs.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from functools import partial
from typing import Any

import transaction
from ZODB.POSException import ConflictError, POSKeyError

from wendelin.kernel.activity.account import Account, report
from wendelin.kernel.activity.election import Election
from wendelin.kernel.activity.engine import Engine, Task
from wendelin.kernel.activity.intake import Intake
from wendelin.kernel.activity.pace import Pace
from wendelin.kernel.activity.work import was_stopped, work
from wendelin.storage.activities.message import FAILED, PENDING, Message
from wendelin.storage.activities.order import Item, Order
from wendelin.storage.activities.queue import GIVEN_BACK, ActivityQueue, queue_of
from wendelin.storage.activities.run import Outcome, note_death
from wendelin.storage.database.connect import connect
from wendelin.storage.database.watch import watch
from wendelin.storage.errors import UnavailableError

log = logging.getLogger(__name__)

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
        self._intake = Intake(None, self._order)
        self._pace = Pace()
        self._tasks: dict[Task, list[Item]] = {}
        self._limits: dict[Task, float] = {}  # seconds from the begin of the run
        self._late: set[Task] = set()
        self._expected: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._alone: set[str] = set()
        self._wanted: set[str] = set()
        self._held: deque[list[Item]] = deque()
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
        now = time.time()
        dates = [(task.began or now) + seconds for task, seconds in self._limits.items()]
        if self._room > 0 and (date := self._order.next_date()) is not None:
            dates.append(date)
        return min(max(min(dates, default=now + LOOK_SECONDS) - now, 0.0), LOOK_SECONDS)

    @property
    def _room(self) -> int:
        """Calls that may be prepared."""
        return self.engine.slots * AHEAD - len(self._tasks) - len(self._held)

    def _take_lease(self) -> bool:
        if not self._election.take(self._connection):
            return False
        self._begin_anew()
        self._connection.transaction_manager.begin()
        queue = queue_of(self._connection)
        if queue is not None:
            self._intake.load(queue)
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
        self._tasks, self._limits = {}, {}
        for uids in (self._late, self._wanted, self._expected):
            uids.clear()
        self._held.clear()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._order = Order()
        self._intake = Intake(self._connection, self._order)

    # -- a round

    def _round(self) -> None:
        intake = self._intake
        ended, intake.gone = intake.gone, set()
        manager = self._connection.transaction_manager
        manager.begin()
        queue = queue_of(self._connection)
        if queue is None or not self._election.holds(queue):
            raise ConflictError("another dispatcher has taken over")
        intake.see(queue)
        asked = queue.requests.take()
        for name, message in asked:
            try:
                if name.startswith(GIVEN_BACK):
                    self._take_from_its_worker(message.uid)
                else:
                    self._look_again(queue, message)
            except POSKeyError:  # somebody has undone its creation
                log.warning("an activity that somebody asked about is not there any more")
        for uid in ended:
            intake.ended(uid)
            self._deaths.pop(uid, None)
            self._alone.discard(uid)
        self._start()
        if self._election.renew(queue) or asked or intake.is_due or not (self._tasks or intake.is_stored):
            intake.store(queue)
            self._election.renew(queue, always=True)
            manager.commit()
            intake.stored()
        else:
            manager.abort()
        self._fail_circles()

    def _look_again(self, queue: ActivityQueue, message: Message) -> None:
        """A person did something about a message."""
        if message.state in (PENDING, FAILED):  # failed: once more, before this was read
            if message.uid not in self._order.items:
                self._intake.look_at(queue, message)
            elif message.uid not in self._order.running:
                self._order.again(message.uid, message.not_before, failed=message.state == FAILED)
            elif message.state == PENDING:
                self._wanted.add(message.uid)  # its failure has not been heard of yet
            return
        self._intake.gone.add(message.uid)
        for task, items in list(self._tasks.items()):
            if any(item.uid == message.uid for item in items) and len(items) == 1:
                task.cancel()
        self.engine.wake()

    def _take_from_its_worker(self, uid: str) -> None:
        """A worker takes long with another one of the same call, and has not begun this one."""
        if uid in self._expected:  # its answer came first, and since then it may be with another one
            self._expected.discard(uid)
            return
        for items in self._tasks.values():
            given = [item for item in items if item.uid == uid]
            if given and len(items) > 1:
                items.remove(given[0])
                self._order.again(uid)

    def _start(self) -> None:
        slots, room = self.engine.slots, self._room
        most = max(1, self._order.ready // (2 * slots))  # of one call, so that each worker has something to do

        def together(item: Item) -> int:
            return 1 if item.uid in self._alone else min(most, self._pace.together(item))

        for group in self._order.start(time.time(), room, self.engine.names, together) if room > 0 else ():
            apart = any(item.uid in self._alone for item in group)
            for items in [[item] for item in group] if apart else [group]:
                if items[0].options.timeout is None:
                    self._hand_over(items)
                else:
                    self._held.append(items)
        while self._held and len(self._tasks) < self.engine.slots:  # its time counts from now on
            items = self._held.popleft()
            task = self._hand_over(items)
            self._limits[task] = (items[0].options.timeout or 0.0) * len(items)

    def _hand_over(self, items: list[Item]) -> Task:
        oids, group = [item.oid for item in items], items[0].options.group_method_id
        task = self.engine.start_on(items[0].options.node, work, self.url, oids, group, self.name)
        self.account.start(items)
        self._tasks[task] = items
        return task

    def _cancel_late(self) -> None:
        now = time.time()
        for task, seconds in list(self._limits.items()):
            if task.began and now >= task.began + seconds:
                del self._limits[task]
                self._late.add(task)
                task.cancel()

    def _fail_circles(self) -> None:
        if self._tasks or self._intake.gone:
            return
        for item in self._order.circle():
            names = ", ".join(sorted({" ".join(key) for key in item.waits_for}))
            self._died(
                item, f"it waits for {names}, and what has that waits for it: they would wait for ever", last=True
            )

    # -- what comes back

    def _take_back(self, task: Task) -> None:
        items = self._tasks.pop(task, None)
        self._limits.pop(task, None)
        is_late = task in self._late
        self._late.discard(task)
        if items is None:
            return
        self.account.back(task, items)
        if task.cancelled and is_late:
            self._took_too_long(items)
        elif task.cancelled:
            for item in items:
                self._order.again(item.uid)
        elif task.died:
            self._buried(items)
        elif task.error is not None:
            self._broken(items, task.error)
        else:
            self._pace.learn(items, task.result)
            known = {item.oid: item for item in items}
            for outcome in task.result:
                if outcome.oid in known:  # others have been given back meanwhile
                    self._note(known[outcome.oid], outcome)

    def _note(self, item: Item, outcome: Outcome) -> None:
        if outcome.kind == "back":
            if outcome.asked:
                self._expected.add(item.uid)
            self._order.again(item.uid)
            return
        wanted = item.uid in self._wanted
        self._wanted.discard(item.uid)
        self.account.note(outcome.kind)
        if outcome.kind == "ended":
            self._intake.gone.add(item.uid)
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
