"""A session: what one IPython shell holds of Wendelin. One connection, and the transactions of its cells.

Nothing here knows IPython. ZODB, ZEO and NumPy load with the first opening, so that a kernel starts as quickly as a
plain one. The session is a synchronizer of its thread's transaction manager, which is how every commit in the shell,
`transaction.commit()` by hand included, carries who made it and from which cell.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import sys
import threading
from collections.abc import Callable, MutableMapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from wendelin.kernel.past import Past
from wendelin.kernel.ubm import names_of
from wendelin.storage.errors import ForeignThreadError, UnavailableError, UsageError

if TYPE_CHECKING:
    from types import FrameType

    from wendelin.storage.database.connection import Connection

#: Characters of a transaction's description that tell the cell.
HINT_LENGTH = 120


class InterruptedAfterCommit(KeyboardInterrupt):  # it is no error
    """Ctrl-C came during a commit. The commit was completed before."""


class Session:
    """A connection and its transactions, for the thread that made the session.

    `namespace` receives `db`, `root`, `ubm`, `np` and `wendelin` when a database is open, through `push` if that is
    given; while none is, the first three are `Missing`, which raise what to do.
    """

    def __init__(self, namespace: MutableMapping[str, Any], push: Callable[[dict[str, Any]], object] | None = None):
        self.namespace = namespace
        self._push = push or namespace.update
        self.connection: Connection | None = None
        self.problem: BaseException | None = None
        self.past = Past()
        self.hint = ""
        self._thread = threading.get_ident()
        self._manager: OneThread | None = None

    # -- the connection

    @property
    def manager(self) -> OneThread:
        """The transaction manager of the session's thread: `transaction.manager`, as this thread sees it."""
        if self._manager is None:
            self._manager = OneThread(self._thread)
            self._manager.registerSynch(self)
        return self._manager

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is the one that may use the connection."""
        return threading.get_ident() == self._thread

    @property
    def _is_unused(self) -> bool:
        """Whether there cannot be a transaction yet. Then its package, which takes a while to load, stays away."""
        return self._manager is None and "transaction" not in sys.modules

    def open(self, url: str | None = None, *, read_only: bool = False) -> Connection:
        """Connect to `url` (nothing: the default database) and bind `db`, `root`, `ubm`, `np` and `wendelin`.

        A connection that was open is closed, which raises `UsageError` when it holds uncommitted changes; while
        another database cannot be opened, that one stays. Raises what `wendelin.connect` raises.
        """
        import wendelin
        from wendelin.storage.database.urls import parse

        self.manager.check()
        if self.connection is not None and parse(url).url == self.connection.url:
            self._close_previous()  # first: only a database without connections starts its server
        try:
            connection = wendelin.connect(url, read_only=read_only, transaction_manager=self.manager)
        except (Exception, KeyboardInterrupt) as problem:
            if self.connection is None:
                self._miss(problem)
            raise
        try:
            names = names_of(connection)
            self._close_previous()
        except BaseException:
            connection.close()
            raise
        self.connection, self.problem = connection, None
        self._bind(names)
        return connection

    def ensure_open(self) -> None:
        """Open the default database if that was not tried yet. Never raises: `problem` tells why it failed."""
        if self.connection is None and self.problem is None:
            with contextlib.suppress(Exception, KeyboardInterrupt):  # Python must work on; `db` tells why it failed
                self.open()
        elif self.connection is not None and "db" not in self.namespace:  # after %reset
            self._bind(names_of(self.connection))

    def close(self) -> None:
        """Abort what is open, close the connection and leave the transaction manager. For a shell's end."""
        if self._manager is None:
            return
        with contextlib.suppress(Exception):
            self._manager.abort()
        with contextlib.suppress(Exception):
            self.past.close()
        if self.connection is not None:
            with contextlib.suppress(Exception):
                self.connection.close()
        with contextlib.suppress(KeyError):
            self._manager.unregisterSynch(self)
        self.connection, self._manager = None, None

    def _miss(self, problem: BaseException) -> None:
        self.problem = problem
        missing = Missing(problem)
        self._bind({"db": missing, "root": missing, "ubm": missing})

    def _close_previous(self) -> None:
        from ZODB.POSException import ConnectionStateError

        if self.connection is None:
            return
        self.past.close()
        try:
            self.connection.close()
        except ConnectionStateError as error:
            raise UsageError(
                f"{error}; the open database holds changes of this transaction: %wendelin commit or %wendelin abort "
                "first, or open the other one in a cell of its own"
            ) from None
        self.connection = None

    def _bind(self, names: dict[str, Any]) -> None:
        import numpy as np

        import wendelin

        plain = {"np": np, "wendelin": wendelin}
        self._push({**names, **{name: value for name, value in plain.items() if name not in self.namespace}})

    # -- transactions

    def begin(self) -> None:
        """A fresh snapshot; what was not committed is given up."""
        if self._is_unused:
            return
        self.manager.begin()
        if self.manager.refused and self.connection is not None:
            self.connection.cacheMinimize()  # objects that another thread changed in memory load again
            self.manager.refused = False

    def commit(self, note: str = "") -> None:
        """Store all changes for good, or none: then abort, and raise what went wrong.

        The first Ctrl-C during a commit waits for its end and then raises `InterruptedAfterCommit`; a second one
        breaks the commit off.
        """
        if self._is_unused:
            return
        try:
            if self.manager.refused:
                raise ForeignThreadError(
                    "another thread (a subshell?) tried to change data through db or root meanwhile, so nothing was "
                    "stored; run it again"
                )
            if note:
                self.manager.get().note(note)
            with OneInterruptWaits() as interrupt:
                self.manager.commit()
        except BaseException:
            self.abort()
            raise
        if interrupt.came:
            raise InterruptedAfterCommit("Ctrl-C came during the commit, which was completed: the changes are stored")

    def abort(self) -> None:
        """Give up all changes since the last commit. Python variables keep their values."""
        if self._is_unused:
            return
        with contextlib.suppress(ConnectionError):  # a server that is gone has nothing to take back
            self.manager.abort()

    # -- what the transaction manager calls

    def newTransaction(self, transaction: Any) -> None:
        """Nothing to do at a beginning: transactions that begin implicitly are not announced."""

    def beforeCompletion(self, transaction: Any) -> None:
        """Sign the transaction, and watch how its commit goes."""
        from transaction.interfaces import TransactionFailedError

        from wendelin.kernel.blame import Witness

        if not transaction.user:
            transaction.user = user_name()
        transaction.note(self.hint)
        with contextlib.suppress(TransactionFailedError):  # it is aborted after a commit that failed
            transaction.join(Witness(self))

    def afterCompletion(self, transaction: Any) -> None:
        """Nothing to do at an end."""


