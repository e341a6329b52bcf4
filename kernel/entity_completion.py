"""What Tab offers within `%wendelin entity …`: commands, types, references, fields, relations, states, transitions."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from wendelin.storage.ubm import command as shell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wendelin.kernel.session import Session

#: Names offered at most.
OFFERED = 200

#: Commands whose first word is an entity.
_NAMING = ("show", "set", "do", "delete")


def completed(session: Session, words: list[str]) -> tuple[str, list[str], str] | None:
    """What the last of the words behind `%wendelin entity` may become; None where anything goes."""
    last = words[-1]
    if len(words) == 1:
        return last, _beginning(last, shell.entity.commands), "magic"
    if words[0] not in shell.entity.commands or session.connection is None:
        return None
    return last, _argument(session.connection, words[0], words[1:-1], last), "option"


def _argument(db: Any, name: str, before: list[str], last: str) -> list[str]:
    option = before[-1] if before else ""
    if option == "--type":
        return _beginning(last, _types())
    if option == "--state":
        return _beginning(last, _states(before))
    if option == "--related":
        return _pair(db, _classes(before), last, relations_only=True)
    if last.startswith("-"):
        return _beginning(last, _options(name))
    if name in _NAMING and (not before or name == "delete"):
        return _references(db, last)
    if name in ("create", "types") and not before:
        return _beginning(last, _types())
    if name in ("create", "set") and before:
        return _pair(db, _class_of(db, name, before[0]), last)
    if name == "do" and len(before) == 1:
        found = _entity(db, before[0])
        return [] if found is None else _beginning(last, [each.name for each in found.transitions()])
    return []


def _beginning(start: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(start)]


def _options(name: str) -> list[str]:
    """What begins with dashes, but the database, which is the notebook's."""
    options = [option for each in shell.entity.commands[name].params for option in each.opts if option[:2] == "--"]
    return [option for option in options if option != "--db"]


def _types() -> dict[str, Any]:
    from wendelin.storage.ubm.registry import types

    return types()


def _classes(before: list[str]) -> list[Any]:
    """The type that was given, or all."""
    named = [value for option, value in pairwise(before) if option == "--type"]
    return [cls for name, cls in _types().items() if not named or name == named[-1]]


def _states(before: list[str]) -> list[str]:
    return sorted({state for cls in _classes(before) for state in cls.workflow.states})


def _class_of(db: Any, name: str, first: str) -> list[Any]:
    if name == "create":
        return [cls for kind, cls in _types().items() if kind == first]
    found = _entity(db, first)
    return [] if found is None else [type(found)]


def _pair(db: Any, classes: list[Any], last: str, *, relations_only: bool = False) -> list[str]:
    """FIELD= and then its value: references for relations, choices for fields that have some."""
    field, equals, value = last.partition("=")
    if not equals:
        names = {name for cls in classes for name in cls.relations}
        names |= set() if relations_only else {name for cls in classes for name in cls.Fields.model_fields}
        return [f"{name}=" for name in _beginning(field, sorted(names))]
    for cls in classes:
        if field in cls.relations:
            kept, several, value = value.rpartition(";")
            return [f"{field}={kept}{several}{name}" for name in _references(db, value, cls.relations[field])]
        if field in cls.Fields.model_fields and not relations_only:
            return [f"{field}={choice}" for choice in _beginning(value, _choices(cls, field))]
    return []


def _choices(cls: Any, field: str) -> list[str]:
    schema = cls.schema()["properties"][field]
    options = [schema, *schema.get("anyOf", [])]
    values = [str(value) for each in options for value in each.get("enum", ()) if value != ""]
    return [*values, *(["true", "false"] if any(each.get("type") == "boolean" for each in options) else [])]


def _references(db: Any, start: str, relation: Any = None) -> list[str]:
    """References that begin so, of entities that a relation admits."""
    from wendelin.kernel.ubm import LazyEntities

    query: dict[str, Any] = {"limit": OFFERED}
    if start:
        query["reference"] = start
    if relation is not None:
        query["type"] = [name for name, cls in _types().items() if relation.admits(cls)]
    return [row["reference"] for row in LazyEntities(db).rows(**query)]


def _entity(db: Any, name: str) -> Any:
    from wendelin.kernel.ubm import LazyEntities

    return LazyEntities(db).get(name)
