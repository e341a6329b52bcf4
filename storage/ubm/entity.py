"""`Entity`: one business object. Fields checked by pydantic, relations by uid, a state, and a trail.

Stored is plain: `_values` (what the fields hold), `_relations` (name → uids), `_carried` (name → array). The pydantic
model is made from them when a field is first used; loading an entity costs one small record, and no array.
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from persistent import Persistent
from pydantic import Field

from wendelin.storage.activities.active import Active
from wendelin.storage.activities.user import current_user
from wendelin.storage.errors import FieldError, NotAllowedError, TransitionError
from wendelin.storage.ubm import changes, stored
from wendelin.storage.ubm.annotated import Annotated
from wendelin.storage.ubm.changes import Before
from wendelin.storage.ubm.explain import READ_ONLY, no_field, texts, written
from wendelin.storage.ubm.fields import FieldsModel, Words
from wendelin.storage.ubm.relation import CLEAR, Carried, Relation
from wendelin.storage.ubm.trail import CHANGED, CREATED, TRANSITION, Trail
from wendelin.storage.ubm.workflow import VALIDATION, Transition, Workflow

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities


def _stored(name: str) -> Any:
    """A property that shows what is stored under another name, and cannot be set."""
    return property(attrgetter(name))


class FieldAttribute:
    """A field of the pydantic model as an attribute of the entity."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, entity: Entity | None, owner: type | None = None) -> Any:
        if entity is None:
            return self
        value = getattr(entity.fields, self.name)
        return MappingProxyType(value) if isinstance(value, dict) else value  # changes go unnoticed: better refused

    def __set__(self, entity: Entity, value: Any) -> None:
        entity.set(**{self.name: value})


