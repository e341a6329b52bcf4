"""Which stored object made a commit fail.

When a commit fails, the transaction package tells every resource to abort, in the order of their sort keys, while the
error is being handled. A witness that sorts first sees all objects as the failed commit saw them: a moment later they
are gone. What it finds becomes a note on the error, so it shows wherever the error shows.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from persistent.interfaces import IPersistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError

from wendelin.storage.folder import Folder

if TYPE_CHECKING:
    from wendelin.kernel.session import Session

#: Names that a search for an object's path looks at, before it gives up.
SEARCHED = 10_000


class Witness:
    """A resource of a transaction that stores nothing and looks at failures."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._committing = False

    def sortKey(self) -> str:
        """Before every other resource."""
        return ""

    def tpc_begin(self, transaction: Any) -> None:
        """From now on an abort is a failed commit."""
        self._committing = True

    def abort(self, transaction: Any) -> None:
        """Note on the error which object it is about."""
        error = sys.exc_info()[1]
        connection = self._session.connection
        failed, self._committing = self._committing, False  # it is told once more when the failed one is given up
        if failed and error is not None and connection is not None:
            note = blame(error, connection.root())
            if note:
                error.add_note(note)

    def commit(self, transaction: Any) -> None:
        """Nothing to store."""

    tpc_vote = tpc_finish = tpc_abort = commit


def blame(error: BaseException, root: Mapping[str, Any]) -> str:
    """A sentence that names the object which made a commit fail, or ""."""
    if isinstance(error, ConflictError):
        oid = error.oid
        path = oid and path_of(lambda value: getattr(value, "_p_oid", None) == oid, root)
        return f"The conflict is about {_place(path)}." if path else ""
    pickled = _being_pickled(error)
    if pickled is None:
        return ""
    keys, value = _culprit(pickled)
    path = path_of(lambda stored: stored is pickled or _has_bucket(stored, pickled, keys), root)
    if path and isinstance(pickled, Folder) and keys:
        path = f"{path}/{keys.pop(0)}".removeprefix("//")
    place = _place(path) if path else f"a {_kind(pickled)}"
    return f"{place}{''.join(f'[{key!r}]' for key in keys)} is a {_kind(value)}, which cannot be stored."


def _place(path: str) -> str:
    return "root" if path == "/" else f"root[{path!r}]"


def path_of(matches: Callable[[Any], bool], root: Mapping[str, Any]) -> str:
    """The path of a stored object, "" when it is not among the first `SEARCHED` names; "/" is the root itself."""
    if matches(root):
        return "/"
    return next((path for path, value in islice(_walk(root), SEARCHED) if matches(value)), "")


def _walk(folder: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Breadth first, because what people name by hand lies near the root."""
    level = [("", folder)]
    while level:
        below: list[tuple[str, Mapping[str, Any]]] = []
        for prefix, mapping in level:
            for name in mapping:
                value = mapping[name]
                yield f"{prefix}{name}", value
                if isinstance(value, Folder):
                    below.append((f"{prefix}{name}/", value))
        level = below


def _being_pickled(error: BaseException) -> Any:
    """The persistent object whose state ZODB was writing when the error came."""
    trace = error.__traceback__
    found = None
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name == "serialize" and trace.tb_frame.f_globals.get("__name__") == "ZODB.serialize":
            found = trace.tb_frame.f_locals.get("obj")
        trace = trace.tb_next
    return found


def _culprit(pickled: Any) -> tuple[list[Any], Any]:
    """The keys that lead from an object to the innermost value in it that cannot be pickled, and that value."""
    keys: list[Any] = []
    culprit, value = pickled, _contents(pickled)
    while True:
        parts = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
        )
        found = next(((key, inner) for key, inner in parts if not _pickles(inner)), None)
        if found is None:
            return keys, culprit
        keys.append(found[0])
        culprit = value = found[1]


def _is_btree(value: Any) -> bool:
    return type(value).__module__.startswith("BTrees.") and type(value).__name__.endswith(("BTree", "Bucket"))


def _has_bucket(stored: Any, bucket: Any, keys: list[Any]) -> bool:
    """Whether a stored tree holds a bucket, as far as the key which made the trouble tells."""
    if not keys or not _is_btree(stored) or not _is_btree(bucket) or type(stored) is type(bucket):
        return False
    return keys[0] in stored and stored[keys[0]] is bucket[keys[0]]


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _contents(pickled: Any) -> Any:
    """What a persistent container holds, without what it is built from."""
    state = pickled.__getstate__()
    if isinstance(pickled, Folder):
        return {name: entry[0] for name, entry in state["_recent"].items() if entry}
    if _is_btree(pickled):
        if not type(pickled).__name__.endswith("Bucket"):  # a small tree has its only bucket within itself
            state = state[0][0] if state and len(state) == 1 else ((),)
        return dict(zip(state[0][::2], state[0][1::2], strict=True))
    if isinstance(pickled, PersistentMapping | PersistentList):
        return state["data"]
    return state


class _Probe(pickle.Pickler):
    """Pickles a state as ZODB does: other persistent objects by reference."""

    def persistent_id(self, value: Any) -> Any:
        return True if IPersistent.providedBy(value) else None


def _pickles(value: Any) -> bool:
    try:
        _Probe(io.BytesIO(), 3).dump(value)
    except Exception:  # noqa: BLE001  # whatever a class raises while it is pickled
        return False
    return True


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "wendelin") else f"{kind.__module__}.{kind.__name__}"
