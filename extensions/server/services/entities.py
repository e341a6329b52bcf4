"""Entities: business objects, their states and trails. What a type takes stands in its JSON schema."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from wendelin.extensions.server import paging
from wendelin.extensions.server.endpoint import Body, Call, Later, Link, Reply, Resource
from wendelin.extensions.server.problems import FieldProblem, ProblemError
from wendelin.extensions.server.versions import version_of
from wendelin.storage.errors import NoEntityError, QueryError
from wendelin.storage.ubm.catalogue.query import SORTS
from wendelin.storage.ubm.entities import Entities, entities
from wendelin.storage.ubm.entity import Entity as Stored
from wendelin.storage.ubm.registry import type_named, types

#: Parameters that the catalogue knows by the same name.
_ASKED = ("type", "role", "state", "text", "reference", "sort")

#: Members of an entity that nobody sets.
READ_ONLY = ("uid", "type", "reference", "state", "created", "modified", "creator", "_links")


class EntitiesQuery(paging.PastPageQuery):
    """Which entities; all of what is given must hold."""

    type: str = Field(default="", max_length=100, description="Of this type", examples=["plant"])
    role: str = Field(default="", max_length=100, description="Of types with this role", examples=["item"])
    reference: str = Field(
        default="", max_length=200, description="Whose reference begins so, or fits a pattern", examples=["PLANT-*"]
    )
    state: str = Field(default="", max_length=100, description="In this state", examples=["validated"])
    text: str = Field(default="", max_length=500, description="With these words", examples=["inverter"])
    sort: str = Field(
        default="",
        description="The order; a minus turns it round. Empty: the best first if words are asked for, else references",
        pattern=f"^(-?({'|'.join(SORTS)}))?$",
        examples=["-modified"],
    )
    related: list[Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,50}=\S{1,100}$")]] = Field(
        [], max_length=10, description="With a relation that points to an entity", examples=[["asset=PLANT-4"]]
    )


class Shown(Resource):
    """An entity. Its fields and relations stand beside these, under their names; relations hold uids."""

    model_config = ConfigDict(extra="allow", serialize_by_alias=True)

    uid: str
    type: str = Field(examples=["plant"])
    reference: str = Field(description="What people call it", examples=["PLANT-4"])
    state: str = Field(examples=["draft"])
    created: datetime
    modified: datetime
    creator: str


class Page(Resource):
    """A page of entities."""

    items: list[Shown]
    total: int = Field(ge=0, description="How many there are in all")


class Wanted(BaseModel):
    """A new entity: its type, its fields and relations; see the schema of the type."""

    model_config = ConfigDict(extra="allow", strict=True)

    type: str = Field(description="Its type, for ever", examples=["plant"])
    reference: str | None = Field(default=None, min_length=1, max_length=100, description="For ever; made if left out")


class Changes(BaseModel):
    """Fields and relations to set (RFC 7396); null empties one. Others stay."""

    model_config = ConfigDict(extra="allow")


class Step(Body):
    """A transition that is to be taken."""

    name: str = Field(max_length=100, description="Its name", examples=["validate"])
    why: str = Field(default="", max_length=10_000, description="Why, for the trail")


class TransitionInfo(BaseModel):
    """A way from one state to another."""

    model_config = ConfigDict(serialize_by_alias=True)

    name: str
    sources: list[str] = Field(validation_alias="from", serialization_alias="from")
    target: str = Field(validation_alias="to", serialization_alias="to")
    roles: list[str] = Field(description="Who may take it")
    title: str


class Transitions(Resource):
    """What can become of an entity now."""

    state: str
    items: list[TransitionInfo]


class TrailEntry(BaseModel):
    """One thing that happened."""

    when: datetime
    who: str
    kind: Literal["created", "transition", "changed", "note", "file"] = Field(description="What happened")
    why: str = ""
    from_state: str = ""
    to_state: str = ""
    name: str = Field(default="", description="The file's, or the field's, relation's or array's that was changed")
    before: str = Field(default="", description="What it was; long values are cut, relations are references")
    after: str = Field(default="", description="What it is")


class Trail(Resource):
    """What happened to an entity, oldest first."""

    items: list[TrailEntry]


class TypeInfo(Resource):
    """A type of entities."""

    type: str
    description: str
    roles: list[str] = Field(description="What it is in the business model")
    workflow: str
    prefix: str = Field(description="Of references that are made")


class TypeDetail(TypeInfo):
    """A type of entities with what it takes."""

    states: list[str]
    transitions: list[TransitionInfo]
    arrays: list[str] = Field(description="Names of arrays that it carries")
    form: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})] = Field(
        description="JSON schema (2020-12) of its fields and relations"
    )


class Types(Resource):
    """All types of entities."""

    items: list[TypeInfo]


def list_types(call: Call) -> Reply:
    """All types, by name."""
    infos = [TypeInfo(**_about(cls), links=_type_links(call, name)) for name, cls in types().items()]
    return Reply(Types(items=infos, links={"self": Link(href=call.links.path("/types"))}))


def get_type(call: Call) -> Reply:
    """One type, with the schema of what it takes."""
    try:
        cls = type_named(call.path["type"])
    except NoEntityError as error:
        raise ProblemError("not-found", str(error.args[0])) from None
    detail = TypeDetail(
        **_about(cls),
        states=list(cls.workflow.states),
        transitions=[TransitionInfo.model_validate(each.to_json()) for each in cls.workflow.transitions],
        arrays=list(cls.carries),
        form=cls.schema(),
        links=_type_links(call, cls.type),
    )
    return Reply(detail)


def list_entities(call: Call) -> Reply:
    """A page of entities, by uid."""
    store, query = entities(call.connection), call.query
    asked = {name: value for name in _ASKED if (value := getattr(query, name))}
    if query.related:
        asked["relation"] = _relations(store, query.related)
    try:
        found = store.search(**asked, limit=min(query.limit, call.limits.page), after=query.cursor or None)
    except QueryError as error:
        raise _invalid("cursor" if str(error).startswith("after") else "query", str(error)) from None
    following = paging.following(call, "/entities", found.next) if found.next else ""
    page = Page(
        items=[_shown(call, entity) for entity in found],
        total=found.total,
        links=paging.links(call, "/entities", following),
    )
    return Reply(page, next_page=following)


def create_entity(call: Call) -> Later:
    """A new entity."""
    store, wanted = entities(call.connection), call.body
    values = dict(wanted.model_extra)
    _refuse_read_only(values)
    reference = wanted.reference
    if reference is not None and _known(store, reference):
        raise ProblemError("conflict", f"reference {reference!r} is taken: give another one, or none")
    try:
        uid = store.create(wanted.type, reference, **values).uid
    except NoEntityError as error:
        raise _invalid("type", str(error.args[0])) from None
    except TypeError as error:  # a name that create() itself takes
        raise _invalid("body", str(error)) from None

    def later(after: Call) -> Reply:
        entity = found_entity(after, uid)
        location = {"Location": after.links.path("/entities/{entity}", entity=uid)}
        return Reply(_shown(after, entity), status=201, version=version_of(entity), headers=location)

    return later


def get_entity(call: Call) -> Reply:
    """One entity."""
    entity = found_entity(call, call.path["entity"])
    version = call.check(version_of(entity))
    return Reply(_shown(call, entity), version=version)


def update_entity(call: Call) -> Later:
    """Set some fields and relations, all or none."""
    entity = found_entity(call, call.path["entity"])
    call.check(version_of(entity))
    values = dict(call.body.model_extra)
    _refuse_read_only(values)
    if values:
        entity.set(**{name: _emptied(entity, name) if value is None else value for name, value in values.items()})
    return get_entity


def delete_entity(call: Call) -> Reply:
    """Delete an entity, with those that cascade."""
    entity = found_entity(call, call.path["entity"])
    call.check(version_of(entity))
    entities(call.connection).delete(entity)
    return Reply(status=204)


def list_transitions(call: Call) -> Reply:
    """What can become of it now."""
    entity = found_entity(call, call.path["entity"])
    version = call.check(version_of(entity))
    infos = [TransitionInfo.model_validate(each.to_json()) for each in entity.transitions()]
    links = _sub_links(call, entity, "listTransitions", "doTransition")
    return Reply(Transitions(state=entity.state, items=infos, links=links), version=version)


def do_transition(call: Call) -> Later:
    """Take a transition."""
    entity = found_entity(call, call.path["entity"])
    call.check(version_of(entity))
    entity.do(call.body.name, call.body.why, roles=call.roles)
    return get_entity


def get_trail(call: Call) -> Reply:
    """What happened to it: who, when, why, from which state to which."""
    entity = found_entity(call, call.path["entity"])
    version = call.check(version_of(entity._trail))
    entries = [TrailEntry.model_validate(entry.to_json()) for entry in entity.trail]
    return Reply(Trail(items=entries, links=_sub_links(call, entity, "getTrail")), version=version)


def found_entity(call: Call, name: str) -> Stored:
    """The entity of that uid or reference. Raises 404."""
    try:
        return entities(call.connection)[name]
    except NoEntityError as error:
        raise ProblemError("not-found", str(error.args[0])) from None


def _known(store: Entities, reference: str) -> bool:
    return store.get(reference) is not None


def _relations(store: Entities, related: list[str]) -> dict[str, str]:
    found = {}
    for one in related:
        name, _, target = one.partition("=")
        entity = store.get(target)
        if entity is None:
            raise _invalid("related", f"{one!r}: no entity is named {target!r}")
        found[name] = entity.uid
    return found


def _refuse_read_only(values: dict[str, Any]) -> None:
    wrong = next((name for name in values if name in READ_ONLY or name.startswith("_")), None)
    if wrong is not None:
        raise _invalid(wrong, "this cannot be set: leave it out")


def _emptied(entity: Stored, name: str) -> Any:
    """What null means: an empty relation, or the field's default."""
    field = entity.Fields.model_fields.get(name)
    if field is None:
        return None
    return field.get_default(call_default_factory=True)


