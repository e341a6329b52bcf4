"""What was committed, and when."""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection


@dataclass(frozen=True, repr=False)
class TransactionInfo:
    """One committed transaction. `time` is in UTC; `size` in bytes of records, blobs not counted, None if unknown."""

    tid: bytes
    time: datetime
    user: str
    note: str
    size: int | None

    @classmethod
    def of(cls, tid: bytes, entry: dict[str, Any]) -> TransactionInfo:
        """From what a storage tells, of a transaction or of one of its objects (then of that one's size)."""
        time = datetime.fromtimestamp(entry["time"], UTC)
        return cls(tid, time, _text(entry["user_name"]), _text(entry["description"]), entry.get("size"))

    def __repr__(self) -> str:
        by = f" by {self.user}" if self.user.strip() else ""
        size = "" if self.size is None else f", {self.size:,} bytes"
        return f"<transaction {self.tid.hex()} of {self.time:%Y-%m-%d %H:%M:%S} UTC{by}{size}: {self.note!r}>"


def last_transactions(conn: Connection, n: int = 10) -> list[TransactionInfo]:
    """The last `n` transactions of the connection's database, newest first.

    Of all processes, as committed now, not as the connection's snapshot sees it. Fewer than `n` when there are no
    more or when older ones were packed. Reads only headers.
    """
    if n < 0:
        raise ValueError(f"n is {n}; how many transactions? last_transactions(conn, 10)")
    if n == 0:
        return []
    from ZODB.POSException import ReadOnlyError  # not at the top: importing `connect` loads this module

    try:
        entries = conn.db().storage.undoLog(0, n)
    except ReadOnlyError:  # FileStorage tells those only who could undo
        return _walked(conn.db().storage, n)
    return [TransactionInfo.of(base64.decodebytes(entry["id"]), entry) for entry in entries]


def _walked(storage: Any, n: int) -> list[TransactionInfo]:
    """The same by walking through all transactions."""
    from wendelin.storage.history.moments import time_of
    from wendelin.storage.history.states import transactions_from

    with transactions_from(storage) as found:
        last = deque((each for each in found if each.status == " "), n)
    return [
        TransactionInfo(bytes(each.tid), time_of(each.tid), _text(each.user), _text(each.description), None)
        for each in reversed(last)
    ]


def _text(value: bytes | str) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text.strip()
