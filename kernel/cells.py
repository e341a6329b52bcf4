"""Cells are transactions: what ties a session to the events of an IPython shell.

`pre_run_cell` and `post_run_cell` are a cell's two ends. A commit that fails turns the cell's result into an error;
ipykernel looks at the result only after these events, so its reply says "error" and tools that run notebooks stop.
Only cells that a user ran count, those with history: front ends run others behind the user's back.

All hooks lie on the shell's instance and are given back by `off()`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wendelin.kernel.callbacks import Callbacks
from wendelin.kernel.session import InterruptedAfterCommit, Session, cell_hint, no_database
from wendelin.kernel.tracebacks import Tracebacks, say

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

WENT_BACK = "Wendelin: stored data is back at its last commit; Python variables keep what this cell gave them."
CALLBACK_RAISED = "A widget's callback raised while this cell was waiting, so nothing of both was stored."


class Cells:
    """The transactions of a shell's cells and widget callbacks. `on()` and `off()` switch them."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self.shell = shell
        self.session = session
        self.active = False
        self.tracebacks = Tracebacks(shell, self._last_line)
        self.callbacks = Callbacks(shell, session, self.tracebacks, self)
        self._thread = threading.get_ident()
        self._running: list[ExecutionInfo] = []  # the user's cell and what it runs by `get_ipython().run_cell`
        self._callback_error: BaseException | None = None
        self._announced = ""

    # -- switching

    def on(self) -> None:
        """From the next cell on, cells are transactions."""
        if not self.active:
            self.active = True
            for event, function in self._events():
                self.shell.events.register(event, function)
            self.tracebacks.on()
            self.callbacks.on()
            setattr(self.shell, "safe_execfile", self.safe_execfile)  # noqa: B010  # mypy refuses to assign methods

    def off(self) -> None:
        """Give back all hooks. The transaction of the running cell stays open."""
        if self.active:
            self.active = False
            self._running.clear()
            for event, function in self._events():
                self.shell.events.unregister(event, function)
            self.tracebacks.off()
            self.callbacks.off()
            delattr(self.shell, "safe_execfile")

    def _events(self) -> list[tuple[str, Callable[..., None]]]:
        return [
            ("pre_execute", self.pre_execute),
            ("pre_run_cell", self.pre_run_cell),
            ("post_run_cell", self.post_run_cell),
        ]

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the shell's own, not a subshell's."""
        return threading.get_ident() == self._thread

    @property
    def is_running(self) -> bool:
        """Whether a user's cell runs, or waits for something."""
        return bool(self._running)

    # -- the two ends of a cell

    def pre_execute(self) -> None:
        """Before any code, the user's or not: names that `%reset` took away are there again."""
        if self.is_mine and self.session.connection is not None:
            self.session.ensure_open()

    def pre_run_cell(self, info: ExecutionInfo) -> None:
        """A cell begins: a fresh view of the database."""
        if not self.is_mine:
            return
        if self._running:
            self._running.append(info)
        elif info.store_history and not info.silent:
            self._running.append(info)
            self._callback_error = self.tracebacks.shown = None
            self.session.hint = cell_hint(self._number(), info.raw_cell or "")
            self._announce_problem()
            try:
                self.session.begin()
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # Python works on; touching data raises
                say(f"Wendelin: no fresh view of the database: {str(error) or type(error).__name__}")

    def post_run_cell(self, result: ExecutionResult | None) -> None:
        """A cell ends: commit, or abort when it failed."""
        if not self.is_mine or not self._ends(result):
            return
        try:
            failed = self._callback_error or _error(self.shell, result)
            if failed is None:
                self.session.commit()
            else:
                self._take_back(result, failed)
        except InterruptedAfterCommit as done:
            say(f"Wendelin: {done}.")
        except BaseException as error:  # noqa: BLE001  # IPython's events would swallow it, Ctrl-C too
            self._fail(result, error)
        finally:
            self.session.hint = ""

    def _ends(self, result: ExecutionResult | None) -> bool:
        """Whether the user's own cell ended, not one that it ran itself."""
        if not self._running:
            return False
        info = None if result is None else result.info
        top = self._running[-1]
        # An interrupt inside IPython makes a new info for the same cell; a blank cell has an end but no beginning.
        if info is None or info is top or (info.raw_cell, info.store_history) == (top.raw_cell, top.store_history):
            self._running.pop()
        return not self._running

    def _take_back(self, result: ExecutionResult | None, failed: BaseException) -> None:
        self.session.abort()
        if _error(self.shell, result) is None:  # the cell went well, a callback within it did not
            self._set_error(result, failed)
            self.tracebacks.show(failed, [CALLBACK_RAISED])
        elif self.tracebacks.shown is None and _ran(result) and self.session.connection is not None:
            say(WENT_BACK)

    def _fail(self, result: ExecutionResult | None, error: BaseException) -> None:
        """The commit failed, so the cell did."""
        from wendelin.kernel.advice import advice

        self._set_error(result, error)
        told = advice(error, "this cell")
        if told:
            self.tracebacks.show(error, [told])
        else:  # not foreseen: show where it happened
            self.tracebacks.show_full(error, WENT_BACK)

    def _set_error(self, result: ExecutionResult | None, error: BaseException) -> None:
        if result is not None:
            result.error_in_exec = error
        self.shell.last_execution_succeeded = False

    def _number(self) -> int:
        """The number of the cell that begins; IPython counts on before or after this, by its version."""
        history = self.shell.history_manager
        return self.shell.execution_count if history is None else len(history.input_hist_parsed)

    def _announce_problem(self) -> None:
        problem = self.session.problem
        told = "" if problem is None else no_database(problem)
        if told != self._announced:
            self._announced = told
            if told:
                say(f"Wendelin: no database is open. {told}")

    # -- for the hooks

    def callback_failed(self, error: BaseException) -> None:
        """A callback within a waiting cell raised: the cell must not store what the callback left half done."""
        self._callback_error = error

    def safe_execfile(self, *args: Any, **options: Any) -> Any:
        """Instead of the shell's method: `%run` in a cell raises what its script raises, so that the cell fails."""
        if self.is_mine and self.is_running:
            options["raise_exceptions"] = True
        return type(self.shell).safe_execfile(self.shell, *args, **options)  # type: ignore[no-untyped-call]

    def _last_line(self, ends_cell: bool) -> str:
        if not self.is_mine:
            return ""
        if self.callbacks.is_running:
            return self.callbacks.last_line
        return WENT_BACK if ends_cell and len(self._running) == 1 and self.session.connection is not None else ""


def _error(shell: InteractiveShell, result: ExecutionResult | None) -> BaseException | None:
    """What made a cell fail, as far as IPython knows; a result that could not be shown counts too."""
    if result is None:
        return KeyboardInterrupt("the cell was cancelled")
    error: BaseException | None = result.error_before_exec or result.error_in_exec
    if error is None and getattr(shell, "_last_traceback_during_displayhook", False):
        return RuntimeError("the result could not be shown")
    return error


def _ran(result: ExecutionResult | None) -> bool:
    return result is None or result.error_before_exec is None
