"""Why transactions conflicted: what resolvers refused, in which process, and what clients were told.

ZODB tells a client which object conflicted, not why: a resolver's reason is only logged, and on ZEO in the server. So
every process of a torture notes what it refuses to merge in one file, by object and states, and the torture looks up
there what each client's conflict was about.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ZODB import ConflictResolution
from ZODB.POSException import ConflictError

FILE = "refusals"

UNEXPECTED = "unexpected: "
"""What a reason begins with that makes the torture fail."""

#: Conflicts that no merge can avoid, by what must be in their reason.
ADMITTED = {
    "POSKeyError": "the state that the transaction began with was packed away",
    "CommitLockedError": "another process did not finish its commit in time",
}

#: The same, of a process that does not know whether it, or the killed one before it, has committed: with itself.
ADMITTED_AFTER_A_KILL = {
    "both transactions wrote the same block": "a commit of its own, whose end it did not see, was stored meanwhile",
    "both transactions changed '": "a commit of its own, whose end it did not see, was stored meanwhile",
}


class _Reason:
    """Stands in for ZODB's logger, which alone is told why a conflict was not resolved."""

    def __init__(self) -> None:
        self.text = ""

    def debug(self, message: str, *arguments: Any) -> None:
        self.text = message % arguments

    def exception(self, message: str, *arguments: Any) -> None:
        error = sys.exception()
        self.text = f"{message % arguments}: {type(error).__name__}: {error}"


def install(place: Path) -> None:
    """Note what this process refuses to merge. Never undone: the process dies."""
    reason, real = _Reason(), ConflictResolution.tryToResolveConflict

    def noted(storage: Any, oid: bytes, committed: bytes, old: bytes, *more: Any, **options: Any) -> Any:
        try:
            return real(storage, oid, committed, old, *more, **options)
        except ConflictError:
            with (place / FILE).open("ab", buffering=0) as file:
                file.write(f"{_key(oid, committed, old)} {_line(reason.text)}\n".encode())
            raise

    ConflictResolution.logger = reason
    ConflictResolution.ConflictResolvingStorage.tryToResolveConflict = noted


def told(error: ConflictError, *, after_a_kill: bool) -> str:
    """What a client knows of its conflict, in one line: object and states, when, and what it was told."""
    known = "-" if error.oid is None or error.serials is None else _key(error.oid, *error.serials)
    return f"{known} {'after-a-kill' if after_a_kill else 'undisturbed'} {type(error).__name__}: {_line(str(error))}"


def reasons(place: Path, conflicts: list[str]) -> dict[str, int]:
    """How often each reason stands behind what a client was `told`; what is not admitted is said to be unexpected."""
    path = place / FILE
    refused = dict(line.split(" ", 1) for line in path.read_text().splitlines()) if path.exists() else {}
    counted: Counter[str] = Counter()
    for line in conflicts:
        key, when, text = line.split(" ", 2)
        reason = f"{refused[key]} ({text})" if key in refused else text
        known = ADMITTED | (ADMITTED_AFTER_A_KILL if when == "after-a-kill" else {})
        found = [admitted for words, admitted in known.items() if words in reason]
        counted[found[0] if found else UNEXPECTED + reason] += 1
    return dict(counted)


def _key(oid: bytes, *serials: bytes) -> str:
    return ":".join([oid.hex(), *sorted(serial.hex() for serial in serials)])


def _line(text: str) -> str:
    return " ".join(text.split())
