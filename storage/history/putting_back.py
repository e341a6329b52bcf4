"""Taking a transaction back where only derived data stand in the way: what searches keep is not undone, but made anew.

ZODB undoes all records of a transaction or none. Rows of the catalogue move on after the transaction that wrote them,
so undoing these would say that they are where they are not any more. Here all other records get their former states,
merged with later changes as an undo merges them, and each entity tells the catalogue what it is now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transaction
from ZODB.POSException import ConflictError, POSKeyError
from ZODB.utils import z64

if TYPE_CHECKING:
    from wendelin.storage.database.connection import Connection


def put_back(conn: Connection, tid: bytes, oids: set[bytes], note: str) -> bool:
    """Give the objects that transaction `tid` changed their states of before, in a transaction of its own.

    False, and nothing happens, where none of them is derived from others, or what was made cannot be unmade. Raises
    `ConflictError` where later transactions changed the same. `oids`: all that it changed.
    """
    manager = transaction.TransactionManager()
    here = conn.db().open(manager)
    try:
        manager.begin().note(note)
        objects = {oid: found for oid in oids if (found := _found(here, oid)) is not None}
        derived = {oid for oid, found in objects.items() if getattr(found, "is_derived", False)}
        told = [found for found in objects.values() if hasattr(found, "taken_back")]
        if not derived or not told:
            return False
        before = _before(conn, tid, oids - derived)
        if any(state is None and oid in objects and objects[oid]._p_serial != tid for oid, state in before.items()):
            raise ConflictError("what it made was changed since")
        made = [found for found in told if before[found._p_oid] is None]
        for found in made:
            found.taken_back(made=True)
        for oid, state in before.items():
            if state is not None and oid in objects:
                _set(here, objects[oid], state, tid)
        for found in told:
            if found not in made:
                found.taken_back(made=False)
        manager.commit()
    finally:
        manager.abort()
        here.close()
    return True


def _before(conn: Connection, tid: bytes, oids: set[bytes]) -> dict[bytes, bytes | None]:
    """The records of objects before a transaction; None for those that it has made."""
    past = conn.db().open(transaction.TransactionManager(), before=tid)
    out: dict[bytes, bytes | None] = {}
    try:
        for oid in oids:
            try:
                out[oid] = past._storage.load(oid)[0]
            except POSKeyError:
                out[oid] = None
    finally:
        past.close()
    return out


def _found(here: Connection, oid: bytes) -> Any:
    try:
        found = here.get(oid)
        found._p_activate()
    except POSKeyError:
        return None
    return found


def _set(here: Connection, found: Any, state: bytes, tid: bytes) -> None:
    """As if it had been loaded at `tid` and changed to that state: later changes are merged, or conflict."""
    if found._p_serial == z64:
        raise ConflictError(object=found)
    found._p_activate()
    found.__setstate__(here._reader.getState(state))
    found._p_serial = tid
    found._p_changed = True
