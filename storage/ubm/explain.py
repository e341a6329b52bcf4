"""Values in words: what a field does not take, where, and what to give instead; what there is to be found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wendelin.storage.errors import FieldError
from wendelin.storage.ubm.quantity import Money, Quantity

if TYPE_CHECKING:
    from wendelin.storage.ubm.annotated import Annotated
    from wendelin.storage.ubm.entity import Entity

#: Letters that a note or a reason has at most.
WRITTEN = 10_000

#: What to give, by the beginning of pydantic's kind of error.
_HINTS = {
    "string": "give a text",
    "int": "give a whole number, as 12",
    "float": "give a number, as 3.5",
    "bool": "give True or False",
    "list": "give a list, as ['one', 'two']",
    "dict": "give a dict",
    "datetime": "give a time with its zone, as '2024-05-01T12:00:00Z'",
}


#: What cannot be assigned, and what to do instead.
READ_ONLY = {
    "uid": "it is made once",
    "reference": "it never changes; give it to create()",
    "state": "take a transition, do('…'); transitions() tells which",
    "created": "it is made once",
    "modified": "each change sets it",
    "creator": "it is made once",
    "type": "create another one",
    "trail": "do(), note() and attach() add to it",
}


def no_field(entity: Entity, name: str) -> str:
    """The message of a FieldError for a name that is no field."""
    if name in READ_ONLY:
        return f"{entity.label(name)} cannot be set: {READ_ONLY[name]}"
    names = [*entity.Fields.model_fields, *entity.relations, *entity.carries]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
    return f"{entity.label(name)}: {entity.type} has no such field; {hint}"


def explained(entity: Entity, error: ValidationError, given: dict[str, Any]) -> str:
    """The message of a FieldError for the first of pydantic's errors."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    field = str(first["loc"][0]) if first["loc"] else next(iter(given))
    value = given.get(field, first.get("input"))
    text = first["msg"]
    if first["type"] == "wendelin":
        return f"{entity.label(place or field)} = {short(value)}: {text}"
    hint = _hint(entity, field, first)
    return f"{entity.label(place or field)} = {short(value)}: {text[:1].lower()}{text[1:]}{f'; {hint}' if hint else ''}"


def _hint(entity: Entity, field: str, error: Any) -> str:
    info = entity.Fields.model_fields.get(field)
    if error["type"] == "literal_error":
        return f"give one of {error['ctx']['expected']}"
    examples = _examples(info)
    if examples:
        return f"give it as {examples[0]!r}"
    return next((hint for kind, hint in _HINTS.items() if error["type"].startswith(kind)), "")


def _examples(info: Any) -> list[Any]:
    if info is None:
        return []
    if info.examples:
        return list(info.examples)
    schema = str(info.annotation)
    return [] if "FieldInfo" not in schema else _nested(info.annotation)


def _nested(annotation: Any) -> list[Any]:
    """Examples of an Annotated type within `… | None`."""
    for argument in getattr(annotation, "__args__", ()):
        for extra in getattr(argument, "__metadata__", ()):
            if getattr(extra, "examples", None):
                return list(extra.examples)
    return []


def short(value: Any) -> str:
    """A repr that fits into a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def texts(values: Iterable[Any]) -> Iterator[str]:
    """What is written in values: texts, quantities and money, also within lists and objects; no numbers and times."""
    for value in values:
        if isinstance(value, (str, Quantity, Money)):
            yield str(value)
        elif isinstance(value, (tuple, list)):
            yield from texts(value)
        elif isinstance(value, dict):
            yield from texts(value.keys())
            yield from texts(value.values())


def written(entity: Entity | Annotated, name: str, text: str, *, needed: bool = True) -> str:
    """A text that a person wrote, for the trail; FieldError when it is none, or too long."""
    if needed and not text.strip():
        raise FieldError(f"{entity.label(name)}: write something, as 'inverter replaced'")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FieldError(
            f"{entity.label(name)} = {short(text)}: it is no text: {error.reason}; write letters"
        ) from None
    if len(text) > WRITTEN:
        raise FieldError(
            f"{entity.label(name)}: {len(text)} letters are too many: give {WRITTEN} at most, or attach a file"
        )
    return text
