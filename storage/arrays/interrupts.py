"""Ctrl-C waits while addresses are being mapped: a half-followed array would show a mixture of two states."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_holding = False


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT back; it is delivered when the outermost block ends. Other threads never get it."""
    global _holding
    if _holding or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> Any:
        came.append((number, frame))

    try:
        _holding = True
        signal.signal(signal.SIGINT, note)
        yield
    finally:
        _holding = False
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[-1])
