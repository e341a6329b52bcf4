"""What can be seen of a database from a thread beside the work: is it there, how big, who committed what.

- One thread an observer. It sleeps until a commit, or a second to notice that the server went away, and asks then.
- A server that is gone is not asked for anything: asking would start it again where it starts on demand, and hang for
  the connection's patience where it does not. ZEO's client comes back by itself and that wakes the observer.
- Only headers are read, none of the connection's objects, so the connection's own thread is never disturbed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from wendelin.storage.database import TransactionInfo, last_transactions, watch
from wendelin.storage.database.status import bytes_on_disk
from wendelin.storage.database.urls import parse
from wendelin.storage.errors import UnavailableError, WendelinError

State = Literal["connected", "empty", "disconnected", "error", "closed"]

LOOK_SECONDS: Final = 1.0
REST_SECONDS: Final = 0.2
"""Commits closer together than this are shown together."""


@dataclass(frozen=True)
class Seen:
    """A database at one moment.

    `state`: "connected"; "empty" (nothing committed but its creation); "disconnected" (its server does not answer);
    "error" (see `problem`); "closed" (nobody looks any more). `size`: bytes on disk where the files are on this
    machine, else of the records; None when unknown. `transactions`: newest first; of the last good look.
    """

    state: State
    size: int | None = None
    transactions: tuple[TransactionInfo, ...] = ()
    problem: str = ""

    @property
    def last(self) -> datetime | None:
        """Time of the last commit (UTC)."""
        return self.transactions[0].time if self.transactions else None


class Observer:
    """Tells `deliver` what is seen of `connection`'s database: once at the start, then at each change.

    `deliver(seen)` runs in the observer's thread and must be quick; see `wendelin.widgets.loop` for the way back.
    `limit`: how many transactions. Call `close()` when done; closing the connection ends in the state "error".
    """

    def __init__(self, connection: Any, deliver: Callable[[Seen], None], *, limit: int = 5) -> None:
        self._connection = connection
        self._db = connection.db()
        self._deliver = deliver
        self._limit = limit
        self._seen: Seen | None = None
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._stop_watching = watch(self._db, self._wake.set)
        self._thread = threading.Thread(target=self._run, name="wendelin observer", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """Look again soon, though no commit was heard of."""
        self._wake.set()

    def close(self) -> None:
        """Stop looking. Safe to call twice."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._stop_watching()
        self._wake.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        self._tell(self._now())
        while not self._ended.is_set():
            heard = self._wake.wait(LOOK_SECONDS)
            if self._ended.is_set():
                return
            if heard:
                self._wake.clear()
            elif self._reachable() == (self._seen is not None and self._seen.state != "disconnected"):
                continue
            started = time.monotonic()
            self._tell(self._now())
            # Measuring a big folder takes a while: rest ten times as long, so a busy database stays quick.
            self._ended.wait(max(REST_SECONDS, 10 * (time.monotonic() - started)))

    def _tell(self, seen: Seen) -> None:
        if seen != self._seen and not self._ended.is_set():
            self._seen = seen
            self._deliver(seen)

    def _reachable(self) -> bool:
        """Whether the client has a server now; asks nobody. Databases without a server are always there."""
        connected = getattr(self._db.storage, "is_connected", None)
        return bool(connected()) if connected is not None else True

    def _now(self) -> Seen:
        before = self._seen or Seen("disconnected")
        if not self._reachable():
            return replace(before, state="disconnected", problem="")
        try:
            transactions = tuple(last_transactions(self._connection, self._limit))
            size = self._size()
        except UnavailableError:
            return replace(before, state="disconnected", problem="")
        except Exception as error:  # noqa: BLE001  storages raise what they like; a tile shows it and goes on
            return replace(before, state="error", problem=str(error) or type(error).__name__)
        return Seen("connected" if _has_commits(transactions) else "empty", size, transactions)

    def _size(self) -> int | None:
        try:
            folder = getattr(parse(self._connection.url), "folder", None)
        except WendelinError:
            folder = None
        found = bytes_on_disk(folder) if folder is not None else None
        return int(self._db.getSize()) if found is None else found


def _has_commits(transactions: tuple[TransactionInfo, ...]) -> bool:
    return any(each.note != "initial database creation" for each in transactions)
