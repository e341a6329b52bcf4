"""A progress bar as text: a line that is drawn over itself, for terminals only."""

from __future__ import annotations

import sys
import time

from wendelin.storage.activities.progress import Progress

#: Seconds between two drawings, and before the first one: what is quick needs no bar.
PACE_SECONDS, QUIET_SECONDS = 0.1, 0.5

_WIDTH = 30


def line(done: float, total: float | None, seconds: float, unit: str = "") -> str:
    """A bar after so many seconds; without a total only what is done, with its `unit`."""
    rate = done / seconds if seconds > 0 else 0.0
    if not total:
        return f"{done:g}{unit} [{clock(seconds)}, {rate:.1f}/s]"
    share = min(max(done / total, 0.0), 1.0)
    full = int(_WIDTH * share)
    left = clock(max(0.0, total - done) / rate) if rate else "?"
    bar = "█" * full + " " * (_WIDTH - full)
    return f"{int(100 * share):3d}%|{bar}| {done:.10g}/{total:.10g} [{clock(seconds)}<{left}, {rate:.1f}/s]"


def clock(seconds: float) -> str:
    """As 03:25, or 1:03:25."""
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02d}:{whole % 60:02d}"


class TextBar:
    """The bar of one activity that somebody waits for, on stderr."""

    def __init__(self, name: str) -> None:
        self._name, self._begin, self._length = name, time.monotonic(), 0

    def show(self, state: str, progress: Progress | None) -> None:
        """Draw how far it is."""
        seconds = time.monotonic() - self._begin
        if progress is None:
            text = f"{self._name}: {state} [{clock(seconds)}]"
        else:
            text = f"{self._name}: {line(progress.done, progress.total, seconds)} {progress.note}".rstrip()
        self._draw(text)

    def end(self, state: str) -> None:
        """Leave the last line there."""
        self._draw(f"{self._name}: {state} [{clock(time.monotonic() - self._begin)}]")
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _draw(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(self._length))
        sys.stderr.flush()
        self._length = len(text)


def text_bar(name: str) -> TextBar | None:
    """A bar where a terminal shows it."""
    return TextBar(name) if sys.stderr is not None and sys.stderr.isatty() else None
