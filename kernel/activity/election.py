"""Who dispatches: the lease in the queue, and what its holder offers to the others.

The holder listens for those who watch and for nodes that join; whoever stands by offers it its workers meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ZODB.POSException import ConflictError

from wendelin.kernel.activity.engine import Engine
from wendelin.kernel.activity.exchange import Exchange, host_towards
from wendelin.kernel.activity.fleet import Fleet
from wendelin.kernel.activity.member import Membership
from wendelin.storage.activities.queue import ActivityQueue, queue_of

#: Seconds that a lease lasts, and after which its holder renews it.
LEASE_SECONDS, RENEW_SECONDS = 3.0, 1.0


class Election:
    """One dispatcher's part in it. One thread uses it; `leads` may be read in any."""

    def __init__(self, url: str, name: str, node: str, engine: Engine, report: Callable[[], dict[str, Any]]) -> None:
        self.fleet = Fleet(engine, node, url)
        self.leads = False
        self._url, self._name, self._report = url, name, report
        self._member = Membership(url, engine, node, self.fleet.wait)
        self._exchange: Exchange | None = None
        self._elsewhere: tuple[tuple[str, int] | None, str] = (None, "")
        self._token = ""
        self._renewed = 0.0

    def take(self, connection: Any) -> bool:
        """Take the lease if it is free, in a transaction of its own."""
        manager = connection.transaction_manager
        manager.begin()
        queue = queue_of(connection)
        if queue is None or not queue.lease.is_free:
            self._elsewhere = (None, "") if queue is None else (queue.lease.address, queue.lease.key)
            manager.abort()
            return False
        self._member.leave()
        exchange = self._exchange = Exchange(host_towards(self._url), self._report, self.fleet.join)
        self._token = queue.lease.take(self._name, LEASE_SECONDS, exchange.address, exchange.key)
        try:
            manager.commit()
        except ConflictError:  # another one was first
            manager.abort()
            self.lose()
            return False
        self.leads, self._renewed = True, time.time()
        return True

    def stand_by(self, seconds: float) -> None:
        """Work for whoever leads, for so long."""
        self._member.serve(*self._elsewhere, seconds)

    def holds(self, queue: ActivityQueue | None) -> bool:
        """Whether nobody has taken over."""
        return queue is not None and queue.lease.token == self._token

    def renew(self, queue: ActivityQueue, *, always: bool = False) -> bool:
        """Hold it for longer, in the running transaction; False when it is not time.

        `always` in transactions that store anything else in the queue: who lost it after their begin conflicts.
        """
        if time.time() - self._renewed <= RENEW_SECONDS and not always:
            return False
        queue.lease.renew(LEASE_SECONDS)
        self._renewed = time.time()
        return True

    def give_back(self, connection: Any) -> None:
        """Let the next one have it at once."""
        manager = connection.transaction_manager
        manager.begin()
        queue = queue_of(connection)
        try:
            if queue is not None and self.holds(queue):
                queue.lease.give_back()
            manager.commit()
        except ConflictError:
            manager.abort()

    def lose(self) -> None:
        """Somebody else may lead now, or nobody."""
        self.leads = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def close(self) -> None:
        """Leave the one that this node works for."""
        self._member.leave()