class Entity(Annotated, Active, Persistent):
    """What all business objects have in common. `Entities.create` makes them.

    *Errors*: `FieldError` at once for what a field or relation does not take, `TransitionError` for a wrong transition.
    *Concurrency*: two transactions that change fields or the state of the same entity conflict; notes, files and
    pointers from others merge.
    """

    type: ClassVar[str] = ""
    prefix: ClassVar[str] = ""
    roles: ClassVar[tuple[str, ...]] = ()
    workflow: ClassVar[Workflow] = VALIDATION
    #: Transition → fields and relations that must be filled before.
    needs: ClassVar[dict[str, tuple[str, ...]]] = {}
    relations: ClassVar[dict[str, Relation]] = {}
    carries: ClassVar[tuple[str, ...]] = ()
    #: Properties that are computed, which `describe` shows.
    derived: ClassVar[tuple[str, ...]] = ()

    class Fields(FieldsModel):
        """Fields of every type."""

        title: str = Field("", max_length=500, description="what people call it")
        description: str = ""
        keywords: Words = ()

    owner = Relation("organisation", "person", doc="who it belongs to")
    project = Relation("project", on_delete=CLEAR, doc="the project it is part of (follow_up)")

    _p_changed: bool | None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in cls.Fields.model_fields:
            assert not hasattr(Entity, name) or name in Entity.Fields.model_fields, f"{cls.__name__}: {name} is taken"
            setattr(cls, name, FieldAttribute(name))
        # Some of zope.interface's names are in dir() of a class and cannot be had from its subclasses.
        members = {name: getattr(cls, name, None) for name in dir(cls)}
        cls.relations = {name: member for name, member in sorted(members.items()) if isinstance(member, Relation)}
        cls.carries = tuple(name for name, member in sorted(members.items()) if isinstance(member, Carried))

    def __init__(self, store: Entities, reference: str) -> None:
        self._store = store
        self._uid = uuid.uuid4().hex
        self._reference = reference
        self._state = self.workflow.initial
        self._created = self._modified = datetime.now(UTC)
        self._creator = current_user()
        self._values: dict[str, Any] = {}
        self._relations: dict[str, tuple[str, ...]] = {}
        self._carried: dict[str, Any] = {}
        self._trail = Trail()
        self._trail.add(CREATED)

    # -- what it is

    store: Entities = _stored("_store")
    uid: str = _stored("_uid")
    reference: str = _stored("_reference")
    state: str = _stored("_state")
    created: datetime = _stored("_created")
    modified: datetime = _stored("_modified")
    creator: str = _stored("_creator")

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted from its store."""
        return self._state == DELETED

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """Names of its type and of those it derives from."""
        return tuple(base.type for base in cls.__mro__ if issubclass(base, Entity) and base.__dict__.get("type"))

    def label(self, name: str) -> str:
        """A field of this entity, for messages."""
        return f"{self.type}: {name}" if self.__dict__.get("_v_new") else f"{self.type} {self._reference}: {name}"

    # -- fields

    @property
    def fields(self) -> Any:
        """The pydantic model of its fields."""
        found = self.__dict__.get("_v_fields")
        if found is None:
            found = self._v_fields = stored.shown(self, self._values)
        return found

    @property
    def contents(self) -> Before:
        """What of it is set: values, relations and arrays as they are stored."""
        return Before(self._values, self._relations, self._carried)

    @property
    def unknown(self) -> dict[str, Any]:
        """What is stored in fields that its type does not have any more."""
        return stored.unknown(self, self._values)

    def set(self, /, **values: Any) -> None:
        """Set several fields and relations; all or none. FieldError names the first that does not fit."""
        checked = {
            name: getattr(type(self), name).checked(self, values.pop(name))
            for name in [*values]
            if name in self.relations or name in self.carries
        }
        if values:
            self._set_fields(values)
        for name, value in checked.items():
            (self.relate if name in self.relations else self.carry)(name, value)

    def _set_fields(self, values: dict[str, Any]) -> None:
        unknown = next((name for name in values if name not in self.Fields.model_fields), None)
        if unknown is not None:
            raise FieldError(no_field(self, unknown))
        now = stored.changed(self, self._values, values)
        self._store.changing(self)
        self._values = now
        self.__dict__.pop("_v_fields", None)
        self.changed()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            member = getattr(type(self), name, None)
            if name in READ_ONLY or not hasattr(type(member), "__set__"):
                raise FieldError(no_field(self, name))
        super().__setattr__(name, value)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def changed(self) -> None:
        """To be called after each change of what is stored: keeps the catalogue right."""
        self._refuse_deleted()
        self._modified = datetime.now(UTC)
        self._store.touched(self)

    def _refuse_deleted(self) -> None:
        if self.is_deleted:
            raise FieldError(f"{self.type} {self._reference} was deleted: create another one")

    def end(self) -> None:
        """It was deleted: conflicts with all that change it or begin to point to it. For `deleting`."""
        self._state = DELETED
        self._trail.close()

    # -- relations and arrays

    def related(self, name: str) -> tuple[str, ...]:
        """The uids that a relation holds."""
        return self._relations.get(name, ())

    def relate(self, name: str, targets: Iterable[Entity]) -> None:
        """Let a relation hold these, which `Relation.checked` has checked."""
        before, now = set(self.related(name)), {target.uid: target for target in targets}
        self._store.changing(self)
        for uid in before - now.keys():
            target = self._store.get(uid)
            if target is not None:
                target._trail.point(-1)
        for uid in now.keys() - before:
            now[uid]._trail.point(+1)
        self._relations = {**self._relations, name: tuple(now)}
        self.changed()

    def is_filled(self, name: str) -> bool:
        """Whether a field, a relation or an array of that name is there."""
        if name in self.carries:
            return self.carried(name) is not None
        return bool(self.related(name)) if name in self.relations else getattr(self.fields, name) not in (None, "", ())

    def carried(self, name: str) -> Any:
        """The array of that name, not loaded."""
        return self._carried.get(name)

    def carry(self, name: str, array: Any) -> None:
        """Carry an array under a name."""
        self._store.changing(self)
        self._carried = {**self._carried, name: array}
        self.changed()

    # -- states

    def transitions(self) -> tuple[Transition, ...]:
        """The transitions from its state."""
        return self.workflow.possible(self._state)

    def do(self, transition: str, why: str = "", *, roles: Iterable[str] | None = None) -> None:
        """Take a transition; the trail tells who did, when and why.

        `roles` are those of the user; None does not ask. Raises `TransitionError` when it is not possible, and
        `NotAllowedError` when the user has no role that may.
        """
        if self.is_deleted:
            raise TransitionError(f"{self.type} {self._reference} was deleted, so {transition!r} is not possible")
        found = self.workflow.find(transition)
        if found is None or self._state not in found.sources:
            names = ", ".join(repr(each.name) for each in self.transitions()) or "nothing"
            raise TransitionError(f"{self.label(self._state)}: {transition!r} is not possible; from here: {names}")
        if roles is not None and not found.roles & set(roles):
            raise NotAllowedError(
                f"{self.label(transition)} needs one of the roles {', '.join(sorted(found.roles))}; "
                f"you have {', '.join(sorted(roles)) or 'none'}: ask somebody who has one"
            )
        why = written(self, "why", why, needed=False)
        missing = [name for name in self.needs.get(transition, ()) if not self.is_filled(name)]
        if missing:
            raise TransitionError(f"{self.label(transition)} needs {' and '.join(missing)}: set {missing[0]} first")
        before, self._state = self._state, found.target
        self._trail.add(TRANSITION, why, states=(before, found.target))
        self.changed()
        self.after_transition(found)

    def put(self, state: str, why: str) -> None:
        """Be in a state without a transition, as an import needs it; the trail tells."""
        before, self._state = self._state, state
        self._trail.add(TRANSITION, why, states=(before, state))
        self.changed()

    def after_transition(self, transition: Transition) -> None:
        """Called in the same transaction, behind each transition. For subclasses."""

    # -- changes

    def tell_changes(self, before: Before) -> None:
        """Let the trail tell what this transaction changed. At its commit."""
        for name, was, now in changes.made(self, before):
            self._trail.add(CHANGED, states=(was, now), name=name)

    def taken_back(self, *, made: bool) -> None:
        """A transaction that changed it, or has `made` it, is being undone: the catalogue hears of what it is now."""
        if made or self.is_deleted:
            self._store.catalogue.unindex(self._uid)
        else:
            self.__dict__.pop("_v_fields", None)
            self._store.catalogue.index(self._uid, self.catalogue_row())

    # -- as data

    def to_json(self) -> dict[str, Any]:
        """Plain values: what it is, its fields, and its relations as uids."""
        relations = {
            name: list(self.related(name)) if each.many else next(iter(self.related(name)), None)
            for name, each in self.relations.items()
        }
        return {
            "uid": self._uid,
            "type": self.type,
            "reference": self._reference,
            "state": self._state,
            "created": self._created.isoformat(),
            "modified": self._modified.isoformat(),
            "creator": self._creator,
            **self.fields.model_dump(mode="json", warnings=False),
            **relations,
        }

    def describe(self) -> dict[str, Any]:
        """All about it: `to_json`, with relations, transitions, arrays (no data), files and the last of the trail."""
        from wendelin.storage.ubm.show import described

        return described(self)

    def catalogue_row(self) -> dict[str, Any]:
        """What the catalogue knows of it."""
        fields = self.fields
        values = [self._values[name] for name in sorted(self._values, key=_LONG.__contains__)]
        return {
            "uid": self._uid,
            "type": self.type,
            "roles": self.roles,
            "state": self._state,
            "reference": self._reference,
            "title": fields.title,
            "relations": {name: list(uids) for name, uids in self._relations.items() if uids},
            "created": self._created,
            "modified": self._modified,
            "start": getattr(fields, "start", None),
            "stop": getattr(fields, "stop", None),
            "words": " ".join([self._reference, self.type, *texts(values)])[:WORDS],
        }

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """JSON schema (2020-12) of what `create` and `set` take."""
        found = cls.Fields.model_json_schema()
        properties = {**found["properties"], **{name: each.schema() for name, each in cls.relations.items()}}
        return {**found, "title": cls.type, "description": _first_line(cls), "properties": properties}

    # -- how it shows

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.Fields.model_fields, *self.relations, *self.carries})

    def __repr__(self) -> str:
        title = f" {self.fields.title!r}" if self.fields.title else ""
        return f"<{self.type} {self._reference}{title} {self._state}>"

    def _repr_html_(self) -> str:
        from wendelin.storage.ubm.show import as_html

        return as_html(self)


#: Letters of an entity that the catalogue looks at.
WORDS = 20_000

#: Fields that come last there, for they may be long.
_LONG = frozenset(("description", "text", "data"))

#: The state of entities that were deleted, for those who still hold them.
DELETED = "deleted"


def _first_line(cls: type) -> str:
    return html.unescape((cls.__doc__ or "").strip().partition("\n")[0])


for _name in Entity.Fields.model_fields:
    setattr(Entity, _name, FieldAttribute(_name))
Entity.relations = {name: each for name, each in vars(Entity).items() if isinstance(each, Relation)}
Entity.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
