"""`Keeper`: makes entities that are missing, and changes only what differs, so that doing it again changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity


class Keeper:
    """Keeps entities of given references. `changed` tells whether anything was made or changed."""

    def __init__(self, ubm: Entities) -> None:
        self.ubm = ubm
        self.changed = False

    def keep(self, kind: str, reference: str, always: dict[str, Any] | None = None, /, **once: Any) -> Any:
        """The entity of that reference, validated; made when there is none.

        `once` is for a new one only: what people changed since then stays. `always` is set again when it differs.
        """
        found = self.ubm.get(reference)
        if found is None:
            found = self.ubm.create(kind, reference, **once, **(always or {}))
            self.changed = True
            if found.workflow.name in ("validation", "registration") and _may(found, "validate"):
                found.do("validate", why="made by the solar application")
        else:
            self.update(found, **(always or {}))
        return found

    def update(self, entity: Entity, **values: Any) -> None:
        """Set what differs."""
        differing = {name: value for name, value in values.items() if not _is(entity, name, value)}
        if differing:
            entity.set(**differing)
            self.changed = True


def _may(entity: Entity, transition: str) -> bool:
    return all(entity.is_filled(name) for name in entity.needs.get(transition, ()))


def _is(entity: Entity, name: str, value: Any) -> bool:
    """Whether a field, a relation or an array has that value."""
    if name in entity.carries:
        return entity.carried(name) is value
    if name in entity.relations:
        targets = entity.relations[name].checked(entity, value)
        return entity.related(name) == tuple(target.uid for target in targets)
    fields = entity.fields
    checked = entity.Fields.model_validate(
        {**{each: getattr(fields, each) for each in fields.model_fields_set}, name: value}
    )
    return bool(getattr(fields, name) == getattr(checked, name))
