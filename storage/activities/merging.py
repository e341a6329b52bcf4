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

_PAGE = "page "

Entry = tuple[str, Any]


class LogPage(Persistent):
    """Older entries of a log, or pages of them. Immutable once stored."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries


class MergingLog(Persistent):
    """Entries in the order of their commits. Appending and taking merge with what others append."""

    _p_changed: bool | None

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, uid: str, value: Any) -> None:
        """Add an entry; `value` is a persistent object, or a tuple that begins with one."""
        entries = [*self.entries, (uid, value)]
        self.entries = _paged(entries, uid) if len(entries) > PAGE_ENTRIES else entries

    @property
    def pages(self) -> list[LogPage]:
        """The pages that iterating begins with, to be fetched together."""
        return [value for _, value in self.entries if isinstance(value, LogPage)]

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


def _paged(entries: list[Entry], uid: str) -> list[Entry]:
    """With the latest of the lowest level that are enough for a page in one.

    A page is of a level higher than what it holds, and only many pages share a page: an appender that has not seen
    that old ones were taken would store those again, each time with all that it stored again before.
    """
    levels = [name.count(_PAGE) for name, _ in entries]
    for level in range(max(levels) + 1):
        first = len(entries)
        while first and levels[first - 1] <= level:
            first -= 1
        if len(entries) - first >= PAGE_ENTRIES // 2:
            return [*entries[:first], (_PAGE * (level + 1) + uid, LogPage(entries[first:]))]
    return entries


def _unpaged(page: LogPage) -> Iterator[Entry]:
    for uid, value in page.entries:
        if isinstance(value, LogPage):
            yield from _unpaged(value)
        else:
            yield uid, value


for _class in (LogPage, MergingLog):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
