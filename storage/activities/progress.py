"""`wendelin.progress`: an activity says how far it is, to whoever watches, without a commit.

What it says goes through the engine to the dispatcher, which keeps the last word of each activity that runs, and tells
those who ask (see `report`). When nobody carries it, as in a plain call of the function, nothing happens.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from wendelin.storage.errors import OptionError

#: Seconds between two words of a call; the last one of a burst comes that much later.
PACE = 0.1

#: What carries a word of the call that this context runs to whoever started it; set by whoever runs calls.
carrier: ContextVar[Callable[[Any], object] | None] = ContextVar("wendelin_carrier", default=None)

_lock = threading.Lock()
_said = 0.0
_waiting: tuple[Callable[[Any], object], Any] | None = None


@dataclass(frozen=True)
class Progress:
    """How far an activity is: `done` of `total` (None: unknown), in any unit, and words about it."""

    done: float
    total: float | None = None
    note: str = ""

    @property
    def share(self) -> float | None:
        """From 0 to 1; None when the total is unknown."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total else None

    def __str__(self) -> str:
        count = f"{self.done:g}" if self.total is None else f"{self.done:g} of {self.total:g}"
        return f"{count}: {self.note}" if self.note else count


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Say within an activity that `done` of `total` is done, and `note` about it. Never waits, stores nothing.

    Those who watch see it within a second: `handle.progress`, `wendelin activity`, the monitor. Call it as often as you
    like. Outside of an activity it does nothing. Raises `OptionError` for what is no number.
    """
    for name, value in (("done", done), ("total", total)):
        if value is not None and (not hasattr(value, "__float__") or not math.isfinite(value)):
            raise OptionError(f"progress({name}={value!r}): give a number, such as progress(3, 10)")
    from wendelin.storage.activities.run import running

    message, carry = running(), carrier.get()
    if message is not None and carry is not None:
        _say(carry, (message.uid, float(done), None if total is None else float(total), str(note)[:200]))


def _say(carry: Callable[[Any], object], word: Any) -> None:
    global _said, _waiting
    with _lock:
        now = time.monotonic()
        if _waiting is not None and _waiting[0] is carry:
            _waiting = (carry, word)
            return
        if now - _said >= PACE:
            _said = now
        else:
            _waiting = (carry, word)
            timer = threading.Timer(PACE - (now - _said), _say_last)
            timer.daemon = True
            timer.start()
            return
    carry(word)


def _say_last() -> None:
    global _said, _waiting
    with _lock:
        last, _waiting, _said = _waiting, None, time.monotonic()
    if last is not None:
        last[0](last[1])
