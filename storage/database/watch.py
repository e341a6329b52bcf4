"""Hear of commits: `watch`.

- ZEO and FileStorage tell every MVCC instance of a database about each commit of any process. We add a listener to
  those instances. That set is private to ZODB, so only this module touches it.
- RelStorage tells nobody: a thread asks, once a second.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def watch(db: Any, callback: Callable[[], object]) -> Callable[[], None]:
    """Call `callback()` soon after each commit to `db` by any process, and after its server came back.

    It is called in another thread, while ZODB holds locks: it must only set an event or schedule something, and not
    touch the database. What was committed is visible to the transaction that begins next. Calls may be too many or
    merged, never missing. An error in it is logged. The returned `stop()` ends it (not from within the callback);
    closing the database does too.
    """
    from ZODB.mvccadapter import MVCCAdapter

    adapter = db._mvcc_storage
    if isinstance(adapter, MVCCAdapter):
        return _listen(adapter, callback)
    return _poll(adapter, callback)


class _Listener:
    """What an MVCC adapter takes for one more connection."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback

    def _invalidate(self, tid: bytes, oids: object) -> None:
        _call(self._callback)

    def _invalidateCache(self) -> None:
        _call(self._callback)


def _listen(adapter: Any, callback: Callable[[], object]) -> Callable[[], None]:
    listener = _Listener(callback)
    with adapter._lock:
        adapter._instances.add(listener)

    def stop() -> None:
        with adapter._lock:
            # A closed adapter has no instances any more.
            getattr(adapter, "_instances", set()).discard(listener)

    return stop


def _poll(storage: Any, callback: Callable[[], object]) -> Callable[[], None]:
    ended = threading.Event()
    instance = storage.new_instance()

    def newest() -> object:
        instance.poll_invalidations()
        return instance.lastTransaction()

    seen = newest()  # before this returns: what is committed from then on is heard

    def loop() -> None:
        nonlocal seen
        while not ended.wait(POLL_SECONDS):
            try:
                found = newest()
            except Exception:
                log.debug("the database does not answer", exc_info=True)
                continue
            if found != seen:
                seen = found
                _call(callback)
        instance.release()

    thread = threading.Thread(target=loop, name="wendelin watch", daemon=True)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:  # a listener must not break ZODB's own invalidations
        log.exception("a callback of watch() failed")
