"""How a question is answered: the rows in the trees as a mask, the recent ones one by one, both in one order."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wendelin.storage.ubm.catalogue import row, sets
from wendelin.storage.ubm.catalogue.query import LAST, RANK, Key, Query, cursor, selector
from wendelin.storage.ubm.catalogue.trees import NO_TIME, CatalogueTrees

if TYPE_CHECKING:
    from wendelin.storage.ubm.catalogue.catalogue import Catalogue

# BM25's usual constants: how soon more of the same word stops to matter, and how much long texts count less.
_K1, _B = 1.2, 0.75

#: To load a row and make its key costs so many steps along an order; backwards a step costs more.
_ROW_STEPS, _BACK_STEPS = 10, 8

Recent = list[tuple[str, row.Packed]]
Keyed = tuple[Key, str, row.Packed | None]


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


def found(catalogue: Catalogue, query: Query) -> tuple[sets.Mask, Recent]:
    """All that fits: rows in the trees, and recent ones."""
    recent = catalogue.recent()
    mask = _mask(catalogue.trees, query)
    _hide(mask, catalogue.trees, recent)
    return mask, [(uid, packed) for uid, packed in recent.items() if packed is not None and query.fits(packed)]


def page(catalogue: Catalogue, query: Query) -> Page:
    """The page that a query asks for."""
    mask, recent = found(catalogue, query)
    total = int(np.count_nonzero(mask)) + len(recent)
    if not total:
        return Page([], 0)
    wanted = total if query.limit is None else query.limit + 1
    if query.sort in row.TEXTS:
        keyed = _by_text(catalogue.trees, query, mask, recent, wanted)
    else:
        keyed = _by_number(catalogue.trees, query, mask, recent, wanted)
    best = list(itertools.islice(keyed, wanted))
    more = query.limit is not None and len(best) > query.limit
    shown = best[: query.limit]
    rows = [_shown(catalogue.trees, place) for _, place in shown]
    return Page(rows, total, cursor(query, shown[-1][0]) if more and shown else None)


def _shown(trees: CatalogueTrees, place: Any) -> dict[str, Any]:
    if isinstance(place, tuple):
        return row.unpack(*place)
    uid, *packed = trees.rows[place]
    return row.unpack(uid, tuple(packed))


# -- which rows


def _mask(trees: CatalogueTrees, query: Query) -> sets.Mask:
    """Rows in the trees that fit. Stops at the first part that fits nothing."""
    mask = None
    for part in _parts(trees, query):
        mask = part if mask is None else mask & part
        if not mask.any():
            break
    return _union(trees, ["all"]) if mask is None else mask


def _parts(trees: CatalogueTrees, query: Query) -> Iterator[sets.Mask]:
    for group in query.sets:
        yield _union(trees, group)
    if query.text and not query.words:
        yield np.zeros(trees.size, np.bool_)
    for word, begins in query.words:
        mask = np.zeros(trees.size, np.bool_)
        mask[sets.postings(_pieces(trees, word, begins))[0]] = True
        yield mask
    if query.referenced:
        yield _references(trees, query)
    for name, (first, last) in query.times.items():
        values = trees.column(name)
        mask = _union(trees, ["all"]) & (values != NO_TIME)
        if first is not None:
            mask &= values >= first
        if last is not None:
            mask &= values < last
        yield mask


def _union(trees: CatalogueTrees, names: Iterable[str]) -> sets.Mask:
    mask = np.zeros(trees.size, np.bool_)
    for name in names:
        for piece, data in sets.pieces(trees.sets, name):
            sets.add_to(mask, piece, data)
    return mask


def _pieces(trees: CatalogueTrees, word: str, begins: bool) -> list[tuple[int, bytes]]:
    if begins:
        return [(piece, data) for _, piece, data in sets.named(trees.postings, word)]
    return list(sets.pieces(trees.postings, word))


def _references(trees: CatalogueTrees, query: Query) -> sets.Mask:
    order, mask = trees.orders["reference"], np.zeros(trees.size, np.bool_)
    limits = (query.prefix, query.prefix + "\U0010ffff")
    if query.pattern is None:
        mask[np.fromiter(order.values(*limits), np.int64)] = True
    else:
        match = query.pattern.match
        fitting = [number for key, number in order.items(*limits) if match(key.partition("\0")[0])]
        mask[np.array(fitting, np.int64)] = True
    return mask


def _hide(mask: sets.Mask, trees: CatalogueTrees, recent: Iterable[str]) -> None:
    """Take out what a recent row replaces."""
    if len(mask):
        numbers = trees.numbers
        mask[[number for uid in recent if (number := numbers.get(uid)) is not None]] = False


# -- in which order


def _by_text(
    trees: CatalogueTrees, query: Query, mask: sets.Mask, recent: Recent, wanted: int
) -> Iterator[tuple[Key, Any]]:
    key_of, after = selector(query.sort, query), query.after
    newer = [(key_of(uid, packed), (uid, packed)) for uid, packed in recent]
    if after is not None:
        newer = [each for each in newer if (each[0] < after if query.backwards else each[0] > after)]
    newer.sort(key=_first, reverse=query.backwards)
    count = int(np.count_nonzero(mask))
    steps = wanted * trees.next / max(count, 1)
    if count * _ROW_STEPS <= steps * (_BACK_STEPS if query.backwards else 1):
        older = iter(_sorted_rows(trees, query, mask))
    else:
        older = _walk(trees, query, mask)
    return heapq.merge(older, newer, key=_first, reverse=query.backwards)


def _first(keyed: tuple[Key, Any]) -> Key:
    return keyed[0]


def _sorted_rows(trees: CatalogueTrees, query: Query, mask: sets.Mask) -> list[tuple[Key, int]]:
    """For few rows: load them all."""
    place = 1 + (row.REFERENCE if query.sort == "reference" else row.TITLE)
    keyed = []
    for number in np.flatnonzero(mask).tolist():
        packed = trees.rows[number]
        key = (row.text_key(packed[place], packed[0]),)
        if query.after is None or (key < query.after if query.backwards else key > query.after):
            keyed.append((key, number))
    return sorted(keyed, reverse=query.backwards)


def _walk(trees: CatalogueTrees, query: Query, mask: sets.Mask) -> Iterator[tuple[Key, int]]:
    """For many rows: go along the order and pick them, until enough are found."""
    order, there = trees.orders[query.sort], mask.tobytes()
    prefix = query.prefix if query.sort == "reference" else ""
    after = query.after[0] if query.after else None
    if not query.backwards:
        first = prefix if after is None else max(prefix, after)
        for key, number in order.items(first) if first else order.items():
            if there[number] and key != after:
                yield (key,), number
        return
    key = prefix + "\U0010ffff" if after is None else after
    while True:
        try:
            key = order.maxKey(key if key != after else _before(key))
        except ValueError:
            return
        after = key
        if there[order[key]]:
            yield (key,), order[key]


def _before(key: str) -> str:
    """What lies between a key and the one before it."""
    return key[:-1] + chr(ord(key[-1]) - 1) + "\U0010ffff" if key[-1] > "\0" else key[:-1]


def _by_number(
    trees: CatalogueTrees, query: Query, mask: sets.Mask, recent: Recent, wanted: int
) -> Iterator[tuple[Key, Any]]:
    """By time or rank: the least values of the rows that fit, ties by the hash of the uid."""
    numbers = np.flatnonzero(mask)
    if query.sort == RANK:
        values, newer = _ranks(trees, query, numbers, recent)
        if query.backwards:
            values, newer = -values, [((-key[0], key[1]), place) for key, place in newer]
    else:
        values = trees.column(query.sort)[numbers] if len(numbers) else np.zeros(0, np.int64)
        values = np.where(values == NO_TIME, LAST, -values if query.backwards else values)
        key_of = selector(query.sort, query)
        newer = [(key_of(uid, packed), (uid, packed)) for uid, packed in recent]
    ties = trees.column("tie")[numbers] if len(numbers) else np.zeros(0, np.int64)
    if query.after is not None:
        value, tie = query.after
        later = (values > value) | ((values == value) & (ties > tie))
        values, ties, numbers = values[later], ties[later], numbers[later]
        newer = [each for each in newer if each[0] > query.after]
    if wanted < len(values):
        near = values <= np.partition(values, wanted - 1)[wanted - 1]
        values, ties, numbers = values[near], ties[near], numbers[near]
    first = np.lexsort((ties, values))[:wanted]
    older = zip(zip(values[first].tolist(), ties[first].tolist(), strict=True), numbers[first].tolist(), strict=True)
    return heapq.merge(older, sorted(newer, key=_first), key=_first)


def _ranks(
    trees: CatalogueTrees, query: Query, numbers: NDArray[Any], recent: Recent
) -> tuple[NDArray[np.float64], list[tuple[Key, Any]]]:
    """BM25, negated: the best come first."""
    there = [row.words(packed[row.WORDS]) for _, packed in recent]
    lengths = trees.column("length")[numbers] if len(numbers) else np.zeros(0)
    count = max(len(trees.numbers) if trees.next < 1 else trees.next, 1)
    mean = max(trees.length / count, 1.0)
    scores, newer = np.zeros(len(numbers)), [0.0] * len(recent)
    for word, begins in query.words:
        rows, counts = sets.postings(_pieces(trees, word, begins))
        often = np.bincount(rows, counts, trees.size)[numbers] if len(numbers) else np.zeros(0)
        those = len(rows)
        weight = math.log1p((count + len(recent) - min(those, count) + 0.5) / (those + 0.5))
        scores += _weighed(weight, often, lengths, mean)
        for place, own in enumerate(there):
            times = float(Query.counted(own, word, begins))
            newer[place] += float(_weighed(weight, times, float(sum(own.values())), mean))
    keyed = [((-score, row.tie(each[0])), each) for score, each in zip(newer, recent, strict=True)]
    return -scores, keyed


def _weighed(weight: float, often: Any, length: Any, mean: float) -> Any:
    return weight * often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * length / mean))


# -- how many


def counts(catalogue: Catalogue, query: Query, by: str) -> dict[str, int]:
    """How many rows that fit have each value of a field, most first."""
    mask, recent = found(catalogue, query)
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
    _hide(mask, trees, recent)
    older = [_shown(trees, number) for number in np.flatnonzero(mask).tolist()]
    newer = [
        row.unpack(each, packed)
        for each, packed in recent.items()
        if packed is not None and any(uid in uids for _, uids in packed[row.RELATIONS])
    ]
    return older + newer
