"""What a deletion takes along: the rule of each relation that points to what goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wendelin.storage.errors import RelatedError
from wendelin.storage.ubm.registry import types
from wendelin.storage.ubm.relation import CASCADE, REFUSE

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity

_NAMED = 5


@dataclass(frozen=True)
class Pointer:
    """An entity that points to another one, as the catalogue knows it: not loaded."""

    uid: str
    reference: str
    relation: str
    rule: str
    target: str


def delete(store: Entities, entity: Entity) -> list[Entity]:
    """See `Entities.delete`. The catalogue has been told of what this transaction changed."""
    doomed, others = _doomed(store, entity)
    _refuse(entity, [pointer for pointer in others if pointer.rule == REFUSE])
    for pointer in others:
        source, name = store[pointer.uid], pointer.relation
        source.relate(name, [store[uid] for uid in source.related(name) if uid != pointer.target])
    for each in doomed:
        for name in each.relations:
            if each.related(name):
                each.relate(name, [])
    for each in doomed:
        store.forget(each)
        each.end()
    return doomed


def _doomed(store: Entities, entity: Entity) -> tuple[list[Entity], list[Pointer]]:
    """An entity with those that cascade, and what else points to them."""
    doomed, waiting, others = {entity.uid: entity}, [entity], []
    while waiting:
        for pointer in pointers(store, waiting.pop()):
            if pointer.rule != CASCADE:
                others.append(pointer)
            elif pointer.uid not in doomed:
                doomed[pointer.uid] = store[pointer.uid]
                waiting.append(doomed[pointer.uid])
    return [*doomed.values()], [pointer for pointer in others if pointer.uid not in doomed]


def pointers(store: Entities, target: Entity) -> list[Pointer]:
    """All that point to an entity. RelatedError when the catalogue does not know them all."""
    found = list(_known(store, target)) if target.pointers else []
    if len(found) != target.pointers:
        raise RelatedError(
            f"{target.type} {target.reference} has {target.pointers} pointers, the catalogue knows {len(found)}: "
            "rebuild it, wendelin entity reindex, then delete again"
        )
    return found


def _known(store: Entities, target: Entity) -> Iterator[Pointer]:
    classes = types()
    for row in store.catalogue.referring(target.uid):
        for name in (name for name, uids in row["relations"].items() if target.uid in uids):
            relation = classes[row["type"]].relations.get(name) if row["type"] in classes else None
            rule = relation.on_delete if relation else REFUSE  # the package of a type may be missing
            yield Pointer(row["uid"], row["reference"], name, rule, target.uid)


def _refuse(entity: Entity, refusing: list[Pointer]) -> None:
    if refusing:
        some = ", ".join(f"{pointer.reference} ({pointer.relation})" for pointer in refusing[:_NAMED])
        more = f" and {len(refusing) - _NAMED} more" if len(refusing) > _NAMED else ""
        raise RelatedError(
            f"{entity.type} {entity.reference} cannot be deleted: {some}{more} point to it; let them point elsewhere "
            f"or delete them first, search(relation={{{refusing[0].relation!r}: {entity.reference!r}}}) lists them"
        )
