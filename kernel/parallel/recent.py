"""What a worker keeps mapped between two tasks: to map and touch 100 MB anew costs as much as many a task.

Only what is read only, a few arrays, and not for long: a mapping keeps the memory of a file whose call has ended.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

#: Arrays that are kept, and the seconds after their last use.
KEPT, SECONDS = 4, 1.0


class Recent:
    """Arrays by what they are. Safe in threads; its own ends when nothing is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Any, tuple[float, npt.NDArray[Any]]] = OrderedDict()
        self._thread: threading.Thread | None = None

    def get(self, key: Any, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """A view of the kept array, or of one that is made now."""
        with self._lock:
            _, found = self._arrays.get(key, (0.0, None))
        if found is None:
            found = make()
        with self._lock:
            self._arrays[key] = time.monotonic(), found
            self._arrays.move_to_end(key)
            while len(self._arrays) > KEPT:
                self._arrays.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._forget, name="wendelin-recent", daemon=True)
                self._thread.start()
        return found.view()

    def __len__(self) -> int:
        return len(self._arrays)

    def _forget(self) -> None:
        while True:
            time.sleep(SECONDS / 2)
            with self._lock:
                old = time.monotonic() - SECONDS
                for key in [key for key, (used, _) in self._arrays.items() if used < old]:
                    del self._arrays[key]
                if not self._arrays:
                    self._thread = None
                    return
