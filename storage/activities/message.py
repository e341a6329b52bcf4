"""`Message`: one activity as it lies in the database. Its record changes only by those who end, retry or stop it."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from persistent import Persistent
from persistent.wref import WeakRef

from wendelin.storage.activities.call import packed, unpacked
from wendelin.storage.activities.options import Options, path_of
from wendelin.storage.activities.user import current_user
from wendelin.storage.errors import MissingObjectError

#: States. The first is the only one from which a worker runs a message.
PENDING, DONE, FAILED, CANCELLED, SKIPPED = "pending", "done", "failed", "cancelled", "skipped"

#: What becomes of a `unique` message while its like waits, and of one whose object is gone.
MERGED, MISSING = "merged", "missing"

#: Seconds before the first repetition after an error; see `Message.failed`.
RETRY_SECONDS = 30.0

#: What the dispatcher must know of a new message: path, method, options, date. It stands in the inbox.
Ticket = tuple[str, str, tuple[tuple[str, Any], ...], float]

#: Repetitions after an error, unless `max_retry` says otherwise.
MAX_RETRY = 5


class Message(Persistent):
    """One call that was asked for, by whom, when, under which conditions, and what became of it.

    `uid` is a random key that is the same however often the method is run: give it to systems outside the database, so
    that they notice repetitions. `state`: pending, done, failed, cancelled, skipped, merged or missing.
    """

    # What a record does not say; it is written at the end of each message, so it is short.
    target: WeakRef | None = None
    path = error = node = ""
    helpers = b""
    references: Sequence[Any] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    tries = 0
    not_before = ended = 0.0
    result: bytes | None = None
    process: Any = None

    def __init__(
        self,
        connection: Any,
        target: Any,
        method_id: str,
        call: tuple[Any, Any, Any],
        options: Options,
        helpers: dict[str, Any] | None = None,
    ) -> None:
        self.uid = secrets.token_hex(12)
        self.target = None if target is None else WeakRef(target)
        self.path = "" if target is None else path_of(target)
        self.method_id = method_id
        self.call, references = packed(call, connection)
        self.helpers, more = packed(helpers, connection) if helpers else (b"", [])
        self.references = [obj for obj in (*references, *more) if obj is not target]
        self.settings = {
            field.name: value
            for field in dataclasses.fields(options)
            if (value := getattr(options, field.name)) != field.default
        }
        self.user = current_user()
        self.created = time.time()
        self.state = PENDING
        self.not_before = max(options.at_date or 0.0, self.created + options.delay if options.delay else 0.0)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if value is not None and value not in _USUAL.get(name, ())}

    @property
    def ticket(self) -> Ticket | None:
        """What spares the dispatcher a look at it; None for a `unique` one, whose state decides about others."""
        if self.settings.get("unique"):
            return None
        return self.path, self.method_id, tuple(self.settings.items()), self.not_before

    @property
    def options(self) -> Options:
        """What `activate` was given."""
        found: Options | None = self.__dict__.get("_v_options")
        if found is None:
            found = self._v_options = Options(**self.settings)
        return found

    def helper(self, name: str) -> Any:
        """An operation that its options name: of the group, or to be told when it fails."""
        return unpacked(self.helpers, self._p_jar)[name]

    @property
    def is_pending(self) -> bool:
        """Whether it is still to be run."""
        return self.state == PENDING

    def run(self) -> Any:
        """Call what is to be called. Raises what that raises, and `MissingObjectError` when its object is gone."""
        target = None
        if self.target is not None:
            target = self.target()
            if target is None:
                raise MissingObjectError(f"the object {self.path} of {self!r} does not exist any more")
        function, arguments, named = unpacked(self.call, self._p_jar)
        if function is None:
            return getattr(target, self.method_id)(*arguments, **named)
        return function(*arguments, **named) if target is None else function(target, *arguments, **named)

    def end(self, result: Any, node: str = "") -> None:
        """Note that it has run, and what it returned. What was to be called is forgotten, arguments too."""
        self.call, self.helpers, self.references = b"", b"", ()
        if result is not None:
            self.result, self.references = packed(result, self._p_jar)
        self.state, self.ended, self.error, self.node = DONE, time.time(), "", node

    def failed(self, error: str, node: str = "", *, last: bool = False) -> None:
        """Note an error: it is tried again later, each time later, and fails after the `last` time.

        The n-th repetition waits 30 s × (n² + 1) (CMFActivity's rule), or n × `delay` where that was given, and up to
        a fifth more at random, so that many that failed together do not come back together.
        """
        options = self.options
        most = MAX_RETRY if options.max_retry is None else options.max_retry
        self.error, self.node = error, node
        if last or self.tries >= most:
            self.state, self.ended = FAILED, time.time()
            return
        seconds = RETRY_SECONDS * (self.tries**2 + 1) if options.delay is None else options.delay * (self.tries + 1)
        self.tries += 1
        self.not_before = time.time() + seconds * (1 + secrets.randbelow(1000) / 5000)

    def stop(self, state: str) -> None:
        """It will not run: a person cancels or skips it, its like waits already, or its object is gone."""
        self.state, self.ended = state, time.time()

    def retry(self) -> None:
        """A person wants it to be run again, now."""
        self.state, self.tries, self.not_before, self.ended = PENDING, 0, 0.0, 0.0

    def value(self) -> Any:
        """What it returned. None before it has."""
        return None if self.result is None else unpacked(self.result, self._p_jar)

    def __repr__(self) -> str:
        where = f"{self.path}." if self.path else ""
        return f"<Message {self.uid[:8]} {where}{self.method_id} {self.state}>"


#: Values that a record leaves out.
_USUAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("path", "error", "node"), ("",)),
    **dict.fromkeys(("helpers", "references", "settings"), (b"", [], (), {})),
    **dict.fromkeys(("tries", "not_before", "ended"), (0,)),
}

Message.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
