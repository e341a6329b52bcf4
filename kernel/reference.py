"""The page about `%wendelin` in the documentation, made from the parsers.

python -m wendelin.kernel.reference > docs/reference/magics.md
"""

from __future__ import annotations

import argparse
import sys

from wendelin.kernel.magics import SUBCOMMANDS, subcommand

INTRODUCTION = """# The `%wendelin` magic

In the Wendelin kernel it is there from the start, elsewhere after `%load_ext wendelin`. Tab completes subcommands,
options and names in the database. A mistake shows one sentence and fails the cell, which so stores nothing.
`%wendelin help SUBCOMMAND` shows the same as this page.
"""


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([INTRODUCTION, *(_section(name) for name in SUBCOMMANDS)])


def _section(name: str) -> str:
    command = subcommand(name)
    actions = [action for action in command.parser.arguments() if action.dest != "help"]
    positional = [_usage(action) for action in actions if not action.option_strings]
    options = [f"[{_option(action)}]" for action in actions if action.option_strings]
    title = f"## `{' '.join([command.magic, *positional, *options])}`"
    text = f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}".strip()
    rows = [
        f"| `{_option(action) if action.option_strings else _name(action)}` | {action.help} |" for action in actions
    ]
    table = ["", "| | |", "|---|---|", *rows] if rows else []
    return "\n".join([title, "", text, *table, ""])


def _usage(action: argparse.Action) -> str:
    name = _name(action)
    return {"?": f"[{name}]", "+": f"{name} …"}.get(str(action.nargs), name)


def _name(action: argparse.Action) -> str:
    return str(action.metavar or action.dest)


def _option(action: argparse.Action) -> str:
    values = "/".join(map(str, action.choices or ())) or action.metavar or action.dest.upper()
    value = "" if action.nargs == 0 else f" {values}"
    return f"{', '.join(action.option_strings)}{value}"


if __name__ == "__main__":
    sys.stdout.write(page())
