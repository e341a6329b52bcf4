"""How a question is answered: the rows in the trees as a mask, the recent ones one by one, both in one order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wendelin.storage.ubm.catalogue import lines, ordering, row, sets
from wendelin.storage.ubm.catalogue.query import Query, cursor
from wendelin.storage.ubm.catalogue.trees import NO_TIME, CatalogueTrees

if TYPE_CHECKING:
    from wendelin.storage.ubm.catalogue.catalogue import Catalogue

Postings = tuple[NDArray[np.int64], NDArray[np.uint8]]
Posted = dict[tuple[str, bool], Postings]

Recent = list[tuple[str, row.Packed]]


@dataclass(frozen=True)
class Page:
    """Some rows in order, how many there are in all, and what to give as `after` for the next ones (None: no more)."""

    rows: list[dict[str, Any]]
    total: int
    next: str | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class Found:
    """All that fits: rows in the trees as a mask, recent ones in a list; and what was read for that."""

    def __init__(self, catalogue: Catalogue, query: Query) -> None:
        self.trees, self.query = catalogue.trees, query
        self._posted: Posted = {}
        everything = catalogue.recent()
        self.mask = self._mask()
        hide(self.mask, self.trees, everything)
        fits = query.fits
        self.recent = [(uid, packed) for uid, packed in everything.items() if packed is not None and fits(packed)]

    def posted(self, word: tuple[str, bool]) -> Postings:
        """Rows in the trees that have a word, or words that begin so; and how often. A row may come several times."""
        if word not in self._posted:
            text, begins = word
            tree = self.trees.postings
            found = sets.gathered(tree, text) if begins else list(sets.pieces(tree, text))
            self._posted[word] = sets.postings(found)
        return self._posted[word]

    def _mask(self) -> sets.Mask:
        """Stops at the first part that fits nothing."""
        mask = None
        for part in self._parts():
            mask = part if mask is None else mask & part
            if not mask.any():
                break
        return union(self.trees, ["all"]) if mask is None else mask

    def _parts(self) -> Iterator[sets.Mask]:
        trees, query = self.trees, self.query
        for group in query.sets:
            yield union(trees, group)
        if query.text and not query.words:
            yield np.zeros(trees.size, np.bool_)
        for word in query.words:
            mask = np.zeros(trees.size, np.bool_)
            mask[self.posted(word)[0]] = True
            yield mask
        for name, (first, last) in query.times.items():
            yield _between(trees, name, first, last)
        if query.referenced:
            yield _references(trees, query)


def page(catalogue: Catalogue, query: Query) -> Page:
    """The page that a query asks for."""
    found = Found(catalogue, query)
    total = int(np.count_nonzero(found.mask)) + len(found.recent)
    if not total:
        return Page([], 0)
    wanted = total if query.limit is None else query.limit + 1
    keyed = (ordering.by_text if query.sort in row.TEXTS else ordering.by_number)(found, wanted)
    best = list(itertools.islice(keyed, wanted))
    shown = best[: query.limit]
    more = len(best) > len(shown) > 0
    found.trees.fetch_rows(place for _, place in shown if isinstance(place, int))
    rows = [_shown(found.trees, place) for _, place in shown]
    return Page(rows, total, cursor(query, shown[-1][0]) if more else None)


def _shown(trees: CatalogueTrees, place: Any) -> dict[str, Any]:
    if isinstance(place, tuple):
        return row.unpack(*place)
    uid, *packed = trees.rows[place]
    return row.unpack(uid, tuple(packed))


# -- which rows


def union(trees: CatalogueTrees, names: Iterable[str]) -> sets.Mask:
    """Rows that are in one of these sets."""
    mask = np.zeros(trees.size, np.bool_)
    for name in names:
        for piece, data in sets.pieces(trees.sets, name):
            sets.add_to(mask, piece, data)
    return mask


def hide(mask: sets.Mask, trees: CatalogueTrees, recent: Iterable[str]) -> None:
    """Take out what a recent row replaces."""
    if len(mask):
        numbers = trees.numbers
        mask[[number for uid in recent if (number := numbers.get(uid)) is not None]] = False


def _between(trees: CatalogueTrees, name: str, first: int | None, last: int | None) -> sets.Mask:
    values = trees.column(name)
    mask = union(trees, ["all"])
    mask &= values != NO_TIME
    if first is not None:
        mask &= values >= first
    if last is not None:
        mask &= values < last
    return mask


def _references(trees: CatalogueTrees, query: Query) -> sets.Mask:
    """Short beginnings are in the column, long ones and patterns are looked for along the order."""
    if query.pattern is None and len(query.prefix.encode()) <= 8:
        starts, mask = trees.column("reference"), union(trees, ["all"])
        mask &= starts >= row.start_of(query.prefix)
        mask &= starts <= row.start_of(query.prefix, b"\xff")
        return mask
    if query.pattern is not None and (pieces := trees.references()) is not None:
        parts, pattern = query.parts, query.pattern
        found = lines.fitting(pieces, pattern) if parts is None else lines.between_stars(pieces, parts, pattern)
        return found & union(trees, ["all"])
    order, mask = trees.orders["reference"], np.zeros(trees.size, np.bool_)
    limits = (query.prefix, query.prefix + "\U0010ffff")
    if query.pattern is None:
        mask[np.fromiter(order.values(*limits), np.int64)] = True
    else:
        match = query.pattern.match
        fitting = [number for key, number in order.items(*limits) if match(key.partition("\0")[0])]
        mask[np.array(fitting, np.int64)] = True
    return mask


# -- how many


def counts(catalogue: Catalogue, query: Query, by: str) -> dict[str, int]:
    """How many rows that fit have each value of a field, most first."""
    found = Found(catalogue, query)
    mask, recent = found.mask, found.recent
    result: dict[str, int] = {}
    prefix = row.term(by, "")
    if mask.any():
        for name, piece, data in sets.named(catalogue.trees.sets, prefix):
            value = name.removeprefix(prefix)
            result[value] = result.get(value, 0) + sets.count_in(mask, piece, data)
    for _, packed in recent:
        for name in row.terms(packed):
            if name.startswith(prefix):
                value = name.removeprefix(prefix)
                result[value] = result.get(value, 0) + 1
    return dict(sorted(((value, count) for value, count in result.items() if count), key=lambda each: (-each[1], each)))


def referring(catalogue: Catalogue, uid: str) -> list[dict[str, Any]]:
    """Rows that point to an entity, by any relation."""
    trees, recent = catalogue.trees, catalogue.recent()
    mask = np.zeros(trees.size, np.bool_)
    for _, piece, data in sets.named(trees.sets, row.pointing(uid)):
        sets.add_to(mask, piece, data)
    hide(mask, trees, recent)
    older = [_shown(trees, number) for number in np.flatnonzero(mask).tolist()]
    newer = [
        row.unpack(each, packed)
        for each, packed in recent.items()
        if packed is not None and any(uid in uids for _, uids in packed[row.RELATIONS])
    ]
    return older + newer
