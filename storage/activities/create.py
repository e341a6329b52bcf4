"""`activate`: leave a call for a worker, in the running transaction.

`data.activate(tag="nightly").process(0, 1000)` on a stored object, `wendelin.activate(function)(0, 1000)` for a plain
function. The call happens if and only if the transaction commits.
"""

from __future__ import annotations

import difflib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import transaction

from wendelin.storage.activities import active
from wendelin.storage.activities.handle import ActivityHandle
from wendelin.storage.activities.message import Message
from wendelin.storage.activities.options import Options, checked
from wendelin.storage.activities.process import ActiveProcess
from wendelin.storage.activities.queue import made_queue
from wendelin.storage.errors import NotStoredError, OptionError

_operations: dict[str, Callable[..., Any]] = {}


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register a function under its name, so that stored objects have it as an activity: `obj.activate().name(…)`.

    It is called with the object first. A later one of the same name replaces it, as in a notebook; between two modules
    that is no intention, so there it warns.
    """
    before = _operations.get(function.__name__)
    if before is not None and _is_anothers(before, function):
        warnings.warn(
            f"the operation {function.__name__!r} of {before.__module__} is replaced by that of {function.__module__}: "
            "give one of them another name",
            stacklevel=2,
        )
    _operations[function.__name__] = function
    return function


def _is_anothers(before: Callable[..., Any], function: Callable[..., Any]) -> bool:
    """Whether two operations are those of two modules; a notebook's and those made within functions are not."""
    modules = {before.__module__, function.__module__}
    inner = "<locals>" in before.__qualname__ + function.__qualname__
    same = _file(before) == _file(function) is not None  # imported under two names
    return len(modules) == 2 and "__main__" not in modules and not inner and not same


def _file(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return None if code is None else str(code.co_filename)


def registered(name: str) -> Callable[..., Any] | None:
    """The operation of that name."""
    return _operations.get(name)


def activator(obj: Any, options: dict[str, Any]) -> Activator:
    """What `obj.activate(**options)` returns."""
    connection = getattr(obj, "_p_jar", None)
    if connection is None:
        raise NotStoredError(
            f"{obj!r} is in no database yet: put it into one, root['name'] = obj, and call transaction.savepoint() "
            "or transaction.commit() first"
        )
    process = options.pop("active_process", None)
    return Activator(connection, obj, checked(options), process)


class Activator:
    """Stands for an object whose methods are called later."""

    def __init__(self, connection: Any, target: Any, options: Options, process: ActiveProcess | None) -> None:
        self._connection, self._target, self._options, self._process = connection, target, options, process

    def __getattr__(self, name: str) -> Callable[..., ActivityHandle]:
        if name.startswith("_"):
            raise AttributeError(name)
        function = None
        if not callable(getattr(type(self._target), name, None)):
            function = _operations.get(name)
            if function is None:
                near = difflib.get_close_matches(name, list(self.__dir__()), 1)
                hint = f"; did you mean {near[0]}?" if near else ": register one with @wendelin.operation"
                raise AttributeError(f"{type(self._target).__name__} has no method or operation {name!r}{hint}")
        return functools.partial(_create, self._connection, self._target, name, function, self._options, self._process)

    def __dir__(self) -> Iterator[str]:
        methods = (name for name in dir(type(self._target)) if callable(getattr(type(self._target), name, None)))
        return iter(sorted({*(name for name in methods if not name.startswith("_")), *_operations}))


def activate(
    function: Callable[..., Any], *, connection: Any = None, active_process: ActiveProcess | None = None, **options: Any
) -> Callable[..., ActivityHandle]:
    """`activate(function, **options)(*arguments)` lets a worker call the function after this transaction's commit.

    Parameters
    ----------
    function
        Anything that can be called. What a worker can import is stored by name, all else, as a notebook's functions,
        with its code.
    connection
        Whose database gets the message; by default the open connection of this thread's transactions.
    active_process
        Where the result, or the traceback, is posted.
    tag, after_tag, after_method_id, after_path, after_path_and_method_id, after_tag_and_method_id
        It runs when no other message is left that has one of these tags, methods or objects.
    serialization_tag
        At most one message of the same such tag runs at any time.
    priority, at_date, delay, node
        From -128 (first) to 127; not before that time; not before so many seconds; only while the node of that name
        dispatches.
    unique
        Nothing is added while another message with the same object, method and tag waits.
    group_method_id, group_method_cost
        Messages with the same one are run together in one transaction: each as itself for "", else by calling the
        operation of that name with a list of them. The costs of a group add up to 1 at most.
    max_retry, conflict_retry, on_error_callback, timeout
        Repetitions after an error (5); whether a conflict is repeated; an operation that is called with the message
        when it fails for good; seconds that one run may take.
    progress
        What bars and monitors call it; by default the name of the method. It says itself how far it is:
        `wendelin.progress`.

    Raises `OptionError` for options that make no sense. The call runs as the user who created it, its effects in the
    database happen exactly once; effects elsewhere may be repeated, see `wendelin.activity_key`.
    """
    if not callable(function):
        raise OptionError(f"activate({function!r}): give a function, or call obj.activate() on a stored object")
    found = connection if connection is not None else _only_connection()
    name = getattr(function, "__qualname__", type(function).__name__)
    return functools.partial(_create, found, None, name, function, checked(options), active_process)


def _create(
    connection: Any,
    target: Any,
    name: str,
    function: Callable[..., Any] | None,
    options: Options,
    process: ActiveProcess | None,
    /,
    *arguments: Any,
    **named: Any,
) -> ActivityHandle:
    queue = made_queue(connection)
    message = Message(connection, target, name, (function, arguments, named), options, _helpers(options))
    message.process = process
    connection.add(message)
    queue.add(message)
    _tell_after_commit(connection)
    return ActivityHandle(connection.url, message._p_oid, message.uid, name)


def _helpers(options: Options) -> dict[str, Callable[..., Any]]:
    """The operations that options name, which workers may not have."""
    found: dict[str, Callable[..., Any]] = {}
    for option in ("group_method_id", "on_error_callback"):
        name = getattr(options, option)
        if name:
            if name not in _operations:
                raise OptionError(f"{option}={name!r} is no operation: register the function with @wendelin.operation")
            found[name] = _operations[name]
    return found


def _tell_after_commit(connection: Any) -> None:
    running = connection.transaction_manager.get()
    told: set[str] = running.data(_tell) if _has_data(running) else set()
    if not told:
        running.set_data(_tell, told)
        running.addAfterCommitHook(_tell, (told,))
    told.add(connection.url)


def _has_data(running: Any) -> bool:
    try:
        running.data(_tell)
    except KeyError:
        return False
    return True


def _tell(committed: bool, urls: set[str]) -> None:
    if committed:
        for call in active.after_commit:
            for url in urls:
                call(url)


def _only_connection() -> Any:
    """The one open connection that takes part in this thread's transactions."""
    from wendelin.storage.database.connection import Connection

    manager = transaction.manager.manager
    found: list[Any] = []
    manager._synchs.map(lambda synch: found.append(synch) if isinstance(synch, Connection) else None)
    open_ones = [connection for connection in found if connection.opened and not connection.isReadOnly()]
    if len(open_ones) != 1:
        raise OptionError(
            f"this thread has {len(open_ones) or 'no'} open connection{'s' if len(open_ones) != 1 else ''} that can "
            "store an activity: say which, wendelin.activate(function, connection=conn)"
        )
    return open_ones[0]
