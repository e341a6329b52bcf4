"""`Turns`: the activities of one call that a worker runs one after the other, while time lasts.

They were short lately, so that several were handed over together. When one is not, those behind it are given back, to
be run elsewhere: by the answer, or, while it still runs, by a request to the dispatcher.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Self

import transaction

from wendelin.storage.activities.queue import made_queue

log = logging.getLogger(__name__)

#: Seconds after which no other one of a call begins.
CALL_SECONDS = 0.1

#: Seconds after which those behind a running one are given back meanwhile.
PATIENCE_SECONDS = 0.5


class Turns:
    """Iterate to take the next one, in the worker's thread; leave it with `with`."""

    def __init__(self, db: Any, oids: Sequence[bytes]) -> None:
        self._db = db
        self._left = deque(oids)
        self._lost: list[bytes] = []
        self._begun: list[bytes] = []
        self._until = 0.0
        self._is_asking = False
        self.asked: set[bytes] = set()
        """Those of the lost ones that the dispatcher was asked to give to others; known when all is over."""
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE_SECONDS, self._give_back)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._lost += self._left
            self._left.clear()
            is_asking = self._is_asking
        if is_asking:
            self._timer.join()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._lock:
                if not self._has_next():
                    return
                self._until = self._until or time.monotonic() + CALL_SECONDS
                oid = self._left.popleft()
                self._begun.append(oid)
            yield oid

    def __bool__(self) -> bool:
        """Whether another one may begin."""
        with self._lock:
            return self._has_next()

    def _has_next(self) -> bool:
        return bool(self._left) and (not self._until or time.monotonic() < self._until)

    def put_back(self) -> None:
        """The one that was taken last comes next."""
        with self._lock:
            self._left.appendleft(self._begun.pop())

    def settle(self) -> None:
        """Those that were taken are done."""
        self._begun.clear()

    def again(self) -> None:
        """Those that were taken and not settled come next, with new time."""
        with self._lock:
            self._left.extendleft(reversed(self._begun))
            self._until = 0.0
        self._begun.clear()

    @property
    def lost(self) -> list[bytes]:
        """Those that did not begin here, and will not."""
        return [*self._lost]

    def _give_back(self) -> None:
        """In the timer's thread. What fails here is in the worker's answer all the same."""
        with self._lock:
            rest = list(self._left)
            self._lost += rest
            self._left.clear()
            self._is_asking = bool(rest)
        if rest:
            try:
                _request(self._db, rest)
                self.asked.update(rest)
            except Exception:
                log.warning("%d activities wait for one that takes long", len(rest), exc_info=True)


def _request(db: Any, oids: list[bytes]) -> None:
    manager = transaction.TransactionManager()
    connection = db.open(transaction_manager=manager)
    try:
        for attempt in manager.attempts(5):
            with attempt:
                queue = made_queue(connection)
                for oid in oids:
                    queue.give_back(connection.get(oid))
    finally:
        connection.close()
