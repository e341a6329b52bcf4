"""What a worker does with messages: run them, and store effects and end in one transaction, exactly once.

Needs a connection of its own and nothing else: no engine, no dispatcher. Whatever dies in between leaves the message as
it was. Two that run the same message both write its record: the later commit conflicts, and its effects are taken back.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ZODB.POSException import ConflictError, POSKeyError

from wendelin.storage.activities.message import MISSING, Message
from wendelin.storage.activities.options import Options
from wendelin.storage.activities.queue import made_queue
from wendelin.storage.activities.user import acting_as
from wendelin.storage.errors import ActivityError, MissingObjectError

log = logging.getLogger(__name__)

#: Times that a conflict is tried again at once, by the worker itself.
CONFLICTS = 5

_current: ContextVar[Message | None] = ContextVar("wendelin_activity", default=None)


@dataclass
class Outcome:
    """What became of a message: `ended`, `later` (at `not_before`), `failed`, or `conflict`."""

    uid: str
    oid: bytes
    kind: str
    not_before: float = 0.0
    error: str = ""


def running() -> Message | None:
    """The activity that this thread runs."""
    return _current.get()


def activity_key() -> str:
    """A key that is the same however often the running activity is run: for effects outside of the database.

    Such effects may happen more than once, when a worker dies between them and its commit. Raises `ActivityError`
    outside of an activity.
    """
    message = _current.get()
    if message is None:
        raise ActivityError("activity_key() has a meaning only within an activity: call it in the function that runs")
    return str(message.uid)


def run(connection: Any, oids: Sequence[bytes], group: str | None = None, node: str = "") -> list[Outcome]:
    """Run messages, together in one transaction when `group` is not None; what became of each.

    `connection` has a transaction manager of its own, without a running transaction that matters. When a group does
    not succeed together, its messages are run one by one.
    """
    if group is None or len(oids) == 1:
        return [_alone(connection, oid, node) for oid in oids]
    try:
        return _together(connection, oids, group, node)
    except Exception as error:  # noqa: BLE001  # whose fault it is shows when each is run by itself
        log.info("a group of %d activities is run one by one: %r", len(oids), error)
        return [_alone(connection, oid, node) for oid in oids]


def _alone(connection: Any, oid: bytes, node: str) -> Outcome:
    manager = connection.transaction_manager
    last = ConflictError()
    for attempt in range(CONFLICTS + 1):
        try:
            with _transaction(manager) as running:
                message = _pending(connection, oid)
                if isinstance(message, Outcome):
                    return message
                running.note(f"activity {message.uid[:8]} {message.method_id}")
                with _as_creator(message, running):
                    _finish(message, message.run(), node)
            return Outcome(message.uid, oid, "ended")
        except ConflictError as error:
            last = error
            time.sleep(random.random() * 0.01 * 2**attempt)  # others may want the same objects
        except MissingObjectError as error:
            return _dropped(connection, oid, error)
        except BaseException as error:
            outcome = _noted(connection, oid, error, node)
            if not isinstance(error, Exception):
                raise
            return outcome
    return _conflicting(connection, oid, last, node)


def _together(connection: Any, oids: Sequence[bytes], group: str, node: str) -> list[Outcome]:
    manager = connection.transaction_manager
    with _transaction(manager) as running:
        connection.prefetch(oids)  # in one go instead of one question after the other
        found = [_pending(connection, oid) for oid in oids]
        messages = [message for message in found if isinstance(message, Message)]
        running.note(f"{len(messages)} activities {messages[0].method_id if messages else ''}")
        if group and messages:
            with _as_creator(messages[0], running):
                messages[0].helper(group)(messages)
            for message in messages:
                _finish(message, None, node)
        else:
            for message in messages:
                with _as_creator(message, running):
                    _finish(message, message.run(), node)
    return [it if isinstance(it, Outcome) else Outcome(it.uid, it._p_oid, "ended") for it in found]


def _pending(connection: Any, oid: bytes) -> Message | Outcome:
    """The message, if it is still to be run; what became of it, if not."""
    try:
        message = connection.get(oid)
        message._p_activate()
    except POSKeyError:
        return Outcome("", oid, "ended")
    if message.is_pending:
        return message  # type: ignore[no-any-return]
    return Outcome(message.uid, oid, "failed" if message.state == "failed" else "ended")


def _finish(message: Message, result: Any, node: str) -> None:
    message.end(result, node)
    if message.process is not None and result is not None:
        message.process.post(result, source=message.uid)


@contextlib.contextmanager
def _transaction(manager: Any) -> Iterator[Any]:
    """A transaction that only this block commits, at its end."""
    manager.abort()
    running = manager.begin()
    allowed = False

    def refuse() -> None:
        if not allowed:
            raise ActivityError(
                "an activity does not commit: what it stores is committed together with its end, when the function "
                "returns; leave another activity for what must come later"
            )

    running.addBeforeCommitHook(refuse)
    try:
        yield running
        if manager.get() is not running:
            raise ActivityError("an activity aborted its transaction or began another one: leave that to the worker")
        allowed = True
        manager.commit()
    except BaseException:
        manager.abort()
        raise


@contextlib.contextmanager
def _as_creator(message: Message, running: Any) -> Iterator[None]:
    running.setUser(message.user)
    token = _current.set(message)
    try:
        with acting_as(message.user):
            yield
    finally:
        _current.reset(token)


# -- what did not go well, each in a transaction of its own


def _noted(connection: Any, oid: bytes, error: BaseException, node: str) -> Outcome:
    text = "".join(traceback.format_exception(error))
    return _change(connection, oid, lambda message: _note_error(message, text, node))


def note_death(connection: Any, oid: bytes, why: str, node: str = "", *, last: bool) -> Outcome:
    """A worker died while it had this message: `last` says that it is not to be tried again."""
    return _change(connection, oid, lambda message: _note_error(message, why, node, last=last))


def _conflicting(connection: Any, oid: bytes, error: BaseException, node: str) -> Outcome:
    message = connection.get(oid)
    if not message.options.conflict_retry:
        return _noted(connection, oid, error, node)
    return Outcome(message.uid, oid, "conflict", time.time() + random.random())


def _note_error(message: Message, text: str, node: str, *, last: bool = False) -> None:
    message.failed(text, node, last=last)
    if message.state != "failed":
        return
    if message.process is not None:
        message.process.post(None, error=text, source=message.uid)
    if message.options.on_error_callback:
        _leave_callback(message, message.options.on_error_callback)


def _leave_callback(message: Message, name: str) -> None:
    """To be told is an activity of its own: its errors are its own, and no dispatcher runs what others wrote."""
    connection = message._p_jar
    call: tuple[Any, Any, Any] = (message.helper(name), (message,), {})
    with acting_as(message.user):
        told = Message(connection, None, name, call, Options())
    connection.add(told)
    made_queue(connection).add(told)


def _dropped(connection: Any, oid: bytes, error: MissingObjectError) -> Outcome:
    log.warning("%s; the activity is deleted", error)
    return _change(connection, oid, lambda message: message.stop(MISSING))


def _change(connection: Any, oid: bytes, change: Callable[[Message], None]) -> Outcome:
    outcome = Outcome("", oid, "ended")
    for attempt in connection.transaction_manager.attempts(10):
        with attempt:
            message = _pending(connection, oid)
            if isinstance(message, Outcome):
                return message
            change(message)
            kind = {"pending": "later", "failed": "failed"}.get(message.state, "ended")
            outcome = Outcome(message.uid, oid, kind, message.not_before, message.error)
    return outcome
