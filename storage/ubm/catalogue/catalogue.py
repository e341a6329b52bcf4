"""`Catalogue`: finds entities without loading them, in the same transactions and snapshots as they themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

from persistent import Persistent

from wendelin.storage.errors import QueryError
from wendelin.storage.ubm.catalogue import folding, row, searching
from wendelin.storage.ubm.catalogue.query import checked
from wendelin.storage.ubm.catalogue.recent import CatalogueRecent, Entry
from wendelin.storage.ubm.catalogue.searching import Page
from wendelin.storage.ubm.catalogue.trees import CatalogueTrees, fetch

#: Records of recent rows: each commit writes those of its entities, so they are many and small.
PARTS = 64

#: When one part holds so many rows, all recent ones move into the trees.
PART_ROWS = 16

#: Rows that a rebuilding puts into the trees together.
_BATCH = 20_000


class Catalogue(Persistent):
    """Rows of entities: `index`, `unindex`, `search`, `counts`, `referring`, `rebuild`.

    Searches are exact in every snapshot and see what their own transaction changed. *Concurrency*: transactions that
    index different entities merge, always; two that index the same one raise `ConflictError`: retry. When many rows are
    recent, the process that committed last moves them into the trees, in a transaction of its own.
    """

    is_derived = True  # an undo makes it anew

    def __init__(self) -> None:
        self.parts = tuple(CatalogueRecent() for _ in range(PARTS))
        self.trees = CatalogueTrees()
        self.lease = 0.0  # until then somebody folds, see `folding`

    # -- changing

    def index(self, uid: str, row: dict[str, Any]) -> None:
        """Remember the row of an entity, in place of any earlier one."""
        self._put(uid, _pack(row))

    def unindex(self, uid: str) -> None:
        """Forget an entity; nothing happens when it is not there."""
        if uid in self._part(uid).entries or uid in self.trees.numbers:
            self._put(uid, None)

    def _put(self, uid: str, entry: Entry) -> None:
        part = self._part(uid)
        part.put(uid, entry)
        if len(part.entries) >= PART_ROWS:
            if self._p_jar is not None:
                folding.after_commit(self)
            elif self.is_full():
                self.fold_here()

    def _part(self, uid: str) -> CatalogueRecent:
        return self.parts[crc32(uid.encode()) % PARTS]

    def clear(self) -> None:
        """Forget all rows. What others index at the same time stays; their folds conflict: retry then."""
        self.trees = CatalogueTrees()
        for part in self.parts:
            if part.entries:
                part.take([*part.entries])
        self.lease = 0.0

    def rebuild(self, rows: Iterable[dict[str, Any]], tick: Callable[[], object] = lambda: None) -> int:
        """Make all anew from these rows, each with its `uid`; how many. `tick` is called for each.

        Entities that others create or change meanwhile do not conflict. A fold does: call `hold` and commit before.
        """
        self.clear()
        count, batch = 0, []
        for each in rows:
            batch.append((each["uid"], _pack(each)))
            count += 1
            tick()
            if len(batch) == _BATCH:
                self.trees.apply(batch)
                batch = []
        self.trees.apply(batch)
        return count

    def hold(self, seconds: float = 3600.0) -> None:
        """Let recent rows stay where they are for so long, or until a rebuilding has been committed."""
        self.lease = time.time() + seconds

    # -- folding

    def is_full(self, any_row: bool = False) -> bool:
        """Whether so many rows are recent that they should move."""
        return any(len(part.entries) >= (1 if any_row else PART_ROWS) for part in self._loaded_parts())

    def fold_here(self, most: int | None = None) -> int:
        """Move recent rows into the trees, in this transaction; how many. Conflicts with other folds."""
        changes: list[tuple[str, Entry]] = []
        for part in self._loaded_parts():
            if part.entries and (most is None or len(changes) < most):
                changes += part.entries.items()
                part.take([*part.entries])
        self.trees.apply(changes)
        return len(changes)

    def recent(self) -> dict[str, Entry]:
        """All recent rows; None for those that were deleted."""
        return {uid: entry for part in self._loaded_parts() for uid, entry in part.entries.items()}

    def _loaded_parts(self) -> tuple[CatalogueRecent, ...]:
        fetch(self, [*self.parts])
        return self.parts

    # -- asking

    def search(self, **query: Any) -> Page:
        """A page of rows that fit all that is given, and how many fit.

        `type`, `role`, `state`: a value, or several of which one must fit. `reference`: how it begins, or a pattern
        with `*` and `?`. `relation`: names with one uid or several of which one must fit. `text`: words that must all
        be there, `inver*` for all that begin so; case and accents do not matter. `created`, `modified`, `start`,
        `stop`: two times (from, to), each may be None; `to` is not included. `sort`: "reference", "title", a time, or
        "rank" with a text, which is the default then; a minus turns it round. `limit` (50): rows of a page, None for
        all. `after`: the `next` of the page before.

        Raises `QueryError` for anything else.
        """
        return searching.page(self, checked(query))

    def rows(self, **query: Any) -> Iterator[dict[str, Any]]:
        """All rows that fit, in order."""
        return iter(self.search(**{"limit": None, **query}))

    def counts(self, by: str, **query: Any) -> dict[str, int]:
        """How many rows that fit have each "type", "state" or "role", most first."""
        if by not in ("type", "state", "role"):
            raise QueryError(f"by = {by!r}: rows are counted by type, state or role")
        return searching.counts(self, checked(query), by)

    def referring(self, uid: str) -> list[dict[str, Any]]:
        """Rows that point to an entity, by any relation; in no order."""
        return searching.referring(self, uid)

    def __contains__(self, uid: object) -> bool:
        if not isinstance(uid, str):
            return False
        entries = self._part(uid).entries
        return entries[uid] is not None if uid in entries else uid in self.trees.numbers

    def __len__(self) -> int:
        """How many rows there are."""
        return self.search(limit=0).total

    def __repr__(self) -> str:
        return f"<Catalogue of {len(self)} entities: search(type=…, state=…, text=…)>"


def _pack(each: dict[str, Any]) -> row.Packed:
    return row.pack(each)


Catalogue.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
