"""Activities that have not ended, and failed ones: look at them, help them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, TypeAdapter
from ZODB.POSException import POSKeyError

from wendelin.extensions.server import paging
from wendelin.extensions.server.endpoint import Call, Later, Query, Reply, Resource
from wendelin.extensions.server.problems import ProblemError
from wendelin.extensions.server.versions import version_of
from wendelin.storage.activities.message import FAILED, PENDING, Message
from wendelin.storage.activities.queue import ActivityQueue, entries, queue_of

State = Literal["pending", "failed", "done", "cancelled", "skipped", "merged", "missing"]
_STATES: TypeAdapter[State] = TypeAdapter(State)


class ActivitiesQuery(paging.PageQuery):
    """Which activities."""

    state: Literal["pending", "failed"] | None = Field(default=None, description="Only those in this state")


class WatchQuery(Query):
    """Which activities are watched."""

    uid: str = Field(default="", max_length=100, description="One activity, with which the stream ends; empty: all")


class ActivityInfo(Resource):
    """One activity."""

    uid: str
    state: State
    what: str = Field(description="The object, as its number in the database, and the method")
    tag: str
    tries: int = Field(description="Repetitions after errors so far")
    user: str = Field(description="On whose behalf it runs")
    created: datetime
    not_before: datetime | None = Field(default=None, description="It waits until then")
    error: str = Field(default="", description="The last traceback")


class Activities(Resource):
    """A page of activities that have not ended, and failed ones."""

    items: list[ActivityInfo]


def list_activities(call: Call) -> Reply:
    """A page of activities, by uid."""
    queue = queue_of(call.connection)
    behind, state = paging.after(call.query), call.query.state
    found = (message for message in _open(queue, behind) if state in (None, message.state))
    messages, following = paging.page(call, "/activities", found, lambda message: message.uid)
    infos = [activity_info(call, message) for message in messages]
    links = paging.links(call, "/activities", following) | call.links.to("watchActivities")
    return Reply(Activities(items=infos, links=links), next_page=following)


def get_activity(call: Call) -> Reply:
    """One activity."""
    message = _found(call)[1]
    version = call.check(version_of(message))
    return Reply(activity_info(call, message), version=version)


def helping(action: str) -> Callable[[Call], Later]:
    """The function that lets a person retry, cancel or skip an activity."""

    def act(call: Call) -> Later:
        queue, message = _found(call)
        call.check(version_of(message))
        if action == "skip" and message.state != FAILED:
            raise ProblemError("conflict", f"activity {message.uid} is {message.state}: only failed ones are skipped")
        getattr(queue, action)(message)
        oid = message._p_oid

        def later(after: Call) -> Reply:
            again = after.connection.get(oid)
            return Reply(activity_info(after, again), version=version_of(again))

        return later

    return act


def activity_info(call: Call, message: Message) -> ActivityInfo:
    """What is shown of an activity."""
    links = call.links.all("getActivity", "retryActivity", "cancelActivity", uid=message.uid)
    if message.state == FAILED:
        links |= call.links.to("skipActivity", uid=message.uid)
    return ActivityInfo(
        uid=message.uid,
        state=_STATES.validate_python(message.state),
        what=f"{message.path}.{message.method_id}" if message.path else message.method_id,
        tag=message.options.tag,
        tries=message.tries,
        user=message.user,
        created=_time(message.created),
        not_before=_time(message.not_before) if message.not_before else None,
        error=message.error,
        links={"self": links.pop("activity"), **links},
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _found(call: Call) -> tuple[ActivityQueue, Message]:
    queue = queue_of(call.connection)
    message = None if queue is None else open_message(queue, call.path["uid"])
    if queue is None or message is None:
        raise ProblemError(
            "not-found", f"no activity {call.path['uid']!r} waits or has failed: those that ended are gone"
        )
    return queue, message


def open_message(queue: ActivityQueue, uid: str) -> Message | None:
    """The activity of that uid that waits or has failed."""
    known = queue.board.get(uid)
    if known is None:
        known = next((message for found, message in _inboxes(queue, "") if found == uid), None)
    return known if known is not None and _is_open(known) else None


def _open(queue: ActivityQueue | None, behind: str) -> Iterator[Message]:
    """Activities that have not ended, by uid, behind one."""
    if queue is None:
        return
    board = ((uid, message) for uid, message in queue.board.items(min=behind) if uid != behind)
    last = ""
    for uid, message in heapq.merge(board, sorted(_inboxes(queue, behind), key=_uid), key=_uid):
        if uid != last and _is_open(message):
            yield message
        last = uid


def _inboxes(queue: ActivityQueue, behind: str) -> Iterator[tuple[str, Message]]:
    for inbox in queue.inboxes:
        for uid, message, _ in entries(inbox):
            if uid > behind:
                yield uid, message


def _uid(item: tuple[str, Any]) -> str:
    return item[0]


def _is_open(message: Message) -> bool:
    try:
        return message.state in (PENDING, FAILED)
    except POSKeyError:  # it ended, and was packed away
        return False
