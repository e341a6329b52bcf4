"""schemathesis tries the whole document on a real server: no error of the server, and nothing that the document denies.

Left out: the stream of events, which does not end. Not checked: that all data that fit the schemas are taken, since
units, states and references are rules that JSON schema cannot say; and that others are refused, since fields take
numbers and texts alike ("12.3 kW", 12.3).
"""

from __future__ import annotations

from typing import Any

import hypothesis
import hypothesis.strategies
import pytest
import schemathesis
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi

from tests.extensions.conftest import Door
from wendelin.extensions.server.routes import ENDPOINTS

pytestmark = pytest.mark.slow
KNOWN = {
    "path": ["plants/4/power", "plants/4/time", "plants/5/state", "cube"],
    "entity": ["PLANT-4", "METER-4", "PLANT-4", "METER-4"],
    "name": ["array", "array", "array", "none"],
    "type": ["plant", "sensor", "supply", "tariff"],
    "kind": ["invalid", "changed", "busy", "none"],
}
CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.unsupported_method,
    openapi.ignored_auth,
]


@pytest.fixture(scope="module")
def document(door: Door) -> Any:
    headers = {"Authorization": "Bearer root"}
    assert door.admin("POST", "/entities", json={"type": "plant", "reference": "PLANT-4"}).status_code == 201
    meter = {"type": "sensor", "reference": "METER-4", "asset": "PLANT-4"}
    assert door.admin("POST", "/entities", json=meter).status_code == 201
    return schemathesis.openapi.from_url(f"{door.url}/openapi.json", headers=headers)


def tried(document: Any, operation: str, examples: int) -> None:
    """Requests that the document allows, and some that it forbids, made from the operation's schemas."""
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    strategy = hypothesis.strategies.one_of(
        *(document.find_operation_by_id(operation).as_strategy(generation_mode=mode) for mode in modes)
    )

    @hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(
        case=strategy, known=hypothesis.strategies.booleans(), number=hypothesis.strategies.integers(0, 3)
    )
    def one(case: Any, known: bool, number: int) -> None:
        if known:  # what is there, instead of a name that is most likely of nothing
            case.path_parameters = {name: KNOWN.get(name, ["x"] * 4)[number] for name in case.path_parameters}
        case.call_and_validate(headers={"Authorization": "Bearer root"}, checks=CHECKS)

    one()


OPERATIONS = [endpoint.name for endpoint in ENDPOINTS if endpoint.name != "watchActivities"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_server_does_what_its_document_says(document: Any, operation: str):
    tried(document, operation, 20)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_it_does_so_in_many_examples(document: Any, operation: str):
    tried(document, operation, 500)
