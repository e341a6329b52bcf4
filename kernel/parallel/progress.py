"""A bar on stderr: how many tasks of a call are done, how fast, how long it will take."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from wendelin.storage.activities.bar import line

#: Seconds between two drawings.
_PACE = 0.1


class Bar:
    """The bar of one call. Safe in threads."""

    def __init__(self, parallel: Any) -> None:
        self._parallel = parallel
        self._begin = time.monotonic()
        self._drawn = 0.0
        self._lock = threading.Lock()

    @classmethod
    def wanted(cls, parallel: Any, progress: bool | None) -> Bar | None:
        """A bar if it was asked for; None: when joblib is verbose and somebody looks at stderr."""
        if progress is None:
            progress = bool(parallel.verbose) and _is_seen()
        return cls(parallel) if progress else None

    def show(self, *, last: bool = False) -> None:
        """Draw it, unless that was done a moment ago."""
        with self._lock:
            now = time.monotonic()
            if not last and now - self._drawn < _PACE:
                return
            self._drawn = now
            sys.stderr.write(f"\r{self.line(now - self._begin)}" + ("\n" if last else ""))
            sys.stderr.flush()

    def line(self, seconds: float) -> str:
        """What is drawn after so many seconds."""
        parallel = self._parallel
        done, total = parallel.n_completed_tasks, parallel.n_tasks
        if total is None and not parallel._iterating and parallel._original_iterator is None:
            total = parallel.n_dispatched_tasks
        return line(done, total, seconds, " tasks")


def _is_seen() -> bool:
    """A terminal, or a notebook's stream, which has no file descriptor of a terminal but shows `\\r`."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")
