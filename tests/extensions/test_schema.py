"""schemathesis tries the whole document on a real server: no error of the server, and nothing that the document denies.

Left out: the stream of events, which does not end. Not checked: that all data that fit the schemas are taken, since
units, states and references are rules that JSON schema cannot say; and that others are refused, since fields take
numbers and texts alike ("12.3 kW", 12.3).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import hypothesis
import hypothesis.strategies
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi

from tests.extensions.conftest import ROOT, Door, environment
from wendelin.extensions.server.endpoint import Endpoint
from wendelin.extensions.server.routes import ENDPOINTS

pytestmark = pytest.mark.slow

MORE = """
import transaction, wendelin
conn = wendelin.connect()
conn.root()["power"] = wendelin.ZBigArray((3,), "f8")
carrier = wendelin.entities(conn).create("sensor", "CARRIER", unit="kW")
carrier.array = wendelin.ZBigArray((2,), "f4")
for _ in range(600):  # one is cancelled by each example
    wendelin.activate(len, delay=10000)("later")
transaction.commit()
"""
CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.unsupported_method,
    openapi.ignored_auth,
]


#: What an operation takes for sure: the body, and what stands in its path unless it is an entity or an activity.
GOOD: dict[str, Any] = {
    "createEntity": {"type": "sensor", "asset": "PLANT", "unit": "kW", "title": "Meter"},
    "updateEntity": {"title": "Roof four"},
    "doTransition": {"name": "validate", "why": "it was tried"},
    "appendRows": {"values": [1, None]},
    "appendEntityRows": {"values": [0.5, None]},
}
NAMES = {"path": "power", "name": "array", "type": "plant", "kind": "invalid"}
UNREACHED = {"retryActivity", "skipActivity"}  # for failed ones: tests/extensions/test_work.py
HEADERS = {"Authorization": "Bearer root"}


class Known:
    """Names of what is there, made anew where operations take it away."""

    def __init__(self, door: Door) -> None:
        self.door = door
        subprocess.run([sys.executable, "-c", MORE], env=environment(door.home), check=True, cwd=ROOT)
        self.plant = self._made("plant", "PLANT")

    def names(self, operation: str) -> dict[str, str]:
        found: dict[str, Callable[[], str]] = {"entity": partial(self._entity, operation), "uid": self._activity}
        wanted = endpoint_of(operation).names
        return {name: found[name]() if name in found else NAMES[name] for name in wanted}

    def _entity(self, operation: str) -> str:
        return self._made("project") if operation in ("deleteEntity", "doTransition") else "CARRIER"

    def _activity(self) -> str:
        return str(self.door.admin("GET", "/activities").json()["items"][0]["uid"])

    def _made(self, kind: str, reference: str | None = None) -> str:
        made = self.door.admin("POST", "/entities", json={"type": kind, "reference": reference})
        assert made.status_code == 201, made.text
        return str(made.json()["uid"])


@pytest.fixture(scope="module")
def known(door: Door) -> Known:
    return Known(door)


@pytest.fixture(scope="module")
def document(door: Door, known: Known) -> Any:
    return schemathesis.openapi.from_url(f"{door.url}/openapi.json", headers=HEADERS)


def tried(document: Any, known: Known, operation: str, examples: int, *, random: bool = False) -> None:
    """Requests that the document allows, and some that it forbids, from its schemas; and a good one."""
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    described = document.find_operation_by_id(operation)
    strategy = hypothesis.strategies.one_of(*(described.as_strategy(generation_mode=mode) for mode in modes))

    @hypothesis.settings(
        max_examples=examples,
        derandomize=not random,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=strategy, named=hypothesis.strategies.booleans(), present=hypothesis.strategies.booleans())
    def one(case: Any, named: bool, present: bool) -> None:
        if named:  # what is there, instead of a name that is most likely of nothing
            case.path_parameters = known.names(operation)
        if present:
            case.query.pop("at", None)
        case.call_and_validate(headers=HEADERS, checks=CHECKS)

    one()
    good = {"body": GOOD[operation], "media_type": "application/json"} if operation in GOOD else {}
    case = described.Case(path_parameters=known.names(operation), **good)
    answer = case.call_and_validate(headers=HEADERS, checks=CHECKS)
    assert answer.status_code in (200, 201, 204) or operation in UNREACHED, answer.text


def endpoint_of(operation: str) -> Endpoint:
    return next(endpoint for endpoint in ENDPOINTS if endpoint.name == operation)


OPERATIONS = [endpoint.name for endpoint in ENDPOINTS if endpoint.name != "watchActivities"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_does_what_its_document_says(document: Any, known: Known, operation: str):
    tried(document, known, operation, 20)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_does_so_in_many_examples(document: Any, known: Known, operation: str):
    tried(document, known, operation, 500, random=True)
