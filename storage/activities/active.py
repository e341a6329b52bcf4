"""`Active`: what every stored class of ours inherits, so that `obj.activate().method()` works. Imports nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wendelin.storage.activities.create import Activator
    from wendelin.storage.activities.progress import Progress


class Shown(Protocol):
    """What shows how far an activity is to somebody who waits for it."""

    def show(self, state: str, progress: Progress | None) -> None:
        """It is in that state, and said that of itself."""

    def end(self, state: str) -> None:
        """The waiting is over."""


#: Called with the database's URL after a commit that left activities: what makes sure that somebody works on them.
after_commit: list[Callable[[str], object]] = []

#: Called with an activity's name when somebody waits for it: what shows it, the first that gives something; a front end
#: puts its own before the text bar of terminals.
while_waiting: list[Callable[[str], Shown | None]] = []


class Active:
    """Objects whose methods, and registered operations, workers can call later."""

    def activate(self, **options: Any) -> Activator:
        """`obj.activate(**options).method(*arguments)` lets a worker call the method after this transaction's commit.

        The method is one of the object's class, or an operation registered with `@wendelin.operation`. Returns when
        the call is noted, with an `ActivityHandle`. Options: see `wendelin.activate`. Raises `OptionError`, and
        `NotStoredError` for an object that is in no database yet.
        """
        from wendelin.storage.activities.create import activator

        return activator(self, options)
