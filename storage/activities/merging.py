"""`MergingLog`: a list that any number of transactions append to at the same time, and one empties, without conflicts.

Entries are `(uid, reference)`; the resolver compares uids only, so it works on plain values wherever a storage resolves
conflicts. A ZEO server imports this module: it needs nothing but `persistent`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from persistent import Persistent

#: Entries of the log's own record; more move into an immutable page, since the record is rewritten at each append.
PAGE_ENTRIES = 128

Entry = tuple[str, Any]


class LogPage(Persistent):
    """Older entries of a log. Immutable once stored."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries


class MergingLog(Persistent):
    """Entries in the order of their commits. Appending and taking merge with what others append."""

    _p_changed: bool | None

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, uid: str, value: Any) -> None:
        """Add an entry; `value` is a persistent object."""
        entries = [*self.entries, (uid, value)]
        if len(entries) > PAGE_ENTRIES:
            page = LogPage(entries)
            entries = [(f"page {uid}", page)]
        self.entries = entries

    def __iter__(self) -> Iterator[Entry]:
        """All entries, those in pages too. One that was moved while another took it may come twice."""
        for uid, value in self.entries:
            if isinstance(value, LogPage):
                yield from _unpaged(value)
            else:
                yield uid, value

    def take(self) -> list[Entry]:
        """Remove all entries and return them."""
        taken = list(self)
        if taken:
            self.entries = []
        return taken

    def __bool__(self) -> bool:
        return bool(self.entries)

    def _p_resolveConflict(self, old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        before = {uid for uid, _ in old["entries"]}
        kept = {uid for uid, _ in new["entries"]}
        gone = before - kept
        entries = [entry for entry in committed["entries"] if entry[0] not in gone]
        known = {uid for uid, _ in entries}
        entries += [entry for entry in new["entries"] if entry[0] not in before and entry[0] not in known]
        return {**committed, "entries": entries}


def _unpaged(page: LogPage) -> Iterator[Entry]:
    for uid, value in page.entries:
        if isinstance(value, LogPage):
            yield from _unpaged(value)
        else:
            yield uid, value


for _class in (LogPage, MergingLog):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
