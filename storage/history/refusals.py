"""What connections to earlier states refuse, as errors that say what to do."""

from __future__ import annotations

from typing import Any

from persistent import UPTODATE
from ZODB.POSException import POSKeyError, ReadOnlyHistoryError

from wendelin.storage.errors import PastIsReadOnlyError, StateGoneError
from wendelin.storage.history.moments import told
from wendelin.storage.history.snapshots import snapshot


class ReadOnlyPast(PastIsReadOnlyError, ReadOnlyHistoryError):
    """`PastIsReadOnlyError` for those who know ZODB."""


class PackedAway(StateGoneError, POSKeyError):
    """`StateGoneError` for those who know ZODB."""

    __str__ = Exception.__str__


def refused(connection: Any, obj: Any) -> ReadOnlyPast:
    """`obj` of an earlier state was to be changed: it shows what is stored again."""
    if obj._p_state == UPTODATE:  # a folder notes first, and tells then
        obj._p_invalidate()
    return ReadOnlyPast(
        f"this {type(obj).__name__} is of the state of {told(snapshot(connection))}, which cannot be changed: change "
        "it in the latest one, wendelin.connect(url)"
    )


def packed_away(connection: Any, error: POSKeyError) -> PackedAway:
    """An object of an earlier state is not there any more."""
    return PackedAway(
        f"an object of the state of {told(snapshot(connection))} is not in the database any more ({error}): that state "
        "was packed away; wendelin.history(conn) lists what is there, and a tag, conn.tag(name), keeps a state"
    )
