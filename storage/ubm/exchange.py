"""Entities as JSON and CSV, there and back: readable references, errors by line, all or nothing.

An export names relations by reference. An import makes what its file names and, when told so, changes what is there.
It first makes all, then relates them, so entities of one file may point to each other in any order.
Arrays, files and notes are not in such files: they are for people and other programs, not a backup.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wendelin.storage.errors import ExchangeError, FieldError, UsageError
from wendelin.storage.ubm.registry import type_named

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity

#: What an import does not set: it is made anew.
_MADE = ("uid", "created", "modified", "creator")

_FIRST = ("type", "reference", "state", "title")

#: Between several values of one cell of a CSV file.
SEPARATOR = ";"

_blank = re.compile(r"\s*")

#: What a spreadsheet would take for a formula, and what only looks like one: numbers, with a unit or without.
_BEGINS = "[=+\\-@\\t\\r\\n＝＋－＠]"
_formula = re.compile(f"'*{_BEGINS}")
_number = re.compile(
    r"[+-]?[\d.]+([eE][+-]?\d+)?"
    r"(?! [A-Za-z]{1,3}\d)"  # a cell
    r"( (?:1/)?[^\W\d_](?:[\w°µ%/.]|\*\*?-?|\^-?)*| [°µ%][\w°µ%/.]*)?"
)
_disarmed = re.compile(f"'+{_BEGINS}")

#: Errors that a message shows at most.
_SHOWN = 20

Rows = Iterable[tuple[int, dict[str, Any]]]


@dataclass
class Imported:
    """What an import did: entities that were created, changed, and (line, error) of what it left out."""

    created: list[Entity] = field(default_factory=list)
    changed: list[Entity] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)


# -- out


def as_row(entity: Entity) -> dict[str, Any]:
    """An entity as plain values, its relations by reference, without what is empty."""
    plain = entity.to_json()
    for name, relation in entity.relations.items():
        names = [entity.store[uid].reference for uid in entity.related(name)]
        plain[name] = names if relation.many else next(iter(names), None)
    defaults = entity.Fields.model_construct().model_dump(mode="json")
    head = {name: plain.pop(name) for name in _FIRST}
    rest = {name: plain[name] for name in plain if name not in _MADE and plain[name] not in (None, [], "")}
    return {**head, **{name: value for name, value in rest.items() if value != defaults.get(name)}}


def write_json(entities: Iterable[Entity]) -> Iterator[str]:
    """A JSON array, one entity a line."""
    lead = "[\n"
    for entity in entities:
        yield lead + json.dumps(as_row(entity), ensure_ascii=False)
        lead = ",\n"
    yield "[]\n" if lead == "[\n" else "\n]\n"


def write_csv(entities: Iterable[Entity]) -> Iterator[str]:
    """A CSV file with one column for each field that any of them has. Several values stand between semicolons."""
    rows = [as_row(entity) for entity in entities]
    names = sorted({name for row in rows for name in row} - {*_FIRST})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*_FIRST, *names], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(_cell(value)) for name, value in row.items()})
        yield stream.getvalue()
        stream.seek(0)
        stream.truncate()
    yield stream.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list) and all(_stands_alone(each) for each in value):
        return SEPARATOR.join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, bool)) else value


def _harmless(cell: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe, which `read_csv` takes away again."""
    if isinstance(cell, str) and _formula.match(cell) and not _number.fullmatch(cell):
        return f"'{cell}"
    return cell


def _stands_alone(each: Any) -> bool:
    """Whether a value is read again from between semicolons."""
    return isinstance(each, str) and each.strip() == each != "" and SEPARATOR not in each and not each.startswith("[")


# -- in


