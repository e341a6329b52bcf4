"""`Active`: what every stored class of ours inherits, so that `obj.activate().method()` works. Imports nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.activities.create import Activator


#: Called with the database's URL after a commit that left activities: what makes sure that somebody works on them.
after_commit: list[Callable[[str], object]] = []


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
