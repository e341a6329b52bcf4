"""Callbacks of widgets are transactions of their own: comm messages that arrive while no cell runs.

A message that arrives while an `async` cell waits belongs to that cell's transaction, since one connection has one
transaction at a time; when its callback raises, the cell fails.

Exceptions of callbacks do not reach the handlers: ipywidgets shows them as tracebacks, the comm manager logs them.
So both places are watched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wendelin.kernel.session import InterruptedAfterCommit, Session, callback_hint

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from wendelin.kernel.cells import Cells
    from wendelin.kernel.tracebacks import Tracebacks

CALLBACK_WENT_BACK = "Wendelin: what this callback stored was taken back; Python variables keep what it gave them."
WITH_CELL_WENT_BACK = "Wendelin: the waiting cell fails with this callback: stored data will go back for both."

Handler = Callable[[Any, Any, dict[str, Any]], Any]


class Callbacks:
    """Puts transactions around the comm handlers of a shell's kernel; shells without a kernel have none."""

    def __init__(self, shell: InteractiveShell, session: Session, tracebacks: Tracebacks, cells: Cells) -> None:
        self.session = session
        self.tracebacks = tracebacks
        self.cells = cells
        self.is_running = False
        kernel = getattr(shell, "kernel", None)
        self._handlers: dict[str, Handler] = getattr(kernel, "shell_handlers", {})
        self._replaced: dict[str, Handler] = {}

    @property
    def last_line(self) -> str:
        """What a traceback of a callback ends with."""
        return WITH_CELL_WENT_BACK if self.cells.is_running else CALLBACK_WENT_BACK

    def on(self) -> None:
        """Replace the kernel's comm handlers."""
        self._replaced = {n: self._handlers[n] for n in ("comm_open", "comm_msg", "comm_close") if n in self._handlers}
        for name, handler in self._replaced.items():
            self._handlers[name] = self._wrapped(handler)

    def off(self) -> None:
        """Give the kernel its handlers back."""
        self._handlers.update(self._replaced)

    def _wrapped(self, handler: Handler) -> Handler:
        def handle(stream: Any, ident: Any, message: dict[str, Any]) -> None:
            if not self.cells.is_mine:
                handler(stream, ident, message)
            elif self.cells.is_running:
                error = self._error_of(handler, stream, ident, message)
                if error is not None:
                    self.cells.callback_failed(error)
            else:
                self.session.ensure_open()
                self.session.hint = callback_hint()
                try:
                    self._transaction(lambda: self._error_of(handler, stream, ident, message))
                finally:
                    self.session.hint = ""

        return handle

    def _transaction(self, work: Callable[[], BaseException | None]) -> None:
        try:
            self.session.begin()
            if work() is None:
                self.session.commit()
            else:
                self.session.abort()
        except InterruptedAfterCommit:
            pass
        except Exception as error:  # noqa: BLE001  # shown; the kernel would only log it
            self._show(error)
        except KeyboardInterrupt:
            self.session.abort()
            raise

    def _show(self, error: Exception) -> None:
        from wendelin.kernel.advice import advice

        told = advice(error, "this callback")
        if told:
            self.tracebacks.show(error, [told])
        else:
            self.tracebacks.show_full(error, CALLBACK_WENT_BACK)

    def _error_of(self, handler: Handler, *message: Any) -> BaseException | None:
        """Run a handler; the exception that its callback raised, after showing it."""
        self.tracebacks.shown = None
        self.is_running = True
        try:
            with _logged_errors() as logged:
                handler(*message)
            for error in logged:
                self.tracebacks.show_full(error, self.last_line)
            return logged[0] if logged else self.tracebacks.shown
        finally:
            self.is_running = False


@contextmanager
def _logged_errors() -> Iterator[list[BaseException]]:
    """Exceptions that the comm manager catches and logs meanwhile."""
    import comm.base_comm
    import ipykernel.comm.manager

    loggers = (comm.base_comm.logger, ipykernel.comm.manager.logger)
    errors: list[BaseException] = []

    class Catcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                errors.append(record.exc_info[1])

    catcher = Catcher()
    for logger in loggers:
        logger.addHandler(catcher)
    try:
        yield errors
    finally:
        for logger in loggers:
            logger.removeHandler(catcher)
