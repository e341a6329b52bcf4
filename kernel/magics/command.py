"""What the subcommands share: a parser that explains mistakes, and the way to the open database."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from IPython.core.error import UsageError
from IPython.utils.process import arg_split  # type: ignore[attr-defined]  # re-exported for each system

from wendelin.kernel.session import no_database

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics
    from wendelin.kernel.session import Session
    from wendelin.storage.database.connection import Connection

Options = argparse.Namespace


class _HelpShown(Exception):
    """The parser printed its help: there is nothing to run."""


class Parser(argparse.ArgumentParser):
    """Raises what other parsers exit with."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; write {self.format_usage().removeprefix('usage: ').strip()}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise _HelpShown

    def arguments(self) -> list[argparse.Action]:
        """All it takes, in order."""
        return list(self._actions)

    def options(self) -> list[str]:
        """What begins with dashes."""
        return [option for action in self._actions for option in action.option_strings]

    def choices(self, before: Sequence[str]) -> list[str]:
        """The words to choose from behind the words `before`; none where anything goes."""
        arguments = [action for action in self._actions if not action.option_strings]
        named = {option: action for action in self._actions for option in action.option_strings}
        place = sum(not word.startswith("-") for word in before)
        action = named.get(before[-1]) if before else None
        if action is None and arguments:
            action = arguments[min(place, len(arguments) - 1)]
        return [] if action is None else [str(choice) for choice in action.choices or ()]


@dataclass(frozen=True)
class Command:
    """A subcommand: how it is called, and what it does.

    `arguments` fills the parser; `run` takes the magics and the parsed options, and gives what the cell shows.
    `completes_paths`: whether positional arguments are paths in the database; `completes` gives what Tab offers behind
    the subcommand, for others. `run_cell`, of a subcommand
    that is the first line of a cell, takes the cell too.
    """

    name: str
    summary: str
    arguments: Callable[[Parser], object]
    run: Callable[[WendelinMagics, Options], Any]
    details: str = ""
    completes_paths: bool = False
    completes: Callable[[Session, list[str]], tuple[str, list[str], str] | None] | None = None
    run_cell: Callable[[WendelinMagics, Options, str], Any] | None = None

    @property
    def magic(self) -> str:
        """How it is written."""
        return f"{'%wendelin' if self.run_cell is None else '%%wendelin'} {self.name}"

    @cached_property
    def parser(self) -> Parser:
        """The parser, made at the first use."""
        description = f"{self.summary[0].upper()}{self.summary[1:]}. {self.details}".strip()
        parser = Parser(prog=self.magic, description=description)
        self.arguments(parser)
        return parser

    def parse(self, line: str) -> Options | None:
        """The options in a line, or None when it asked for help, which is printed then."""
        try:
            return self.parser.parse_args([_unquoted(word) for word in arg_split(line)])
        except ValueError as error:  # quotes that do not close
            raise UsageError(f"{error}: {line!r}") from None
        except _HelpShown:
            return None


def _unquoted(word: str) -> str:
    """A word without the quotes around it; those within belong to a Python expression."""
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word


def nothing(parser: Parser) -> None:
    """For subcommands without arguments."""


def connection(magics: WendelinMagics) -> Connection:
    """The open connection; `UsageError` with the reason when there is none or this is another thread."""
    session = magics.session
    session.manager.check()
    session.ensure_open()
    if session.connection is None:
        assert session.problem is not None
        raise UsageError(no_database(session.problem))
    return session.connection


def root(magics: WendelinMagics) -> Mapping[str, Any]:
    """The root folder of the open database."""
    found: Mapping[str, Any] = connection(magics).root()
    return found


def at(magics: WendelinMagics, path: str) -> Any:
    """What is stored at a path; "" and "/" are the root. `UsageError` names what is there instead."""
    top = root(magics)
    path = path.strip("/")
    if not path:
        return top
    try:
        return top[path]
    except (KeyError, ValueError) as error:
        raise UsageError(str(error.args[0] if error.args else error)) from None


__all__ = ["Command", "Options", "Parser", "at", "connection", "nothing", "root"]
