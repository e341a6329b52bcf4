"""`%wendelin entity …`: business objects. The commands of `wendelin entity`, in the transaction of the cell."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from IPython.core.error import UsageError

from wendelin.kernel.display import Table, entities_table
from wendelin.kernel.entity_completion import completed
from wendelin.kernel.magics.command import Command, Options, Parser, connection
from wendelin.storage.ubm import command as shell

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics
    from wendelin.storage.ubm.entities import Entities

DETAILS = (
    "Entities are named by reference or uid; FIELD=VALUE sets a field or a relation: %wendelin entity create plant "
    "title='Roof 4' peak_power='12.3 kW' owner=ACME. Everything belongs to the transaction of the cell. "
    "%wendelin entity COMMAND --help tells more."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    names = ", ".join(shell.entity.commands)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help=f"{names}; with its arguments")


class EntityCommand(Command):
    """Words are split as a shell does it: title="Roof 4" is one."""

    def parse(self, line: str) -> Options | None:
        """The words; None when help was asked for, which is printed then."""
        try:
            words = shlex.split(line)
        except ValueError as error:  # quotes that do not close
            raise UsageError(f"{error}: {line!r}") from None
        return super().parse(line) if words[:1] in (["--help"], ["-h"]) else Options(words=words)


def run(magics: WendelinMagics, options: Options) -> Any:
    """Run a command of `wendelin entity` on the open database."""
    words = options.words
    if not words:
        sys.stdout.write(_help())
        return None
    name = words[0]
    command = shell.entity.commands.get(name)
    if command is None:
        raise UsageError(f"%wendelin entity has no command {name!r}: it has {', '.join(shell.entity.commands)}")
    if any(word == "--db" or word.startswith("--db=") for word in words):
        raise UsageError("--db is for the command line: %wendelin open URL opens another database here")
    rest = [*words[1:], "--yes"] if name == "delete" else words[1:]  # the cell can be taken back
    try:
        with command.make_context(f"%wendelin entity {name}", rest, obj=connection(magics)) as context:
            shown = SHOWN.get(name)
            if shown is None or context.params.get("as_json"):
                return command.invoke(context)
            return shown(context.obj, **context.params)
    except click.exceptions.Exit:  # it was asked for help
        return None
    except click.ClickException as error:
        raise UsageError(error.format_message()) from error
    except SystemExit:  # an import left lines out, and has told which
        return None


def _help() -> str:
    commands = shell.entity.commands.items()
    return "\n".join([*(f"%wendelin entity {name:<10}{each.get_short_help_str(90)}" for name, each in commands), ""])


# -- what is shown instead of the command line's text


def _list(db: Any, kind: str | None, state: str | None, text: str | None, related: Any, limit: int, **_: Any) -> Table:
    query = {"type": kind, "state": state, "text": text, "relation": shell._pairs(related) or None}
    found = _ubm(db).search(**{name: value for name, value in query.items() if value is not None}, limit=limit)
    if not found:
        return Table("entities", (), [], footer="none: %wendelin entity create TYPE title=… makes one")
    return entities_table(found, f"--limit {found.total} shows all")


def _show(db: Any, name: str, **_: Any) -> Any:
    return _ubm(db)[name]


def _create(db: Any, kind: str, values: tuple[str, ...], reference: str | None, **_: Any) -> Any:
    from wendelin.storage.ubm.entities import entities

    return entities(db).create(kind, reference, **shell._typed(kind, values))


def _set(db: Any, name: str, values: tuple[str, ...], **_: Any) -> Any:
    found = _ubm(db)[name]
    found.set(**shell._typed(found.type, values))
    return found


def _do(db: Any, name: str, transition: str, why: str, **_: Any) -> Any:
    found = _ubm(db)[name]
    found.do(transition, why)
    return found


def _types(db: Any, name: str | None, **_: Any) -> Any:
    from wendelin.storage.ubm import reference, registry

    if name is not None:
        from IPython.display import Markdown

        return Markdown(reference.section(registry.type_named(name)))  # type: ignore[no-untyped-call]
    rows = [(each, ", ".join(cls.roles), reference.first_line(cls)) for each, cls in registry.types().items()]
    return Table("types of entities", ("type", "role", ""), rows, footer="%wendelin entity types TYPE: its fields")


def _ubm(db: Any) -> Entities | Any:
    from wendelin.kernel.ubm import LazyEntities

    return LazyEntities(db)


SHOWN: dict[str, Callable[..., Any]] = {
    "list": _list,
    "show": _show,
    "create": _create,
    "set": _set,
    "do": _do,
    "types": _types,
}

COMMAND = EntityCommand(
    "entity", "list, show, create and change business objects", arguments, run, DETAILS, completes=completed
)
