"""What was committed, and taking it back."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any

import transaction
from ZODB.POSException import ConflictError, POSKeyError, UndoError
from ZODB.utils import z64

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.database.history import TransactionInfo, last_transactions
from wendelin.storage.errors import (
    MomentError,
    NoHistoryError,
    PastIsReadOnlyError,
    StateGoneError,
    UndoRefusedError,
)
from wendelin.storage.history.moments import moment, told
from wendelin.storage.history.putting_back import put_back
from wendelin.storage.history.states import latest, transactions_from
from wendelin.storage.history.tables import Listed, moment_text, one_line, size_text

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection

#: Later transactions that a refused undo names, and objects among whose names it looks.
_NAMED, _SEARCHED = 5, 20_000


class Transactions(Listed[TransactionInfo]):
    """Transactions of a database, newest first."""

    title = "Transactions"
    columns = ("transaction", "time", "user", "note", "size")
    right = (4,)

    def rows(self) -> list[Any]:
        """Texts of each."""
        return [
            (
                info.tid.hex(),
                moment_text(info.time),
                _user(info.user),
                one_line(info.note.splitlines()),
                size_text(info.size),
            )
            for info in self
        ]


def history(conn: Connection, limit: int = 20) -> Transactions:
    """The last `limit` transactions of the connection's database, newest first; those that packing left.

    As committed now, by all processes. Each has `tid`, `time` (UTC), `user`, `note` and `size`; a cell shows a table.
    """
    return Transactions(last_transactions(conn, limit))


def undo(conn: Connection, tid: Any, note: str = "") -> TransactionInfo:
    """Take back what transaction `tid` changed, by a new transaction of its own, and return that one.

    `tid`: as `history` shows it, or one of its items. The connection sees it at its next transaction. Raises
    `UndoRefusedError`, and changes nothing, when later transactions changed the same: it names them, undo them first.
    Raises `StateGoneError` for a transaction that does not exist or was packed, `ReadOnlyError` on such a connection.
    """
    number = moment(tid)
    if not isinstance(number, bytes):
        raise MomentError(f"{tid!r} is no transaction: give 16 hex digits, as wendelin.history(conn) shows them")
    if conn.before is not None:
        raise PastIsReadOnlyError("this connection shows an earlier state: undo it in the latest state, connect(url)")
    db = conn.db()
    if not db.supportsUndo():
        raise NoHistoryError(f"{db.storage.getName()} cannot undo: it keeps no history")
    manager = transaction.TransactionManager()
    running = manager.begin()
    wanted = note or f"undo of {number.hex()}"
    running.note(wanted)
    try:
        db.undo(base64.encodebytes(number).rstrip(), running)
        manager.commit()
    except (UndoError, ConflictError, POSKeyError) as error:
        manager.abort()
        if not _put_back(conn, number, wanted):
            raise _refused(conn, number, error) from error
    except BaseException:
        manager.abort()
        raise
    return next(info for info in last_transactions(conn, 100) if info.note == wanted.strip())


def _put_back(conn: Connection, tid: bytes, note: str) -> bool:
    oids = _changed(conn, tid)
    try:
        return bool(oids) and put_back(conn, tid, oids or set(), note)
    except (ConflictError, POSKeyError):
        return False


def _refused(conn: Connection, tid: bytes, error: Exception) -> Exception:
    oids = _changed(conn, tid)
    if oids is None:
        return StateGoneError(
            f"there is no transaction {tid.hex()} to undo, or it was packed away: wendelin.history(conn) lists those "
            "there are"
        )
    later = _later(conn, tid, oids)
    if not later:
        return UndoRefusedError(f"transaction {told(tid)} cannot be undone: {error}")
    names = _names(conn, {oid for each in later.values() for oid in each[1]})
    lines = [
        f"{told(number)}{f' by {_user(entry.user)}' if entry.user else ''}, {entry.note!r}, which changed "
        + ", ".join(sorted({names.get(oid, f"object {oid.hex()}") for oid in objects})[:_NAMED])
        for number, (entry, objects) in sorted(later.items(), reverse=True)[:_NAMED]
    ]
    return UndoRefusedError(
        f"transaction {told(tid)} cannot be undone, because what it changed was changed again by {'; '.join(lines)}. "
        "Undo those first, the newest first, or write the wanted values in a new transaction "
        f"(wendelin.connect(url, at=…) shows the earlier ones)"
    )


def _changed(conn: Connection, tid: bytes) -> set[bytes] | None:
    """The objects that a transaction stored; None when there is no such transaction, or only what packing left."""
    with transactions_from(conn.db().storage, tid, tid) as found:
        for each in found:
            if each.tid == tid:
                return None if each.status == "p" else {bytes(record.oid) for record in each}
    return None


def _later(conn: Connection, tid: bytes, oids: set[bytes]) -> dict[bytes, tuple[TransactionInfo, list[bytes]]]:
    """The transactions after `tid` that changed one of `oids` again, with what they changed of these."""
    out: dict[bytes, tuple[TransactionInfo, list[bytes]]] = {}
    with latest(conn.db()) as storage:
        for oid in oids:
            with contextlib.suppress(KeyError):
                for entry in storage.history(oid, size=50):
                    number = bytes(entry["tid"])
                    if number > tid:
                        out.setdefault(number, (TransactionInfo.of(number, entry), []))[1].append(oid)
    return out


def _names(conn: Connection, oids: set[bytes]) -> dict[bytes, str]:
    """Where objects lie: arrays, their extent maps, and what else has a name."""
    out = {z64: "the root folder"}
    for count, (path, value) in enumerate(conn.root().walk()):
        if count > _SEARCHED or len(out) == len(oids):
            break
        known = {getattr(value, "_p_oid", None)}
        if isinstance(value, ZBigArray):
            known.add(value.extents._p_oid)
        out.update((oid, repr(path)) for oid in known & oids if oid is not None)
    return out


def _user(user: str) -> str:
    return user.removeprefix("/").strip()