def read_json(text: str) -> list[tuple[int, dict[str, Any]]]:
    """(line, values) of a JSON array of objects, or of one object a line. ExchangeError tells where it is wrong."""
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith("["):
        return [(number, _object(line, number)) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    decoder, end, line, rows = json.JSONDecoder(), text.index("[") + 1, 1, list[tuple[int, dict[str, Any]]]()
    seen = 0
    while True:
        position = _blank.match(text, end).end()  # type: ignore[union-attr]
        line, seen = line + text.count("\n", seen, position), position
        if text[position : position + 1] == "]" and not text[position + 1 :].strip():
            return rows
        if rows and text[position : position + 1] == ",":
            position = _blank.match(text, position + 1).end()  # type: ignore[union-attr]
            line, seen = line + text.count("\n", seen, position), position
        elif rows:
            raise ExchangeError(f"line {line}: a comma or ] is missing; write [{{…}}, {{…}}], or one object a line")
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise ExchangeError(f"line {line}: no JSON: {error}; write [{{…}}, {{…}}], or one object a line") from None
        rows.append((line, _is_object(value, line)))


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        return _is_object(json.loads(line), number)
    except (ValueError, RecursionError) as error:
        raise ExchangeError(f"line {number}: no JSON: {error}") from None


def _is_object(value: Any, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExchangeError(f'line {line}: {json.dumps(value)[:80]} is no entity: write an object, {{"type": …}}')
    return value


def read_csv(text: str) -> list[tuple[int, dict[str, Any]]]:
    """(line, values) of a CSV file with a header. Empty cells are left out. ExchangeError for rows of wrong length."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    rows = []
    try:
        names = [*(reader.fieldnames or ())]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ExchangeError(f"line 1: the column {twice!r} is there twice: keep one of them")
        for row in reader:
            if None in row or None in row.values():
                raise ExchangeError(
                    f"line {reader.line_num}: not as many cells as the header, {len(reader.fieldnames or ())}"
                )
            rows.append((reader.line_num, {name: _as_written(value) for name, value in row.items() if value != ""}))
    except csv.Error as error:
        raise ExchangeError(f"line {reader.reader.line_num}: no CSV: {error}") from None
    return rows


def _as_written(cell: str) -> str:
    return cell[1:] if _disarmed.match(cell) else cell


def load(
    store: Entities,
    rows: Rows,
    *,
    update: bool = False,
    partial: bool = False,
    tick: Callable[[], object] = lambda: None,
) -> Imported:
    """Create entities from rows of plain values, as `read_json` and `read_csv` give them.

    Parameters
    ----------
    update
        Change entities whose reference exists; otherwise such a row is an error.
    partial
        Leave out what is wrong and import the rest; otherwise `ExchangeError` names all errors by line, and the caller
        aborts the transaction.
    tick
        Called twice for each row: when it is made, and when it is related.
    """
    done, waiting = Imported(), []
    for line, values in rows:
        try:
            waiting.append((line, *_make(store, values, done, update=update)))
        except UsageError as error:
            done.errors.append((line, str(error)))
        tick()
    for line, entity, relations in waiting:
        try:
            entity.set(**relations)
        except UsageError as error:
            done.errors.append((line, f"{error}; {_take_back(store, entity, done)}"))
        tick()
    if done.errors and not partial:
        raise ExchangeError(told(done.errors))
    return done


def told(errors: list[tuple[int, str]]) -> str:
    """Errors, one a line, in the order of the file."""
    lines = [f"line {line}: {text}" for line, text in sorted(errors)]
    count = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
    more = [f"… and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([f"{count} cannot be imported:", *lines[:_SHOWN], *more])


def _make(store: Entities, values: dict[str, Any], done: Imported, *, update: bool) -> tuple[Entity, dict[str, Any]]:
    """An entity with its fields, and the relations that are to be set when all are there."""
    values = {name: value for name, value in values.items() if name not in _MADE}
    kind, reference, state = values.pop("type", None), values.pop("reference", None), values.pop("state", None)
    there = store.get(reference) if isinstance(reference, str) and reference else None
    if there is not None and not update:
        raise FieldError(f"reference = {reference!r}: {there!r} has it; leave it out, or import with update")
    if not isinstance(kind, str) and there is None:
        raise FieldError(f"type = {kind!r}: say what it is, as type=plant")
    cls = type(there) if there is not None else type_named(str(kind))
    if there is not None and kind not in (None, there.type):
        raise FieldError(f"type = {kind!r}: {there!r} is a {there.type}, which stays one")
    values = {name: cell(cls, name, value) for name, value in values.items()}
    relations = {name: values.pop(name) for name in [*values] if name in cls.relations}
    if state is not None and state not in cls.workflow.states:
        raise FieldError(f"state = {state!r}: a {cls.type} is {', '.join(cls.workflow.states)}")
    entity = there if there is not None else store.create(cls.type, reference or None, **values)
    if there is not None:
        entity.set(**values)
    if state is not None:
        entity.put(state, why="imported")
    (done.changed if there is not None else done.created).append(entity)
    return entity, relations


def cell(cls: type[Entity], name: str, value: Any) -> Any:
    """A cell of a CSV file, which is a text, as the field or relation takes it."""
    if not isinstance(value, str):
        return value
    if name in cls.relations:
        return [each.strip() for each in value.split(SEPARATOR) if each.strip()] if cls.relations[name].many else value
    if name not in cls.Fields.model_fields:
        return value
    kind = _kind(cls, name)
    if kind == "array" and not value.startswith("["):
        return [each.strip() for each in value.split(SEPARATOR) if each.strip()]
    if kind in ("array", "object"):
        try:
            return json.loads(value)
        except ValueError:
            raise FieldError(f"{cls.type}: {name} = {value!r}: no JSON; write {kind}s as {{…}} or […]") from None
    return value


def _kind(cls: type[Entity], name: str) -> str:
    """What JSON schema calls a field: array, object, string, …"""
    schema = _properties(cls.type)[name]
    return str(schema.get("type") or next((each["type"] for each in schema.get("anyOf", ()) if "type" in each), ""))


@functools.cache
def _properties(kind: str) -> dict[str, Any]:
    return dict(type_named(kind).schema()["properties"])


def _take_back(store: Entities, entity: Entity, done: Imported) -> str:
    """Undo a row whose relations are wrong, as far as others do not build on it; what became of it."""
    if entity not in done.created:
        return "its fields were changed"
    if entity.pointers:
        return "it was made without its relations, for others point to it"
    done.created.remove(entity)
    store.delete(entity)
    return "it was not made"
