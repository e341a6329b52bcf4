"""`CatalogueRecent`: rows that are not in the trees yet. Any number of transactions add to it without conflicts.

Entries are plain values, so that they merge wherever a storage resolves conflicts. A ZEO server imports this module: it
needs nothing but `persistent`.
"""

from __future__ import annotations

from typing import Any

from persistent import Persistent
from ZODB.POSException import ConflictError

#: A row as it is stored, see `row.pack`; None when the entity was deleted.
Entry = tuple[Any, ...] | None


class CatalogueRecent(Persistent):
    """A part of the recent rows by uid. Who changes an entry conflicts with who changes the same one, and with nobody
    else: to take entries away, because they are in the trees now, merges with everything."""

    is_derived = True  # an undo makes it anew

    _p_changed: bool | None

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def put(self, uid: str, entry: Entry) -> None:
        """Remember the latest of an entity."""
        if uid not in self.entries or self.entries[uid] != entry:
            self.entries[uid] = entry
            self._p_changed = True

    def take(self, uids: list[str]) -> None:
        """Forget what is in the trees now."""
        for uid in uids:
            del self.entries[uid]
        self._p_changed = True

    def _p_resolveConflict(self, old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        before, theirs, ours = old["entries"], committed["entries"], new["entries"]
        merged = dict(theirs)
        for uid, entry in ours.items():
            if uid in before and before[uid] == entry:
                continue
            if uid in theirs and theirs[uid] != entry and not (uid in before and theirs[uid] == before[uid]):
                raise ConflictError(f"both transactions changed the row of {uid}: retry the transaction")
            merged[uid] = entry
        for uid in before.keys() - ours.keys():
            if uid not in theirs:  # two folds, or an undo of what is in the trees by now, which would stay there
                raise ConflictError(f"the row of {uid} was moved meanwhile: retry the transaction")
            if merged[uid] == before[uid]:
                del merged[uid]
        return {**committed, "entries": merged}


CatalogueRecent.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
