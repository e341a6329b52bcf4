"""The door on a database server that is killed, with little room, and with many callers at once."""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.extensions.conftest import Door, opened
from tests.kernel.activity.dispatching import running
from tests.storage.activities.operations import process
from tests.storage.database.servers import ZeoServer, zeo_server
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.local import LocalEngine

pytestmark = pytest.mark.slow

POWER = "/arrays/plants%2F4%2Fpower"
BODY = 20_000


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Door, ZeoServer]]:
    with (
        tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder,
        zeo_server(Path(folder), tcp=True) as server,
        opened(f"{server.url}?wait_timeout=2", f"--WendelinServer.body_limit={BODY}") as door,
    ):
        yield door, server


def test_rows_that_many_append_at_once_are_all_there_each_request_in_one_piece(served: tuple[Door, ZeoServer]):
    door, _ = served
    before = door.admin("GET", POWER).json()["shape"][0]

    def append(number: int) -> int:
        answer = door.admin("POST", f"{POWER}/rows", json={"values": [[number] * 8] * 5})
        return int(answer.status_code)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(append, range(1, 41))) == {200}
    rows = door.admin("GET", f"{POWER}/data?slice={before}:").json()["values"]
    pieces = [(value, len(list(same))) for value, same in itertools.groupby(row[0] for row in rows)]
    assert sorted(pieces) == [(float(number), 5) for number in range(1, 41)]


def test_two_who_change_one_entity_at_once_are_both_heard(served: tuple[Door, ZeoServer]):
    door, _ = served
    made = door.admin("POST", "/entities", json={"type": "project", "title": "0"}).json()

    def change(number: int) -> tuple[int, str | None]:
        answer = door.admin("PATCH", f"/entities/{made['uid']}", json={"title": str(number)})
        return answer.status_code, answer.headers.get("Retry-After")

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(change, range(1, 25)))
    assert found <= {(200, None), (503, "1")}, "a conflict is tried again, then the caller is told to"
    assert (200, None) in found


def test_a_body_that_is_too_large_is_refused(served: tuple[Door, ZeoServer]):
    answer = served[0].admin("POST", "/entities", json={"type": "project", "description": "x" * BODY})
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (413, "too-large")
    assert f"{BODY:,}" in answer.json()["detail"]


def test_a_stream_of_events_ends_with_its_activity(served: tuple[Door, ZeoServer]):
    door, server = served
    manager = transaction.TransactionManager()
    connection = wendelin.connect(server.url, transaction_manager=manager)
    handle = connection.root()["cube"].activate(tag="watched").process(0, 0)
    manager.commit()
    with door.admin("GET", f"/activities/events?uid={handle.uid}", stream=True) as answer:
        events = told(answer)
        assert next(events)["state"] == "pending"
        with LocalEngine(1) as engine, running(Dispatcher(server.url, engine, node="here")):
            assert [event["state"] for event in events][-1] == "done"
    connection.close()
    assert process is not None


def told(answer: Any) -> Iterator[dict[str, Any]]:
    """What a stream's events tell, until it ends."""
    for line in answer.iter_lines():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def test_while_the_database_is_gone_the_door_says_so_and_opens_again(served: tuple[Door, ZeoServer]):
    """The last test of this module: it kills the server."""
    door, server = served
    server.kill()
    answer = door.admin("GET", "/entities")
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    server.start()
    end = time.monotonic() + 60
    while door.admin("GET", "/entities").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert door.admin("POST", "/entities", json={"type": "project"}).status_code == 201
    server.kill()
