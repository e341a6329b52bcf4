"""From another thread back to the thread where widgets live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Schedule = Callable[[Callable[[], None]], None]
"""Runs a function without arguments soon, where widgets may be touched."""


def is_running() -> bool:
    """Whether this thread runs an event loop, as cells of a notebook and dashboards do."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def here() -> Schedule:
    """How to come back to the thread that calls this.

    In a kernel cells run inside an event loop: functions are handed to it and run between cells. Without a loop (a
    plain program, a test) there is nobody to hand them to: they run at once, in the thread that has them.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda function: function()

    def schedule(function: Callable[[], None]) -> None:
        # The loop ends with the kernel; what comes after has nobody to see it.
        if not loop.is_closed():
            loop.call_soon_threadsafe(function)

    return schedule
