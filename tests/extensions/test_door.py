"""The door as a program sees it: names, roles, resources, conditions, errors."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.extensions.conftest import ROOT, Door, environment
from tests.extensions.people import ROLES
from wendelin.extensions.server.reference import page
from wendelin.extensions.server.roles import MATRIX, Role
from wendelin.extensions.server.routes import ENDPOINTS

pytestmark = pytest.mark.slow
POWER = "/arrays/plants%2F4%2Fpower"


def path_of(endpoint: Any) -> str:
    return re.sub(r"\{(\w+)\}", "x", endpoint.path)


def problem(answer: Any, status: int, kind: str) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert (found["status"], found["type"].rpartition("/")[2]) == (status, kind)
    return found


def test_every_operation_has_a_row_in_the_matrix_and_no_row_is_left():
    assert {endpoint.name for endpoint in ENDPOINTS} == set(MATRIX)


def test_the_reference_shows_the_table():
    assert (ROOT / "docs/reference/rest.md").read_text() == page()


def test_no_verb_answers_the_anonymous(door: Door):
    for path in {path_of(endpoint) for endpoint in ENDPOINTS} | {"/nothing"}:
        for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for who in (None, "stranger"):
                answer = door.call(who, verb, path)
                assert answer.status_code == 401, (verb, path)
                assert verb == "HEAD" or answer.json()["type"].endswith("not-signed-in")


@pytest.mark.parametrize("role", [*Role, None])
def test_each_role_may_what_the_matrix_says(door: Door, role: Role | None):
    for endpoint in ENDPOINTS:
        if endpoint.name == "watchActivities":
            continue  # a stream: see its own test
        answer = door.call(ROLES[role] if role else "nobody", endpoint.method, path_of(endpoint))
        refused = answer.status_code == 403 and answer.json()["type"].endswith("/not-allowed")
        assert refused == (role not in MATRIX[endpoint.name]), (endpoint.name, answer.text)


def test_all_resources_are_found_from_the_root(door: Door):
    links = door.admin("GET", "/").json()["_links"]
    for name in ("entities", "types", "arrays", "activities", "document", "problems"):
        assert door.admin("GET", links[name]["href"].removeprefix("/wendelin/api/v1")).status_code == 200


def test_slices_come_in_four_formats(door: Door):
    expected = np.arange(80, dtype="f4").reshape(10, 8)[2:4, ::3]
    ask = f"{POWER}/data?slice=2:4, ::3"
    assert door.admin("GET", ask).json() == {"shape": [2, 3], "dtype": "<f4", "values": expected.tolist()}
    npy = door.admin("GET", ask, headers={"Accept": "application/x-npy"})
    assert np.array_equal(np.load(io.BytesIO(npy.content)), expected)
    pa = pytest.importorskip("pyarrow")
    arrow = door.admin("GET", ask, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert [column.to_pylist() for column in table.columns] == expected.T.tolist()
    text = door.admin("GET", ask, headers={"Accept": "text/csv"}).text
    assert text.splitlines() == ["0,1,2", "16.0,19.0,22.0", "24.0,27.0,30.0"]
    problem(door.admin("GET", ask, headers={"Accept": "image/png"}), 406, "not-acceptable")
    problem(door.admin("GET", "/arrays/cube/data", headers={"Accept": "text/csv"}), 406, "not-acceptable")
    problem(door.admin("GET", f"{POWER}/data?slice=99"), 422, "invalid")


def test_rows_are_appended_as_json_and_npy_under_conditions(door: Door):
    before = door.admin("GET", POWER)
    rows = before.json()["shape"][0]
    answer = door.admin("POST", f"{POWER}/rows", json={"values": [[1, 2, 3, 4, 5, 6, 7, None]]})
    assert (answer.json()["appended"], answer.json()["shape"]) == (1, [rows + 1, 8])
    stale = {"If-Match": before.headers["ETag"], "Content-Type": "application/x-npy"}
    stream = io.BytesIO()
    np.save(stream, np.ones((2, 8), "f4"))
    problem(door.admin("POST", f"{POWER}/rows", data=stream.getvalue(), headers=stale), 412, "changed")
    fresh = {**stale, "If-Match": answer.headers["ETag"]}
    assert door.admin("POST", f"{POWER}/rows", data=stream.getvalue(), headers=fresh).json()["shape"] == [rows + 3, 8]
    lies = stream.getvalue().replace(b"(2, 8)", b"(9, 8)")
    problem(
        door.admin("POST", f"{POWER}/rows", data=lies, headers={"Content-Type": "application/x-npy"}), 400, "malformed"
    )
    problem(door.admin("POST", f"{POWER}/rows", json={"values": [[1, 2]]}), 422, "invalid")


def test_an_entity_lives(door: Door):
    made = door.admin("POST", "/entities", json={"type": "plant", "title": "Roof 4", "peak_power": "12.3 kW"})
    assert made.status_code == 201
    place = made.headers["Location"].removeprefix("/wendelin/api/v1")
    shown = door.admin("GET", place)
    assert shown.headers["ETag"] == made.headers["ETag"]
    known = {"If-None-Match": shown.headers["ETag"]}
    again = door.admin("GET", place, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    changed = door.admin("PATCH", place, json={"title": "Roof four"}, headers={"If-Match": shown.headers["ETag"]})
    assert (changed.json()["title"], changed.json()["peak_power"]) == ("Roof four", shown.json()["peak_power"])
    problem(
        door.admin("PATCH", place, json={"title": "x"}, headers={"If-Match": shown.headers["ETag"]}), 412, "changed"
    )
    problem(door.admin("PATCH", place, json={"peak_power": "3 V"}), 422, "invalid")
    problem(door.call("ada", "POST", f"{place}/transitions", json={"name": "archive"}), 403, "not-allowed")
    done = door.call("ada", "POST", f"{place}/transitions", json={"name": "validate", "why": "ready"})
    assert done.json()["state"] == "validated"
    problem(door.admin("POST", f"{place}/transitions", json={"name": "validate"}), 409, "conflict")
    last = door.admin("GET", f"{place}/trail").json()["items"][-1]
    assert (last["who"], last["why"], last["to_state"]) == ("ada", "ready", "validated")
    sensor = door.admin("POST", "/entities", json={"type": "sensor", "asset": shown.json()["uid"]}).json()
    problem(door.admin("DELETE", place), 409, "conflict")
    assert door.admin("DELETE", f"/entities/{sensor['uid']}").status_code == 204
    assert door.admin("DELETE", place).status_code == 204
    problem(door.admin("GET", place), 404, "not-found")


def test_the_page_about_it_works_as_it_is_typed(door: Door):
    text = (ROOT / "docs/how-to/rest.md").read_text()
    script = "".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    variables = {"WENDELIN_REST": door.url, "WENDELIN_TOKEN": ROLES["admin"], "NO_PROXY": "*"}
    command = [sys.executable, "-W", "error", "-c", script]
    variables = {**environment(door.home), **variables}
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "Roof 4 → Roof four" in told.stdout
    assert "2 rows more" in told.stdout


def test_earlier_states_are_shown(door: Door):
    made = door.admin("POST", "/entities", json={"type": "project", "title": "Before"})
    place, tid = made.headers["Location"].removeprefix("/wendelin/api/v1"), made.headers["ETag"][1:17]
    power = door.admin("GET", POWER)
    door.admin("PATCH", place, json={"title": "Now"})
    door.admin("POST", f"{POWER}/rows", json={"values": [[1] * 8]})
    past = door.admin("GET", f"{place}?at={tid}")
    assert (past.json()["title"], past.headers["ETag"][1:17]) == ("Before", tid)
    assert past.json()["_links"].keys() >= {"self", "trail"}
    assert not past.json()["_links"].keys() & {"update", "delete", "do"}
    assert past.json()["_links"]["self"]["href"].endswith(f"?at={tid}")
    assert door.admin("GET", f"{POWER}?at={tid}").json()["shape"] == power.json()["shape"]
    rows = door.admin("GET", f"{POWER}/data?slice=-1:&at={tid}").json()["values"]
    assert rows == door.admin("GET", f"{POWER}/data?slice=-2:-1").json()["values"]
    assert [item["title"] for item in door.admin("GET", f"/entities?text=before&at={tid}").json()["items"]] == [
        "Before"
    ]
    assert door.admin("GET", "/entities?text=before").json()["total"] == 0
    changed = door.admin("GET", f"{place}").json()["modified"]
    assert changed.endswith("Z")
    later = door.admin("GET", place, params={"at": changed.replace("Z", "+00:00")})  # as transactions' times are
    assert later.status_code == 200
    blank = door.admin("GET", f"{place}?at={changed.replace('Z', '+00:00')}")
    assert blank.json() == later.json() | {"_links": blank.json()["_links"]}
    problem(door.admin("GET", f"{place}?at=2001-01-01T00:00Z"), 404, "no-such-state")
    problem(door.admin("GET", f"{place}?at=no-such-tag"), 422, "invalid")
    assert "zone" in problem(door.admin("GET", f"{place}?at=2026-01-01T12:00"), 422, "invalid")["detail"]
    assert door.admin("DELETE", place).status_code == 204
    assert door.admin("GET", f"{place}?at={tid}").json()["title"] == "Before"


def test_entities_are_sorted_and_counted(door: Door):
    for title in ("Zeta", "Alpha", "Mitte"):
        made = {"type": "organisation", "title": title, "reference": f"SORT-{title}"}
        assert door.admin("POST", "/entities", json=made).status_code == 201
    asked = "/entities?type=organisation&reference=sort-*&limit=2&sort=-title"
    first = door.admin("GET", asked).json()
    second = door.admin("GET", first["_links"]["next"]["href"].removeprefix("/wendelin/api/v1")).json()
    assert [item["title"] for page in (first, second) for item in page["items"]] == ["Zeta", "Mitte", "Alpha"]
    assert first["total"] == second["total"] == 3
    assert "next" not in second["_links"]
    assert problem(door.admin("GET", "/entities?cursor=abc"), 422, "invalid")["errors"][0]["where"] == "cursor"
    problem(door.admin("GET", "/entities?sort=rank"), 422, "invalid")
    problem(door.admin("GET", "/entities?sort=colour"), 422, "invalid")


def test_lists_have_pages(door: Door):
    for number in range(3):
        assert door.admin("POST", "/entities", json={"type": "project", "title": f"page {number}"}).status_code == 201
    found, path = [], "/entities?type=project&text=page&limit=2"
    while path:
        answer = door.admin("GET", path)
        found += [item["uid"] for item in answer.json()["items"]]
        link = answer.headers.get("Link", "")
        path = link[1:].partition(">")[0].removeprefix("/wendelin/api/v1")
    assert len(found) == len(set(found)) == 3
    arrays, path = [], "/arrays?limit=1"
    while path:
        page = door.admin("GET", path).json()
        arrays += [item["path"] for item in page["items"]]
        path = page["_links"].get("next", {"href": ""})["href"].removeprefix("/wendelin/api/v1")
    assert arrays == ["cube", "plants/4/power", "plants/4/time", "plants/5/state"]


def test_activities_are_helped(door: Door):
    items = door.admin("GET", "/activities").json()["items"]
    assert sorted(item["tag"] for item in items) == ["one", "two"]
    uid = items[0]["uid"]
    problem(door.call("mara", "POST", f"/activities/{uid}/cancel"), 403, "not-allowed")
    problem(door.call("olaf", "POST", f"/activities/{uid}/skip"), 409, "conflict")
    assert door.call("olaf", "POST", f"/activities/{uid}/cancel").json()["state"] == "cancelled"
    assert len(door.admin("GET", "/activities").json()["items"]) == 1


def test_what_is_wrong_is_a_problem(door: Door):
    problem(door.admin("GET", "/nothing"), 404, "not-found")
    assert problem(door.admin("PUT", "/entities"), 405, "method-not-allowed")
    assert door.admin("PUT", "/entities").headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    problem(
        door.admin("POST", "/entities", data="x", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type"
    )
    problem(door.admin("POST", "/entities", data="{", headers={"Content-Type": "application/json"}), 400, "malformed")
    problem(door.admin("GET", "/activities?at=2026"), 422, "invalid")
    problem(door.admin("POST", "/entities?at=2026", json={"type": "project"}), 422, "invalid")
    assert "did you mean limit" in problem(door.admin("GET", "/entities?limti=1"), 422, "invalid")["detail"]


def test_large_answers_are_compressed(door: Door):
    plain = door.admin("GET", "/types", headers={"Accept-Encoding": "identity"})
    packed = door.admin("GET", "/types", headers={"Accept-Encoding": "gzip"}, stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.raw.read(decode_content=False)) == plain.content


def test_events_tell_how_activities_go(door: Door):
    with door.admin("GET", "/activities/events", stream=True) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        lines = answer.iter_lines(decode_unicode=True)
        event = next(line for line in lines if line.startswith("event:"))
        assert event == "event: picture"
        assert '"counts"' in next(line for line in lines if line.startswith("data:"))
