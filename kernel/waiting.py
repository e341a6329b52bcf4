"""The bar that a notebook shows while a cell waits for an activity: an output that is drawn over itself."""

from __future__ import annotations

import html
import time
from typing import Any

from wendelin.storage.activities.bar import clock, line
from wendelin.storage.activities.progress import Progress


class NotebookBar:
    """The bar of one activity, in the output of the running cell."""

    def __init__(self, name: str) -> None:
        self._name, self._begin = name, time.monotonic()
        self._handle: Any = None

    def show(self, state: str, progress: Progress | None) -> None:
        """Draw how far it is."""
        seconds = time.monotonic() - self._begin
        if progress is None:
            self._draw(f"{self._name}: {state} [{clock(seconds)}]", "<progress></progress>")
            return
        value = "" if progress.share is None else f' value="{progress.share:.4f}"'
        text = f"{self._name}: {line(progress.done, progress.total, seconds)} {progress.note}".rstrip()
        count = f"{progress.done:.10g}" + ("" if progress.total is None else f" of {progress.total:.10g}")
        self._draw(text, f"<progress{value}></progress>", f"{count} [{clock(seconds)}] {progress.note}")

    def end(self, state: str) -> None:
        """Only words are left."""
        self._draw(f"{self._name}: {state} [{clock(time.monotonic() - self._begin)}]", "")

    def _draw(self, text: str, bar: str, words: str = "") -> None:
        from IPython.display import display

        name = f"{self._name} " if bar and words else ""
        shown = f"<div>{html.escape(name)}{bar} {html.escape(words or text)}</div>"
        data = {"text/plain": text, "text/html": shown}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


def notebook_bar(name: str) -> NotebookBar | None:
    """A bar where a kernel runs; None in a terminal, which has another."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return NotebookBar(name) if shell is not None and getattr(shell, "kernel", None) is not None else None
