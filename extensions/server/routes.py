"""The routing table: handlers, checks, the OpenAPI document and the reference are made from it."""

from __future__ import annotations

from functools import cache

from wendelin.extensions.server.endpoint import Content, Endpoint, PastQuery
from wendelin.extensions.server.services import activities, arrays, entities, events, history, root, rows, slices

_PATCH = "application/merge-patch+json"
_ENTITY_PROBLEMS = ("not-found", "changed")
_ARRAY = "An array is named by its path with slashes as %2F, as `plants%2F4%2Fpower`."
_MERGE = (
    "Rows that several append at the same time are all kept, each request's in one piece, in the order of commits. "
    "With If-Match nothing is appended when the array has changed: so a request that was sent twice is appended once."
)


def _json(schema: object) -> tuple[Content, ...]:
    return (Content(schema=schema),)


_DATA = (
    Content(schema=arrays.Data),
    Content(slices.NPY, {"type": "string", "format": "binary"}, ";npy"),
    Content(slices.ARROW, {"type": "string", "format": "binary"}, ";arrow"),
    Content(slices.CSV, {"type": "string"}, ";csv"),
)
_ROWS = (Content(schema=rows.Rows), Content(slices.NPY, {"type": "string", "format": "binary"}))


def _array_endpoints(path: str, get: str, data: str, append: str, versions: str, details: str) -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            "GET", path, get, arrays.get_array, "What an array is", "array", _json(arrays.ArrayInfo), query=PastQuery,
            problems=("not-found", "changed"), details=details, group="arrays",
        ),
        Endpoint(
            "GET", f"{path}/data", data, arrays.get_data, "A slice of an array", "data", _DATA, query=arrays.DataQuery,
            problems=("not-found", "changed", "slice-too-large"), group="arrays",
            details="JSON, npy, an Arrow stream or CSV, as Accept asks. Arrow and CSV have two axes at most.",
        ),
        Endpoint(
            "POST", f"{path}/rows", append, arrays.append_rows, "Append rows to an array", "append",
            _json(arrays.Appended), takes=_ROWS, problems=("not-found", "changed"), group="arrays", details=_MERGE,
        ),
        Endpoint(
            "GET", f"{path}/versions", versions, history.list_versions, "Transactions that changed an array",
            "versions", _json(history.Versions), query=history.VersionsQuery, problems=("not-found", "changed"),
            group="arrays",
        ),
    )  # fmt: skip


