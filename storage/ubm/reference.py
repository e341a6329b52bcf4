"""What types there are, as text. The page: python -m wendelin.storage.ubm.reference > docs/reference/entities.md"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity


def lines(types: dict[str, type[Entity]], *, as_json: bool = False) -> Iterator[str]:
    """One line a type."""
    for name, cls in types.items():
        yield json.dumps(_plain(cls)) if as_json else f"{name:<22}{'+'.join(cls.roles):<18}{first_line(cls)}"


def _plain(cls: type[Entity]) -> dict[str, Any]:
    return {"type": cls.type, "roles": list(cls.roles), "prefix": cls.prefix, "workflow": cls.workflow.name}


def section(cls: type[Entity]) -> str:
    """Fields, relations and transitions of a type, in Markdown."""
    properties = cls.schema()["properties"]
    parts = [f"## {cls.type}", "", first_line(cls), ""]
    parts += [f"Role {', '.join(cls.roles)}; references begin with `{cls.prefix}-`; workflow {cls.workflow.name}.", ""]
    parts += ["| field | value | |", "|---|---|---|"]
    for name in cls.Fields.model_fields:
        parts.append(f"| `{name}` | {_value(properties[name])} | {_meaning(properties[name])} |")
    for name, relation in cls.relations.items():
        rule = "" if relation.on_delete == "refuse" else f" ({relation.on_delete} on deletion)"
        many = "several: " if relation.many else ""
        parts.append(f"| `{name}` | → {many}{' or '.join(relation.to) or 'any entity'}{rule} | {relation.doc} |")
    for name in cls.carries:
        parts.append(f"| `{name}` | a `ZBigArray` or `ByteStream` | {getattr(cls, name).doc} |")
    for transition, names in cls.needs.items():
        parts += ["", f"`{transition}` needs {', '.join(f'`{name}`' for name in names)}."]
    return "\n".join(parts) + "\n"


def workflows(types: dict[str, type[Entity]]) -> str:
    """The workflows of all types, in Markdown."""
    found = {cls.workflow.name: cls.workflow for cls in types.values()}
    parts = ["| workflow | transition | from | to | roles |", "|---|---|---|---|---|"]
    for name, workflow in sorted(found.items()):
        for each in workflow.transitions:
            roles = ", ".join(sorted(each.roles))
            parts.append(f"| {name} | `{each.name}` | {', '.join(each.sources)} | {each.target} | {roles} |")
    return "\n".join(parts) + "\n"


def first_line(cls: type) -> str:
    """The first line of a docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _value(schema: dict[str, Any]) -> str:
    options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    found = options[0] if options else schema
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"] if value != "")
    if "x-unit" in found:
        return f"quantity in {found['x-unit']}"
    kinds = {"string": "text", "number": "number", "integer": "whole number", "boolean": "true or false"}
    kinds |= {"array": "list", "object": "object"}
    if found.get("format") == "date-time":
        return "time with its zone"
    return "money" if "EUR" in str(found.get("examples")) else kinds.get(str(found.get("type")), "any")


def _meaning(schema: dict[str, Any]) -> str:
    options = [schema, *schema.get("anyOf", [])]
    text = next((each["description"] for each in options if "description" in each), "")
    example = next((each["examples"][0] for each in options if each.get("examples")), None)
    return f"{text}{', as ' if text and example is not None else ''}{f'`{example}`' if example is not None else ''}"


def page() -> str:
    """The page docs/reference/entities.md."""
    from wendelin.storage.ubm.registry import types

    found = types()
    head = (
        "# Types of entities\n\n"
        "What `wendelin entity types` shows. Every type has `uid`, `reference`, `state`, `created`, `modified`,\n"
        "`creator` and `trail` besides; how to use them: [](../how-to/entities.md).\n\n"
    )
    sections = "\n".join(section(cls) for cls in found.values())
    return f"{head}{workflows(found)}\n{sections}"


if __name__ == "__main__":
    import sys

    sys.stdout.write(page())
