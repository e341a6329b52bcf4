"""How many activities go to a worker in one call: few where they take long, many where they are short and many wait.

A call costs a question to the server, and a commit of its own an `fsync`: short activities share both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wendelin.storage.activities.order import Item
from wendelin.storage.activities.run import Outcome

#: Activities of one call at most, and seconds that they should take together.
MOST, SECONDS = 50, 0.02


@dataclass
class _Method:
    seconds: float = 0.0
    """What one takes: the longest of the last ones, others count for a fifth."""
    size: int = 1
    """Of one call; less after those that did not end together."""


class Pace:
    """What one dispatcher knows of methods; by their names. One thread."""

    def __init__(self) -> None:
        self._methods: dict[str, _Method] = {}

    def together(self, item: Item) -> int:
        """How many of its method may share its call; 1 until the first has ended, or when its time is limited."""
        method = self._methods.get(item.method_id)
        if method is None or item.options.timeout is not None:
            return 1
        return max(1, min(method.size, int(SECONDS / max(method.seconds, 1e-6))))

    def learn(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        """A call has come back."""
        took = [outcome.seconds for outcome in outcomes if outcome.kind == "ended"]
        if items[0].options.group_method_id is not None or not took:
            return
        method = self._methods.setdefault(items[0].method_id, _Method())
        method.seconds = max(*took, 0.8 * method.seconds + 0.2 * max(took))
        if len(items) > 1 and not any(outcome.shared for outcome in outcomes):
            method.size = max(1, method.size // 4)
        else:
            method.size = min(MOST, 4 * method.size)
