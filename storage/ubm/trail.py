"""`Trail`: what happened to an entity, and how many others point to it. All that people do at the same time merges.

It is a record of its own beside each entity, so that notes and pointers do not conflict with changes of fields. What
must not happen at once does: who points to an entity and who deletes it both write this record, and the later one
conflicts. A ZEO server imports this module: it needs nothing but `persistent`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from persistent import Persistent
from ZODB.POSException import ConflictError

from wendelin.storage.activities.user import current_user

#: Entries of the record itself; older ones move into immutable pages, since the record is rewritten at each change.
PAGE_ENTRIES = 32

#: Kinds of entries.
CREATED, TRANSITION, CHANGED, NOTE, FILE = "created", "transition", "changed", "note", "file"


@dataclass(frozen=True)
class Entry:
    """One thing that happened: a transition has `from_state` and `to_state`, a file its `name`.

    A change has the `name` of a field, relation or array, and texts of what was there `before` and `after`.
    """

    when: datetime
    who: str
    kind: str
    why: str = ""
    from_state: str = ""
    to_state: str = ""
    name: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, stored: tuple[Any, ...]) -> Entry:
        """As it is stored; a change has its texts where a transition has its states."""
        when, who, kind, why, first, last, name = stored[1:8]
        if kind == CHANGED:
            return cls(when, who, kind, why, name=name, before=first, after=last)
        return cls(when, who, kind, why, first, last, name)

    def to_json(self) -> dict[str, str]:
        """A plain dict."""
        return {**self.__dict__, "when": self.when.isoformat()}

    def __str__(self) -> str:
        what = f"{self.from_state} → {self.to_state}" if self.kind == TRANSITION else self.name or self.kind
        if self.kind == CHANGED:
            what = f"{self.name}: {self.before or 'nothing'} → {self.after or 'nothing'}"
        return f"{self.when:%Y-%m-%d %H:%M} {self.who}: {what}" + (f" ({self.why})" if self.why else "")


class TrailPage(Persistent):
    """Older entries, with the page before them. Immutable once stored."""

    def __init__(self, entries: list[tuple[Any, ...]], before: TrailPage | None) -> None:
        self.entries, self.before = entries, before


class Trail(Persistent):
    """Entries in the order of their commits; pages hold the older ones."""

    _p_changed: bool | None

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []  # (key, value, …): see _plain
        self.pages: TrailPage | None = None
        self.paged = 0
        self.pointers = 0
        self.closed = False

    def add(
        self, kind: str, why: str = "", *, states: tuple[str, str] = ("", ""), name: str = "", file: Any = None
    ) -> None:
        """Append an entry of now, by the current user. `file` is a persistent object."""
        if len(self.entries) >= PAGE_ENTRIES and not self._p_changed:
            self.pages, self.paged, self.entries = (
                TrailPage(self.entries, self.pages),
                self.paged + len(self.entries),
                [],
            )
        entry = (secrets.token_hex(8), datetime.now(UTC), current_user(), kind, why, *states, name, file)
        self.entries = [*self.entries, entry]

    def point(self, change: int) -> None:
        """So many more, or fewer, point here. Conflicts with a deletion at the same time, and with nothing else."""
        self.pointers += change

    def close(self) -> None:
        """The entity is deleted."""
        self.closed = True

    def __iter__(self) -> Iterator[Entry]:
        for entry in self._raw():
            yield Entry.of(entry)

    def last(self, count: int) -> list[Entry]:
        """The newest entries, oldest first; reads no more pages than it needs."""
        found, page = list(self.entries), self.pages
        while page is not None and len(found) < count:
            found, page = [*page.entries, *found], page.before
        return [Entry.of(entry) for entry in found[-count:]]

    def files(self) -> dict[str, Any]:
        """Attached files by name, the last one of each name; an entry without a file took it away."""
        found: dict[str, Any] = {}
        for entry in self._raw():
            if entry[3] == FILE:
                found[entry[7]] = entry[8]
        return {name: file for name, file in found.items() if file is not None}

    def _raw(self) -> Iterator[tuple[Any, ...]]:
        pages: list[TrailPage] = []
        page = self.pages
        while page is not None:
            pages.append(page)
            page = page.before
        for page in reversed(pages):
            yield from page.entries
        yield from self.entries

    def _p_resolveConflict(self, old: dict[str, Any], committed: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        if committed["closed"] or new["closed"]:
            raise ConflictError("one transaction deletes the entity, the other one points to it or writes about it")
        before = {entry[0] for entry in old["entries"]}
        added = [entry for entry in new["entries"] if entry[0] not in before]
        merged = {**committed, "entries": [*committed["entries"], *added]}
        moved = new["paged"] - old["paged"]
        if moved and committed["paged"] == old["paged"]:
            kept = [entry for entry in committed["entries"] if entry[0] not in before]
            merged |= {"entries": [*kept, *added], "pages": new["pages"], "paged": new["paged"]}
        elif moved > len(before):  # our page has more than theirs; when it has the same, theirs is enough
            raise ConflictError("both transactions wrote much about the same entity: retry the transaction")
        merged["pointers"] = committed["pointers"] + new["pointers"] - old["pointers"]
        return merged


for _class in (TrailPage, Trail):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