class OneThread:
    """A thread's transaction manager, which refuses every other thread.

    `transaction.manager` would give another thread (a subshell) a manager of its own: what that thread changed through
    the session's connection would join a transaction that nobody commits. `refused` tells that one tried: by then it
    has changed the object in memory.
    """

    refused = False

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self.check()
        import transaction

        self._manager = transaction.manager.manager

    def check(self) -> None:
        """Raise `ForeignThreadError` unless the calling thread owns the session."""
        if threading.get_ident() != self._thread:
            raise ForeignThreadError(
                f"db and root belong to the kernel's main thread, this is {threading.current_thread().name!r} (a "
                "subshell?): here, open a connection of your own with wendelin.connect(read_only=True)"
            )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if threading.get_ident() != self._thread:
            self.refused = True
            self.check()
        return getattr(self._manager, name)


class Missing:
    """Stands for `db`, `root` or `ubm` while no database is open: whatever one does with it raises the reason."""

    def __init__(self, problem: BaseException) -> None:
        self._problem = problem

    def _refuse(self, *args: Any) -> Any:
        raise UnavailableError(no_database(self._problem)) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what displays and copies look for
            raise AttributeError(name)
        self._refuse()

    __getitem__ = __setitem__ = __delitem__ = __contains__ = __iter__ = __len__ = __call__ = _refuse

    def __repr__(self) -> str:
        return f"<no database: {no_database(self._problem)}>"


def no_database(problem: BaseException) -> str:
    """Why there is no database, and what to type."""
    reason = str(problem) or type(problem).__name__
    return f"{reason}\nAfterwards `%wendelin open` tries again (`%wendelin open URL`: another database)."


def user_name() -> str:
    """Who works here: the hub's user, else the system's."""
    hub = os.environ.get("JUPYTERHUB_USER")
    if hub:
        return hub
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run under numbers without names
        return f"uid {os.getuid()}"


def cell_hint(count: int, code: str) -> str:
    """What a transaction's description tells of its cell: notebook, number and first line of code."""
    lines = [line.strip() for line in code.splitlines() if line.strip()]
    first = next((line for line in lines if not line.startswith("#")), lines[0] if lines else "")
    return _trimmed(f"{notebook_name()}[{count}] {first}")


def callback_hint() -> str:
    """What a transaction's description tells of a widget's callback."""
    return _trimmed(f"{notebook_name()}widget callback")


def notebook_name() -> str:
    """The notebook's name and a space, where Jupyter tells it."""
    path = os.environ.get("JPY_SESSION_NAME", "")
    return f"{PurePath(path).name} " if path else ""


def _trimmed(text: str) -> str:
    text = text.strip()
    return text if len(text) <= HINT_LENGTH else text[: HINT_LENGTH - 1] + "…"


class OneInterruptWaits:
    """Keeps the first Ctrl-C until the block ends, in `came`; a second one interrupts at once.

    Signals reach the main thread only: in another one this does nothing.
    """

    came = False

    def __enter__(self) -> OneInterruptWaits:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