def _shown(call: Call, entity: Stored) -> Shown:
    return Shown(**entity.to_json(), links=_links(call, entity))


def _links(call: Call, entity: Stored) -> dict[str, Link]:
    operations = ["getEntity", "updateEntity", "deleteEntity", "listTransitions", "doTransition", "getTrail"]
    found = call.links.all(*operations, entity=entity.uid)
    found = {"self": found.pop("entity"), **found, **call.links.to("getType", type=entity.type)}
    for name in entity.relations:
        uids = entity.related(name)
        if len(uids) == 1:
            found |= {f"relation:{name}": call.links.all("getEntity", entity=uids[0])["entity"]}
    for name in entity.carries:
        if entity.carried(name) is not None:
            found[f"array:{name}"] = call.links.all("getEntityArray", entity=entity.uid, name=name)["array"]
    return found


def _sub_links(call: Call, entity: Stored, *operations: str) -> dict[str, Link]:
    found = call.links.all(*operations, entity=entity.uid)
    return {**found, "up": call.links.all("getEntity", entity=entity.uid)["entity"]}


def _about(cls: type[Stored]) -> dict[str, Any]:
    return {
        "type": cls.type,
        "description": cls.schema()["description"],
        "roles": list(cls.roles),
        "workflow": cls.workflow.name,
        "prefix": cls.prefix,
    }


def _type_links(call: Call, name: str) -> dict[str, Link]:
    found = call.links.all("getType", type=name)
    listed = Link(href=call.links.path("/entities", {"type": name}))
    return {"self": found["type"], "entities": listed, **call.links.to("createEntity")}


def _invalid(where: str, message: str) -> ProblemError:
    return ProblemError("invalid", f"{where}: {message}", errors=[FieldProblem(where=where, message=message)])
