"""Completion of `%wendelin` lines and of names in the database, as a matcher of IPython's completer (8.18 and later).

Names are found by prefix in the folder's tree, so a folder of millions answers as quickly as a small one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from wendelin.kernel.session import Session

#: Names offered at most.
OFFERED = 200

_MAGIC = re.compile(r"^\s*%%?wendelin\s+(?P<words>.*)$")
_KEY = re.compile(
    r"(?P<base>[A-Za-z_]\w*)(?P<keys>(?:\[(?:\"[^\"]*\"|'[^']*')\])*)\[(?P<quote>[\"'])(?P<path>[^\"']*)$"
)
_ONE_KEY = re.compile(r"\[[\"']([^\"']*)[\"']\]")

Matcher = Callable[[CompletionContext], SimpleMatcherResult]


def register(shell: InteractiveShell, session: Session) -> None:
    """Add the matcher to a shell's completer."""
    unregister(shell)
    shell.Completer.custom_matchers.append(matcher(shell, session))


def unregister(shell: InteractiveShell) -> None:
    """Take the matcher out of a shell's completer."""
    ours = [known for known in shell.Completer.custom_matchers if getattr(known, "is_wendelins", False)]
    for known in ours:
        shell.Completer.custom_matchers.remove(known)


def matcher(shell: InteractiveShell, session: Session) -> Matcher:
    """The matcher for a shell and its database."""

    @context_matcher(identifier="wendelin", priority=100)
    def match(context: CompletionContext) -> SimpleMatcherResult:
        if not session.is_mine:
            return {"completions": []}
        text = context.text_until_cursor
        found = _in_magic(text, session) or _in_key(text, shell.user_ns)
        if found is None:
            return {"completions": []}
        fragment, names, kind = found
        completions = [SimpleCompletion(text=name, type=kind) for name in names]
        return {"completions": completions, "matched_fragment": fragment, "suppress": bool(completions)}

    match.is_wendelins = True
    wrapped: Matcher = match
    return wrapped


Found = tuple[str, list[str], str]


def _in_magic(text: str, session: Session) -> Found | None:
    """Completions within a `%wendelin` line: the subcommand, its options, or a path."""
    from wendelin.kernel.magics import SUBCOMMANDS, subcommand

    line = _MAGIC.match(text)
    if line is None:
        return None
    words = line["words"].split(" ")
    last = words[-1]
    if len(words) == 1 or (words[0] == "help" and len(words) == 2):
        return last, [name for name in SUBCOMMANDS if name.startswith(last)], "magic"
    if words[0] not in SUBCOMMANDS:
        return None
    known = subcommand(words[0])
    if known.completes is not None:
        return known.completes(session, words[1:])
    if last.startswith("-"):
        return last, [option for option in known.parser.options() if option.startswith(last)], "option"
    choices = known.parser.choices(words[1:-1])
    if choices:
        return last, [choice for choice in choices if choice.startswith(last)], "option"
    if known.completes_paths and session.connection is not None:
        return last, paths(session.connection.root(), last), "path"
    return None


def _in_key(text: str, names: Mapping[str, Any]) -> Found | None:
    """Completions within `root["…`, or `root["plants"]["…`, of a name in the notebook that is a folder."""
    key = _KEY.search(text)
    if key is None:
        return None
    folder = _folder_at(names.get(key["base"]), _ONE_KEY.findall(key["keys"]))
    if folder is None:
        return None
    return key["path"], paths(folder, key["path"]), "path"


def _folder_at(value: Any, keys: Iterable[str]) -> Mapping[str, Any] | None:
    from wendelin.storage.folder import Folder

    for key in keys:
        if not isinstance(value, Folder) or key not in value:
            return None
        value = value[key]
    return value if isinstance(value, Folder) else None


def paths(folder: Mapping[str, Any], start: str) -> list[str]:
    """Paths below a folder that begin with `start`; those of folders end with a slash, to type on."""
    from wendelin.storage.folder import Folder

    above, slash, prefix = start.rpartition("/")
    found = _folder_at(folder, [part for part in above.split("/") if part])
    if not isinstance(found, Folder):
        return []
    names = islice(found.names(prefix), OFFERED)
    return [f"{above}{slash}{name}{'/' if isinstance(found[name], Folder) else ''}" for name in names]
