"""What to do when a commit failed, in one or two sentences for the person who ran the cell."""

from __future__ import annotations

import errno
import pickle

from transaction.interfaces import DoomedTransaction, TransactionFailedError
from ZODB.POSException import ConflictError, ReadOnlyError

from wendelin.storage.errors import StorageFullError, UnavailableError, WendelinError

_FULL = (errno.ENOSPC, errno.EDQUOT)

NOTHING_STORED = "Nothing of {what} was stored; Python variables keep their values."
UNPICKLABLE = "Store plain values, arrays or persistent objects instead, or keep this one in a Python variable only."


def advice(error: BaseException, what: str) -> str:
    """What to do about a failed commit of `what` ("this cell"); "" when the error was not foreseen."""
    told = _what_to_do(error)
    return f"{NOTHING_STORED.format(what=what)}\n{told.format(what=what)}" if told else ""


def _what_to_do(error: BaseException) -> str:
    from ZEO.Exceptions import ClientDisconnected

    if isinstance(error, ConflictError):
        return (
            "Another transaction changed the same data meanwhile. Run it again: {what} then starts from what is stored "
            "now."
        )
    if isinstance(error, ReadOnlyError):
        return "This connection only reads. `%wendelin open URL` opens a database for writing, if you may write to it."
    if isinstance(error, (ClientDisconnected, UnavailableError)):
        return (
            "The database server went away during the commit, so look whether it arrived before you run it again: "
            "`%wendelin status`; `%wendelin open` connects anew."
        )
    if isinstance(error, TransactionFailedError):
        return "A commit within {what} had failed before. Call transaction.abort() after catching such an error."
    if isinstance(error, DoomedTransaction):
        return "The transaction was doomed by transaction.doom(), so it could not be stored."
    if isinstance(error, StorageFullError) or (isinstance(error, OSError) and error.errno in _FULL):
        return "There is no room on the database's disk: free some, then run it again."
    if isinstance(error, KeyboardInterrupt):
        return "The commit was interrupted. Run it again to store its changes."
    if _is_about_pickling(error):
        return UNPICKLABLE
    if isinstance(error, WendelinError):
        return "Run it again when this is settled."
    return ""


def _is_about_pickling(error: BaseException) -> bool:
    if isinstance(error, pickle.PicklingError) or type(error).__name__ == "PicklingError":  # zodbpickle has its own
        return True
    return isinstance(error, (TypeError, AttributeError)) and "pickle" in str(error)
