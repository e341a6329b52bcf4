"""What a deletion takes along: the rule of each relation that points to what goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wendelin.storage.errors import RelatedError
from wendelin.storage.ubm.registry import types
from wendelin.storage.ubm.relation import CASCADE, REFUSE

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity

_NAMED = 5


def delete(store: Entities, entity: Entity) -> list[Entity]:
    """See `Entities.delete`. The catalogue has been told of what this transaction changed."""
    doomed, others = _doomed(store, entity)
    _refuse(entity, [(source, name) for source, name, _ in others if source.relations[name].on_delete == REFUSE])
    for source, name, uid in others:
        source.relate(name, [store[other] for other in source.related(name) if other != uid])
    for each in doomed:
        for name in each.relations:
            if each.related(name):
                each.relate(name, [])
    for each in doomed:
        store.forget(each)
        each.end()
    return doomed


def _doomed(store: Entities, entity: Entity) -> tuple[list[Entity], list[tuple[Entity, str, str]]]:
    """An entity with those that cascade, and what else points to them: (entity, relation, to which)."""
    doomed, waiting, others = {entity.uid: entity}, [entity], []
    while waiting:
        target = waiting.pop()
        for source, name in _known(store, target):
            if source.relations[name].on_delete != CASCADE:
                others.append((source, name, target.uid))
            elif source.uid not in doomed:
                doomed[source.uid] = source
                waiting.append(source)
    return [*doomed.values()], [each for each in others if each[0].uid not in doomed]


def referrers(store: Entities, target: Entity) -> Iterator[tuple[Entity, str]]:
    """(entity, name of the relation) of all that point to an entity."""
    if not target.pointers:
        return
    names = {name for cls in types().values() for name, each in cls.relations.items() if each.admits(type(target))}
    for name in sorted(names):
        for row in store.catalogue.rows(relation={name: target.uid}):
            yield store[row["uid"]], name


def _known(store: Entities, target: Entity) -> list[tuple[Entity, str]]:
    """The referrers, when the catalogue knows them all."""
    found = list(referrers(store, target))
    if len(found) != target.pointers:
        raise RelatedError(
            f"{target.type} {target.reference} has {target.pointers} pointers, the catalogue knows {len(found)}: "
            "rebuild it, wendelin entity reindex, then delete again"
        )
    return found


def _refuse(entity: Entity, refusing: list[tuple[Entity, str]]) -> None:
    if refusing:
        some = ", ".join(f"{source.reference} ({name})" for source, name in refusing[:_NAMED])
        more = f" and {len(refusing) - _NAMED} more" if len(refusing) > _NAMED else ""
        raise RelatedError(
            f"{entity.type} {entity.reference} cannot be deleted: {some}{more} point to it; "
            f"let them point elsewhere or delete them first, search(relation={{{refusing[0][1]!r}: …}}) lists them"
        )
