"""How entities show: as a plain dict with all about them, and as HTML in notebooks. Reads no array data."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

#: Entries of the trail that a description has at most: the newest.
TRAIL_SHOWN = 50

#: Related entities that are shown at most.
_SHOWN = 20


def described(entity: Entity) -> dict[str, Any]:
    """What `Entity.describe` returns."""
    arrays = {name: array_of(entity.carried(name)) for name in entity.carries if entity.carried(name) is not None}
    computed = {name: getattr(entity, name) for name in entity.derived}
    return {
        **entity.to_json(),
        **{name: None if value is None else str(value) for name, value in computed.items()},
        "roles": list(entity.roles),
        "relations": {name: _related(entity, name) for name in entity.relations if entity.related(name)},
        "transitions": [each.to_json() for each in entity.transitions()],
        "arrays": arrays,
        "files": [file.to_json() for file in entity.files.values()],
        "trail": [entry.to_json() for entry in entity.last_entries(TRAIL_SHOWN)],
        "pointers": entity.pointers,
        **({"other": {name: str(value) for name, value in entity.unknown.items()}} if entity.unknown else {}),
    }


def array_of(array: Any) -> dict[str, Any]:
    """What an array, or the array of a stream's bytes, is, from its record alone."""
    array = getattr(array, "array", array)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "order": array.order, "nbytes": array.nbytes}


def brief(entity: Entity) -> dict[str, str]:
    """What a link to an entity shows."""
    return {"uid": entity.uid, "type": entity.type, "reference": entity.reference, "title": entity.title}


def _related(entity: Entity, name: str) -> list[dict[str, str]]:
    return [brief(entity.store.get(uid)) for uid in entity.related(name)]


def as_html(entity: Entity) -> str:
    """A table of what is filled."""
    fields = entity.fields.model_dump(mode="json", exclude_defaults=True, warnings=False)
    rows = [("state", entity.state), *((name, _text(value)) for name, value in fields.items())]
    for name in entity.relations:
        targets = [entity.store.get(uid) for uid in entity.related(name)[:_SHOWN]]
        if targets:
            rows.append((name, ", ".join(f"{each.reference} {each.title}".strip() for each in targets)))
    rows += [(name, repr(entity.carried(name))) for name in entity.carries if entity.carried(name) is not None]
    rows += [(name, str(getattr(entity, name))) for name in entity.derived if getattr(entity, name) is not None]
    rows += [("files", ", ".join(entity.files))] if entity.files else []
    cells = "".join(f"<tr><th style='text-align:left'>{_safe(name)}</th>{_cell(text)}</tr>" for name, text in rows)
    caption = f"{entity.type} <b>{_safe(entity.reference)}</b>"
    return f"<table><caption style='text-align:left'>{caption}</caption><tbody>{cells}</tbody></table>"


def found_as_html(found: Sequence[Entity], total: int) -> str:
    """A table of entities, one a row."""
    head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("reference", "type", "title", "state"))
    rows = "".join(
        f"<tr>{_cell(each.reference)}{_cell(each.type)}{_cell(each.title)}{_cell(each.state)}</tr>" for each in found
    )
    caption = f"{len(found):,} of {total:,} entities"
    return f"<table><caption style='text-align:left'>{caption}</caption><tbody><tr>{head}</tr>{rows}</tbody></table>"


def counts_as_html(counts: dict[str, int]) -> str:
    """How many entities there are of each type."""
    rows = "".join(f"<tr>{_cell(name)}{_cell(f'{count:,}')}</tr>" for name, count in counts.items())
    caption = f"{sum(counts.values()):,} entities"
    return f"<table><caption style='text-align:left'>{caption}</caption><tbody>{rows}</tbody></table>"


def _cell(text: str) -> str:
    return f"<td style='text-align:left'>{_safe(text if len(text) <= 300 else text[:299] + '…')}</td>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _safe(text: str) -> str:
    return html.escape(text)
