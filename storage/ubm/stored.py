"""Values that were stored under other rules than those of today: shown as they are, kept, and in nobody's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wendelin.storage.errors import FieldError
from wendelin.storage.ubm.explain import explained

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity


def shown(entity: Entity, values: dict[str, Any]) -> Any:
    """The pydantic model of stored values; those that break its rules are shown unchecked, unknown ones are not."""
    known = {name: value for name, value in values.items() if name in entity.Fields.model_fields}
    try:
        return entity.Fields.model_validate(known)
    except ValidationError:
        return entity.Fields.model_construct(**known)


def unknown(entity: Entity, values: dict[str, Any]) -> dict[str, Any]:
    """Stored values of fields that the type does not have (any more)."""
    return {name: value for name, value in values.items() if name not in entity.Fields.model_fields}


def changed(entity: Entity, values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The values to store when `given` are set; FieldError when they do not fit.

    A stored value that breaks today's rules stays as it is, unless it is among the given ones.
    """
    known = {name: value for name, value in values.items() if name in entity.Fields.model_fields}
    kept = unknown(entity, values)
    try:
        checked = entity.Fields.model_validate({**known, **given})
    except ValidationError as error:
        stale = _broken(entity, known) - given.keys()
        if not stale:
            raise FieldError(explained(entity, error, given)) from None
        kept |= {name: known.pop(name) for name in stale}
        try:
            checked = entity.Fields.model_validate({**known, **given})
        except ValidationError as remaining:
            raise FieldError(explained(entity, remaining, given)) from None
    return kept | {name: getattr(checked, name) for name in checked.model_fields_set}


def _broken(entity: Entity, values: dict[str, Any]) -> set[str]:
    """Names of stored values that do not fit by themselves, without anything new."""
    try:
        entity.Fields.model_validate(values)
    except ValidationError as error:
        return {str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"]} & values.keys()
    return set()
