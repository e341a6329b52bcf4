"""What a worker does with messages: run them, and store effects and end in one transaction, exactly once.

Needs a connection of its own and nothing else: no engine, no dispatcher. Whatever dies in between leaves the message as
it was. Two that run the same message both write its record: the later commit conflicts, and its effects are taken back.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, POSKeyError

from wendelin.storage.activities.message import MISSING, Message
from wendelin.storage.activities.options import Options
from wendelin.storage.activities.queue import made_queue
from wendelin.storage.activities.turns import Turns
from wendelin.storage.activities.user import acting_as
from wendelin.storage.errors import ActivityError, MissingObjectError

log = logging.getLogger(__name__)

#: Times that a conflict is tried again at once, by the worker itself.
CONFLICTS = 5

_current: ContextVar[Message | None] = ContextVar("wendelin_activity", default=None)


@dataclass(slots=True)
class Outcome:
    """What became of a message: `ended`, `later` (at `not_before`), `failed`, `conflict`, or `back`: not begun."""

    uid: str
    oid: bytes
    kind: str
    not_before: float = 0.0
    error: str = ""
    seconds: float = 0.0
    """How long its function took; infinite when it has effects elsewhere, so that nothing else is to repeat it."""
    shared: bool = False
    """Whether others ended in the same commit."""
    asked: bool = False
    """Of those that come back: whether the dispatcher was asked, too, to give it to others."""


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
    message._v_has_key = True
    return str(message.uid)


def run(connection: Any, oids: Sequence[bytes], group: str | None = None, node: str = "") -> list[Outcome]:
    """Run messages, together in one transaction when `group` is not None; what became of each, in any order.

    `connection` has a transaction manager of its own, without a running transaction that matters. When a group does
    not succeed together, its messages are run one by one. Several without a group are taken for short ones: they share
    commits while all goes well, and those that it does not come to in time are `back`.
    """
    if len(oids) == 1:
        return [_alone(connection, oids[0], node)]
    if group is None:
        return _one_after_the_other(connection, oids, node)
    try:
        return _together(connection, oids, group, node)
    except BaseException as error:  # noqa: BLE001  # whose fault it is shows when each is run by itself
        log.info("a group of %d activities is run one by one: %r", len(oids), error)
        return [_alone(connection, oid, node) for oid in oids]


def _alone(connection: Any, oid: bytes, node: str) -> Outcome:
    manager = connection.transaction_manager
    last: TransientError = ConflictError()
    for attempt in range(CONFLICTS + 1):
        try:
            with _transaction(manager) as running:
                message = _pending(connection, oid)
                if isinstance(message, Outcome):
                    return message
                running.note(f"activity {message.uid[:8]} {message.method_id}")
                outcome = _perform(message, running, node)
            return outcome
        except TransientError as error:  # a conflict, or the database went away meanwhile
            last = error
            time.sleep(random.random() * 0.01 * 2**attempt)  # others may want the same objects
        except MissingObjectError as error:
            return _dropped(connection, oid, error)
        except BaseException as error:
            outcome = _noted(connection, oid, error, node)
            if isinstance(error, KeyboardInterrupt):
                raise
            return outcome  # also of SystemExit, or the CancelledError of asyncio: a worker goes on
    return _conflicting(connection, oid, last, node)


def _one_after_the_other(connection: Any, oids: Sequence[bytes], node: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    with Turns(connection.db(), oids) as turns:
        connection.transaction_manager.begin()
        connection.prefetch(oids)  # in one go instead of one question after the other
        while turns:
            try:
                outcomes += _sharing(connection, turns, node)
                turns.settle()
            except BaseException as error:  # noqa: BLE001  # whose fault it is shows one by one
                log.info("activities are run one by one: %r", error)
                turns.again()
                outcomes += [_alone(connection, oid, node) for oid in turns]
    return [*outcomes, *(Outcome("", oid, "back", asked=oid in turns.asked) for oid in turns.lost)]


def _sharing(connection: Any, turns: Turns, node: str) -> list[Outcome]:
    """The next ones of one user, each for itself, in one commit."""
    outcomes: list[Outcome] = []
    user: Any = None
    with _transaction(connection.transaction_manager) as running:
        for oid in turns:
            message = _pending(connection, oid)
            if isinstance(message, Outcome):
                outcomes.append(message)
                continue
            if user is not None and message.user != user:
                turns.put_back()
                break
            if user is None:
                running.note(f"activities {message.method_id}")
            user = message.user
            outcomes.append(_perform(message, running, node))
    for outcome in outcomes:
        outcome.shared = True
    return outcomes


def _together(connection: Any, oids: Sequence[bytes], group: str, node: str) -> list[Outcome]:
    """Those of each user in one commit: nobody's call runs on behalf of another one."""
    connection.transaction_manager.begin()
    connection.prefetch(oids)  # in one go instead of one question after the other
    users: dict[str, list[bytes]] = {}
    for oid in oids:
        found = _pending(connection, oid)
        users.setdefault(found.user if isinstance(found, Message) else "", []).append(oid)
    return [outcome for some in users.values() for outcome in _of_one_user(connection, some, group, node)]


def _of_one_user(connection: Any, oids: Sequence[bytes], group: str, node: str) -> list[Outcome]:
    with _transaction(connection.transaction_manager) as running:
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
                _perform(message, running, node)
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


def _perform(message: Message, running: Any, node: str) -> Outcome:
    """Run it and note its end, in the running transaction."""
    began = time.perf_counter()
    with _as_creator(message, running):
        group = message.options.group_method_id
        if group:  # alone, but its group's operation is what knows how it is done
            message.helper(group)([message])
        result = None if group else message.run()
        seconds = math.inf if getattr(message, "_v_has_key", False) else time.perf_counter() - began
        _finish(message, result, node)
    return Outcome(message.uid, message._p_oid, "ended", seconds=seconds)


def _finish(message: Message, result: Any, node: str) -> None:
    message.end(result, node)
    if message.process is not None and result is not None:
        message.process.post(result, source=message.uid)


@contextlib.contextmanager
def _transaction(manager: Any) -> Iterator[Any]:
    """A transaction that only this block commits, at its end."""
    manager.abort()
    running = manager.begin()
    guard = _Guard(manager)
    manager.registerSynch(guard)
    guard.hold(running)
    try:
        yield running
        if manager.get() is not running:
            raise ActivityError(_BEGAN)
        guard.is_held = False
        manager.commit()
    except BaseException:
        guard.is_held = False
        manager.abort()
        raise
    finally:
        manager.unregisterSynch(guard)


_BEGAN = "an activity aborted its transaction or began another one: leave that to the worker"


class _Guard:
    """Refuses that a thread commits, its running transaction or another one that it begins."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.is_held = False

    def hold(self, running: Any) -> None:
        self.is_held = True
        running.addBeforeCommitHook(self._refuse)

    def newTransaction(self, begun: Any) -> None:  # the name that transaction managers call
        if self.is_held:
            raise ActivityError(_BEGAN)

    def beforeCompletion(self, ending: Any) -> None:  # as above
        """Nothing; it must be there."""

    def afterCompletion(self, ended: Any) -> None:  # as above
        """After an abort the next change makes a transaction, and tells nobody."""
        if self.is_held:
            self._manager.get().addBeforeCommitHook(self._refuse)

    def _refuse(self) -> None:
        if self.is_held:
            raise ActivityError(
                "an activity does not commit: what it stores is committed together with its end, when the function "
                "returns; leave another activity for what must come later"
            )


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
