"""A live tile of a database: where it is, whether it answers, how big it is, and who committed what last.

::

    tile = StatusTile(wendelin.connect(read_only=True))
    tile            # in a notebook or a Voilà dashboard

- Commits of any process appear within a second, pushed: the page does not ask.
- The page asks every ten seconds whether the kernel still lives; without an answer it says so itself.
- It reads headers of transactions only, no object and no array, and writes nothing: a read-only connection will do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from wendelin.widgets.loop import here
from wendelin.widgets.observer import Observer, Seen

_HERE = Path(__file__).parent

WORDS: Final = {
    "loading": "Looking for the database",
    "connected": "Connected",
    "empty": "Connected, nothing stored yet",
    "disconnected": "Disconnected",
    "error": "Error",
    "closed": "Closed",
}


class StatusTile(anywidget.AnyWidget):
    """The tile. `connection` is `wendelin.connect(...)`; `limit` is the number of transactions shown (1…20).

    Traits (read them, or `observe` them): ``url`` without a password; ``state``, one of the keys of `WORDS`;
    ``size`` in bytes, −1 unknown; ``transactions``, newest first, dicts of ``time`` (ISO 8601, UTC), ``user``,
    ``note`` and ``tid`` (hexadecimal); ``problem``, words for the state "error".

    *Concurrency*: looks from a thread of its own; traits change in the kernel's event loop. `close()` ends both.
    """

    _esm = _HERE / "status.js"
    _css = _HERE / "status.css"

    url = traitlets.Unicode("").tag(sync=True)
    state = traitlets.Enum(list(WORDS), "loading").tag(sync=True)
    size = traitlets.Float(-1).tag(sync=True)
    transactions = traitlets.List(traitlets.Dict()).tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)
    words = traitlets.Dict(WORDS).tag(sync=True)

    def __init__(self, connection: Any, *, limit: int = 5, **options: Any) -> None:
        if not 1 <= limit <= 20:
            raise ValueError(f"limit is {limit}: a tile shows 1 to 20 transactions")
        super().__init__(url=connection.url, **options)
        self._schedule = here()
        self.on_msg(self._answer)
        self._observer = Observer(connection, self._arrived, limit=limit)

    def close(self) -> None:
        """Stop looking, and take the tile off the page."""
        observer = getattr(self, "_observer", None)
        if observer is not None:
            observer.close()
            self.state = "closed"
        super().close()

    def _arrived(self, seen: Seen) -> None:
        """In the observer's thread."""
        self._schedule(lambda: self._show(seen))

    def _show(self, seen: Seen) -> None:
        if self.state == "closed":
            return
        with self.hold_sync():
            self.state = seen.state
            self.size = -1 if seen.size is None else float(seen.size)
            self.problem = seen.problem
            self.transactions = [
                {"time": t.time.isoformat(), "user": t.user, "note": t.note, "tid": t.tid.hex()}
                for t in seen.transactions
            ]

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """The page asks whether the kernel lives: that it is answered is the answer."""
        if isinstance(content, dict) and content.get("ask") == "alive":
            self.send({"alive": True})
            self._observer.look()

    def __repr__(self) -> str:
        parts = [WORDS[self.state].lower(), self.url]
        if self.problem:
            parts.append(self.problem)
        if self.size >= 0:
            parts.append(in_bytes(self.size))
        if self.transactions:
            last = self.transactions[0]
            parts.append(f"last commit {last['time'][:19].replace('T', ' ')} UTC: {last['note'] or 'no note'!s}")
        return f"<StatusTile {', '.join(parts)}>"


def in_bytes(count: float) -> str:
    """A size in decimal units, as disks are sold: ``"8.6 MB"``."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
