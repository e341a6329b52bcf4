"""What tests of dispatchers share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tests.storage.activities.operations import process
from wendelin.kernel.activity.dispatcher import Dispatcher

__all__ = ["process", "running", "until"]


class running:
    """A dispatcher in a thread."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.thread = threading.Thread(target=dispatcher.run)

    def __enter__(self) -> Dispatcher:
        self.thread.start()
        return self.dispatcher

    def __exit__(self, *error: object) -> None:
        self.dispatcher.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = 60, told: Callable[[], object] = str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not come about: {told()}"
        time.sleep(0.02)
    return found
