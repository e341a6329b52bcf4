"""What a shell shows of errors, with a last line of ours.

IPython shows the exception that ends a cell through `showtraceback(running_compiled_code=True)`, and every traceback
through `_showtraceback`, its own place for subclasses that put tracebacks elsewhere. Both are replaced on the shell's
instance, so any shell can have them, and lose them again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_HOOKS = ("showtraceback", "_showtraceback")


class Tracebacks:
    """Puts a line at the end of tracebacks.

    `line(ends_cell)` gives the line for the traceback that is about to be shown, or "". `shown` is the error whose
    traceback got a line last; set it to None to look for the next.
    """

    def __init__(self, shell: InteractiveShell, line: Callable[[bool], str]) -> None:
        self.shell = shell
        self.shown: BaseException | None = None
        self._line = line
        self._next = ""

    def on(self) -> None:
        """Replace the shell's methods."""
        for name in _HOOKS:
            setattr(self.shell, name, getattr(self, name))

    def off(self) -> None:
        """Give the shell its methods back."""
        for name in _HOOKS:
            delattr(self.shell, name)

    def show(self, error: BaseException, lines: list[str]) -> None:
        """Show an error as a few lines, without the places where it came from."""
        notes: list[str] = getattr(error, "__notes__", [])
        self._original("_showtraceback")(type(error), error, [f"{type(error).__name__}: {error}", *notes, *lines])

    def show_full(self, error: BaseException, line: str) -> None:
        """Show an error with the places where it came from, and a last line."""
        self._next = line
        self._original("showtraceback")((type(error), error, error.__traceback__))

    def showtraceback(self, *args: Any, **options: Any) -> None:
        """Instead of the shell's method."""
        self._next = self._line(bool(options.get("running_compiled_code")))
        if self._next:
            self.shown = sys.exc_info()[1]
        self._original("showtraceback")(*args, **options)
        if self._next:  # usage errors and groups of exceptions take other ways to the screen
            say(self._next)
            self._next = ""

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        """Instead of the shell's method."""
        line, self._next = self._next, ""
        self._original("_showtraceback")(etype, evalue, [*stb, line] if line else stb)

    def _original(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(type(self.shell), name).__get__(self.shell)
        return function


def say(text: str) -> None:
    """A line beside the cell's output, as warnings are."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
