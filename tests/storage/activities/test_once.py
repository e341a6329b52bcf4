"""What might make effects happen twice, for somebody else, or never."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import numpy as np
import pytest
import transaction
from click.testing import CliRunner

import wendelin
from tests.storage.activities.conftest import Worker
from wendelin import ZBigArray
from wendelin.storage.activities import command
from wendelin.storage.activities import handle as handles
from wendelin.storage.activities.command import activity
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.activities.run import run
from wendelin.storage.activities.user import acting_as, current_user
from wendelin.storage.errors import OptionError


@pytest.fixture
def data(root: Any) -> ZBigArray:
    root["data"] = ZBigArray((0,), "i8")
    transaction.commit()
    return root["data"]


def numbers(data: ZBigArray) -> list[int]:
    transaction.begin()
    return data[:].tolist()


def stored(data: ZBigArray, *some: Any) -> list[bytes]:
    transaction.commit()
    return [each.oid for each in some]


@pytest.mark.parametrize("way", ["block", "attempts", "begin", "abort"])
def test_no_other_transaction_commits_within_an_activity(
    data: ZBigArray, worker: Worker, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    manager = worker.connection.transaction_manager

    def commit(self: Any) -> None:
        data = self.target()
        if way == "block":
            with manager:
                data.append([1])
        elif way == "attempts":
            for attempt in manager.attempts():
                with attempt:
                    data.append([1])
        else:
            getattr(manager, way)()
            data.append([1])
            manager.commit()

    some = stored(data, data.activate(max_retry=0).append([1]), data.activate(max_retry=0).append([1]))
    monkeypatch.setattr(Message, "run", commit)
    assert [it.kind for it in run(worker.connection, some)] == ["failed", "failed"]
    assert numbers(data) == []
    (first, _) = queue_of(data._p_jar)  # type: ignore[misc]
    assert "ActivityError: an activity " in first.error
    manager.begin()
    worker.connection.root()["data"].append([2])
    manager.commit()  # it is the worker's own again
    assert numbers(data) == [2]


class Name(enum.StrEnum):
    LOAD = "load"


class Rank(enum.IntEnum):
    FIRST = -3


def test_options_are_plain_values(data: ZBigArray) -> None:
    """A dispatcher that cannot import somebody's class could read nobody's messages."""
    data.activate(
        tag=Name.LOAD, after_tag=[Name.LOAD, np.str_("other")], after_tag_and_method_id=(Name.LOAD, "append"),
        after_path=Name.LOAD, priority=Rank.FIRST, max_retry=Rank.FIRST + 4, node=np.str_("here"), unique=np.True_,
    ).append([1])  # fmt: skip
    transaction.commit()
    (message,) = queue_of(data._p_jar)  # type: ignore[misc]
    found = message.settings
    assert (found["tag"], found["after_tag"], found["unique"]) == ("load", ("load", "other"), True)
    assert {type(value) for value in flat(list(found.values()))} == {str, int, bool}
    for name in ("unique", "conflict_retry"):
        with pytest.raises(OptionError, match="give True or False"):
            data.activate(**{name: []})


def flat(values: Any) -> Any:
    for value in values:
        yield from flat(value) if isinstance(value, (list, tuple)) else (value,)


@pytest.mark.parametrize("group", [None, ""])
def test_what_is_no_usual_error_is_its_own_all_the_same(data: ZBigArray, worker: Worker, group: str | None) -> None:
    """As asyncio's CancelledError, which would have been tried again with all others for ever."""

    @wendelin.operation
    def cancelled(data: ZBigArray, number: int) -> None:
        if number < 0:
            raise asyncio.CancelledError
        data.append([number])

    some = stored(data, *[data.activate(max_retry=0, group_method_id=group).cancelled(number) for number in (1, -1, 2)])
    assert [it.kind for it in run(worker.connection, some, group)] == ["ended", "failed", "ended"]
    assert numbers(data) == [1, 2]


def test_a_group_has_one_user(data: ZBigArray, worker: Worker, root: Any) -> None:
    @wendelin.operation
    def together(messages: list[Message]) -> None:
        log = messages[0]._p_jar.root()
        log["log"] = [*log["log"], (current_user(), sorted(message.user for message in messages))]

    @wendelin.operation
    def never(data: ZBigArray) -> None:
        raise AssertionError("its group's operation does it")

    root["log"] = []
    made = []
    for user in ("ann", "bob", "ann", "cid"):
        with acting_as(user):
            made.append(data.activate(group_method_id="together").never())
    some = stored(data, *made)
    assert {it.kind for it in run(worker.connection, some[:3], "together")} == {"ended"}
    assert [it.kind for it in run(worker.connection, some[3:], "together")] == ["ended"]
    transaction.begin()
    assert root["log"] == [("ann", ["ann", "ann"]), ("bob", ["bob"]), ("cid", ["cid"])]


def test_a_cancel_that_comes_too_late_says_so(
    data: ZBigArray, worker: Worker, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker commits between the look at the message and the commit of the cancel, which conflicts."""

    @wendelin.operation
    def append(data: ZBigArray) -> None:
        data.append([1])

    handle = data.activate().append([1])
    some = stored(data, handle)
    look = handles._cancelled

    def late(connection: Any, oid: bytes) -> bool:
        found = look(connection, oid)
        if found:
            assert [it.kind for it in run(worker.connection, some)] == ["ended"]
        return found

    monkeypatch.setattr(handles, "_cancelled", late)
    assert not handle.cancel()
    assert handle.state == "done"
    assert numbers(data) == [1]


def test_a_command_that_conflicts_with_the_end_of_an_activity_tells_what_is(
    data: ZBigArray, worker: Worker, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = data.activate().append([1])
    some = stored(data, handle)
    cancel = ActivityQueue.cancel

    def late(self: ActivityQueue, message: Message) -> None:
        cancel(self, message)
        run(worker.connection, some)

    monkeypatch.setattr(ActivityQueue, "cancel", late)
    done = CliRunner().invoke(activity, ["cancel", handle.uid, "--db", conn.url])
    assert (done.exit_code, handle.state) == (1, "done")
    assert "names no activity that has not ended" in done.output
    assert "will not run" not in done.output


def test_purge_deletes_all_however_many(data: ZBigArray, conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_PURGED", 2)  # in one transaction
    for number in range(5):
        data.activate().append([number])
    transaction.commit()
    done = CliRunner().invoke(activity, ["purge", "--yes", "--db", conn.url])
    assert done.output == "5 activities deleted\n"
    transaction.begin()
    assert not list(queue_of(conn) or ())