def _helping(action: str, summary: str) -> Endpoint:
    return Endpoint(
        "POST", f"/activities/{{uid}}/{action}", f"{action}Activity", activities.helping(action), summary, action,
        _json(activities.ActivityInfo), problems=("not-found", "conflict", "changed"), group="activities",
    )  # fmt: skip


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET", "/", "getRoot", root.get_root, "Where everything is found from", "root", _json(root.Root), group="door"
    ),
    Endpoint(
        "GET", "/openapi.json", "getDocument", root.get_document, "This document", "document", _json(root.Document),
        group="door",
    ),
    Endpoint(
        "GET", "/problems", "listProblems", root.list_problems, "All kinds of problems", "problems",
        _json(root.ProblemKinds), group="door",
    ),
    Endpoint(
        "GET", "/problems/{kind}", "getProblem", root.get_problem, "A kind of problem", "problem",
        _json(root.ProblemKind), problems=("not-found",), group="door",
    ),
    Endpoint(
        "GET", "/transactions", "listTransactions", history.list_transactions, "The last transactions",
        "transactions", _json(history.Transactions), query=history.TransactionsQuery, problems=("no-such-state",),
        group="door",
    ),
    Endpoint(
        "GET", "/types", "listTypes", entities.list_types, "All types of entities", "types", _json(entities.Types),
        group="entities",
    ),
    Endpoint(
        "GET", "/types/{type}", "getType", entities.get_type, "A type, with the JSON schema of what it takes", "type",
        _json(entities.TypeDetail), problems=("not-found",), group="entities",
    ),
    Endpoint(
        "GET", "/entities", "listEntities", entities.list_entities, "Search entities", "entities",
        _json(entities.Page), query=entities.EntitiesQuery, group="entities",
    ),
    Endpoint(
        "POST", "/entities", "createEntity", entities.create_entity, "Create an entity", "create",
        _json(entities.Shown), status=201, takes=_json(entities.Wanted), problems=("conflict",), group="entities",
    ),
    Endpoint(
        "GET", "/entities/{entity}", "getEntity", entities.get_entity, "An entity", "entity", _json(entities.Shown),
        query=PastQuery, problems=_ENTITY_PROBLEMS, group="entities",
    ),
    Endpoint(
        "PATCH", "/entities/{entity}", "updateEntity", entities.update_entity, "Set fields and relations", "update",
        _json(entities.Shown), takes=(Content(_PATCH, entities.Changes), Content(schema=entities.Changes)),
        problems=_ENTITY_PROBLEMS, group="entities",
    ),
    Endpoint(
        "DELETE", "/entities/{entity}", "deleteEntity", entities.delete_entity, "Delete an entity", "delete",
        _json(None), status=204, problems=("conflict", *_ENTITY_PROBLEMS), group="entities",
        details="Refused while others point to it, unless their rule is to let go or to be deleted as well.",
    ),
    Endpoint(
        "GET", "/entities/{entity}/transitions", "listTransitions", entities.list_transitions,
        "What can become of an entity", "transitions", _json(entities.Transitions), query=PastQuery,
        problems=_ENTITY_PROBLEMS, group="entities",
    ),
    Endpoint(
        "POST", "/entities/{entity}/transitions", "doTransition", entities.do_transition, "Take a transition", "do",
        _json(entities.Shown), takes=_json(entities.Step), problems=("conflict", *_ENTITY_PROBLEMS), group="entities",
        details="Each transition has roles of its own, which the list of transitions shows.",
    ),
    Endpoint(
        "GET", "/entities/{entity}/trail", "getTrail", entities.get_trail, "What happened to an entity", "trail",
        _json(entities.Trail), query=PastQuery, problems=_ENTITY_PROBLEMS, group="entities",
    ),
    Endpoint(
        "GET", "/arrays", "listArrays", arrays.list_arrays, "Arrays at paths", "arrays", _json(arrays.Arrays),
        query=arrays.ArraysQuery, problems=("not-found",), group="arrays",
    ),
    *_array_endpoints("/arrays/{path}", "getArray", "getArrayData", "appendRows", "listVersions", _ARRAY),
    *_array_endpoints(
        "/entities/{entity}/arrays/{name}", "getEntityArray", "getEntityArrayData", "appendEntityRows",
        "listEntityArrayVersions",
        "An array that an entity carries.",
    ),
    Endpoint(
        "GET", "/activities", "listActivities", activities.list_activities, "Activities that wait, run or have failed",
        "activities", _json(activities.Activities), query=activities.ActivitiesQuery, group="activities",
    ),
    Endpoint(
        "GET", "/activities/events", "watchActivities", None, "How activities go, as server-sent events", "events",
        (Content("text/event-stream", {"type": "string"}),), query=activities.WatchQuery, problems=("not-found",),
        group="activities", details=events.DETAILS,
    ),
    Endpoint(
        "GET", "/activities/{uid}", "getActivity", activities.get_activity, "An activity", "activity",
        _json(activities.ActivityInfo), problems=("not-found", "changed"), group="activities",
    ),
    _helping("retry", "Run an activity again, now"),
    _helping("cancel", "Let an activity never run; those that wait for it go on"),
    _helping("skip", "Go on as if a failed activity had done its work"),
)  # fmt: skip


@cache
def _names() -> dict[str, Endpoint]:
    return {endpoint.name: endpoint for endpoint in ENDPOINTS}


def by_name(operation: str) -> Endpoint:
    """The endpoint of an operation."""
    return _names()[operation]
