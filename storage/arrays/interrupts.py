"""Ctrl-C waits while addresses are being mapped: a half-followed array would show a mixture of two states."""

from __future__ import annotations

import importlib
import signal
import threading
from types import FrameType
from typing import Any

#: What lies beneath the functions of `signal`, which make enumeration members of numbers at ten times the cost.
_plain: Any = importlib.import_module("_signal")

_SIGINT = int(signal.SIGINT)

_holding = False


class uninterrupted:
    """Hold SIGINT back; it is delivered when the outermost block ends. Other threads never get it."""

    __slots__ = ("_came", "_handler")

    def __enter__(self) -> None:
        global _holding
        self._handler: Any = None
        if _holding or threading.current_thread() is not threading.main_thread():
            return
        handler = _plain.getsignal(_SIGINT)
        if not callable(handler):
            return
        self._came: list[tuple[int, FrameType | None]] = []
        try:
            _holding = True
            self._handler = handler
            _plain.signal(_SIGINT, self._note)
        except BaseException:
            _holding = False
            _plain.signal(_SIGINT, handler)
            raise

    def __exit__(self, *error: object) -> None:
        global _holding
        handler = self._handler
        if handler is not None:
            _holding = False
            _plain.signal(_SIGINT, handler)
            if self._came:
                handler(*self._came[-1])

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))
