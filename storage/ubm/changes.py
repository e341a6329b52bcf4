"""What a transaction changed of an entity, in words for its trail: one entry for each field, relation and array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from wendelin.storage.errors import MissingPackageError
from wendelin.storage.ubm import stored

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

#: Letters of a value that the trail keeps, and references of a relation that it names.
LETTERS, NAMED = 200, 10


class Before(NamedTuple):
    """What an entity had before a transaction changed it; none of these dicts is ever changed itself."""

    values: dict[str, Any]
    relations: dict[str, tuple[str, ...]]
    carried: dict[str, Any]


def made(entity: Entity, before: Before) -> Iterator[tuple[str, str, str]]:
    """Names with what they were and are now, "" for nothing; a value that is long is cut."""
    now = entity.contents
    names = _different(before.values, now.values)
    if names:
        old, new = _plain(entity, before.values, names), _plain(entity, now.values, names)
        yield from ((name, _value(old.get(name)), _value(new.get(name))) for name in names)
    for name in _different(before.relations, now.relations):
        yield name, _targets(entity, before.relations.get(name)), _targets(entity, now.relations.get(name))
    for name in _different(before.carried, now.carried):
        yield name, _array(before.carried.get(name)), _array(now.carried.get(name))


def _different(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return sorted(name for name in before.keys() | now.keys() if _differs(before.get(name), now.get(name)))


def _differs(before: Any, now: Any) -> bool:
    if hasattr(now, "_p_oid") or hasattr(before, "_p_oid"):  # `==` compares elements of arrays
        return before is not now
    return bool(before != now)


def _plain(entity: Entity, values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    known = {name: value for name, value in values.items() if name in names}
    found: dict[str, Any] = stored.shown(entity, values).model_dump(mode="json", include=set(known), warnings=False)
    return {name: found.get(name, value) for name, value in known.items()}


def _value(value: Any) -> str:
    if value is None:
        return ""
    return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _targets(entity: Entity, uids: tuple[str, ...] | None) -> str:
    names = [_reference(entity, uid) for uid in (uids or ())[:NAMED]]
    more = len(uids or ()) - len(names)
    return _cut(", ".join(names) + (f" and {more} more" if more else ""))


def _reference(entity: Entity, uid: str) -> str:
    try:
        found = entity.store.get(uid)
    except MissingPackageError:
        found = None
    return uid if found is None else found.reference


def _array(carried: Any) -> str:
    if carried is None:
        return ""
    shape = getattr(carried, "shape", None)
    return type(carried).__name__ if shape is None else f"{carried.dtype} {shape}"


def _cut(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
