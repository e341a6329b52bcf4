"""Where one begins: what there is, who one is, the document, and what kinds of problems mean."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

import wendelin
from wendelin.extensions.server.endpoint import Call, Link, Reply, Resource
from wendelin.extensions.server.problems import KINDS, ProblemError
from wendelin.extensions.server.roles import Role


class Root(Resource):
    """The door: everything is found from here."""

    title: str
    version: str = Field(description="Of Wendelin")
    user: str = Field(description="Who you are here")
    roles: list[Role] = Field(description="What you are here")


class ProblemKind(Resource):
    """A kind of problem."""

    kind: str
    status: int = Field(ge=400, le=599)
    title: str


class ProblemKinds(Resource):
    """All kinds of problems."""

    items: list[ProblemKind]


class Document(BaseModel):
    """An OpenAPI document."""

    openapi: str
    info: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
    paths: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


def get_root(call: Call) -> Reply:
    """Links to all there is."""
    operations = ["listEntities", "createEntity", "listTypes", "listArrays", "listActivities", "watchActivities"]
    operations += ["listTransactions"]
    links = {"self": Link(href=call.links.path("/")), **call.links.all(*operations, "getDocument", "listProblems")}
    found = Root(title="Wendelin", version=wendelin.__version__, user=call.user, roles=sorted(call.roles), links=links)
    return Reply(found)


def get_document(call: Call) -> Reply:
    """This API, as an OpenAPI 3.1 document."""
    from wendelin.extensions.server.openapi import document_bytes

    return Reply(document_bytes(call.links.base))


def list_problems(call: Call) -> Reply:
    """All kinds of problems."""
    kinds = [_kind(call, kind) for kind in KINDS]
    return Reply(ProblemKinds(items=kinds, links={"self": Link(href=call.links.path("/problems"))}))


def get_problem(call: Call) -> Reply:
    """What a kind of problem is; the type of a problem leads here."""
    if call.path["kind"] not in KINDS:
        raise ProblemError("not-found", f"there is no kind of problem {call.path['kind']!r}: {', '.join(KINDS)}")
    return Reply(_kind(call, call.path["kind"]))


def _kind(call: Call, kind: str) -> ProblemKind:
    status, title = KINDS[kind]
    links = call.links.all("getProblem", kind=kind)
    return ProblemKind(kind=kind, status=status, title=title, links={"self": links["problem"]})
