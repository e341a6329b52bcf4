"""In which order rows come that fit: by texts, times, or how well words fit. Each with its key, which cursors hold.

Columns give the few rows that a page can have, so that only those are loaded.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wendelin.storage.ubm.catalogue import row
from wendelin.storage.ubm.catalogue.query import LAST, RANK, Key, Query, selector
from wendelin.storage.ubm.catalogue.trees import NO_TIME, CatalogueTrees

if TYPE_CHECKING:
    from wendelin.storage.ubm.catalogue.searching import Found

# BM25's usual constants: how soon more of the same word stops to matter, and how much long texts count less.
_K1, _B = 1.2, 0.75

#: So many rows more than asked for are loaded to sort them; else the order is followed.
_LOADED = 500

#: Rows of an order that are looked at together.
_STRIDE = 2048


def by_text(found: Found, wanted: int) -> Iterator[tuple[Key, Any]]:
    """The rows whose texts begin least are loaded and sorted; where too many begin alike, the order is followed."""
    query = found.query
    key_of, back = selector(query.sort, query), query.backwards
    newer = [(key_of(uid, packed), (uid, packed)) for uid, packed in found.recent]
    newer = sorted((each for each in newer if _is_later(each[0], query)), key=_first, reverse=back)
    older = _older_by_text(found, np.flatnonzero(found.mask), wanted)
    return heapq.merge(older, newer, key=_first, reverse=back)


def _older_by_text(found: Found, numbers: NDArray[Any], wanted: int) -> Iterable[tuple[Key, int]]:
    if not len(numbers):
        return []
    query = found.query
    starts = found.trees.column(query.sort)[numbers]
    starts = ~starts if query.backwards else starts
    if query.after is not None:
        least = np.uint64(row.start_of(query.after[0]) ^ (_ALL if query.backwards else 0))
        numbers, starts = numbers[starts >= least], starts[starts >= least]
        wanted += int(np.count_nonzero(starts == least))
    if wanted < len(starts):
        near = starts <= np.partition(starts, wanted - 1)[wanted - 1]
        if np.count_nonzero(near) > wanted + _LOADED:
            return _walk(found, int(starts.min()))
        numbers = numbers[near]
    return _sorted_rows(found, numbers)


_ALL = 2**64 - 1


def _is_later(key: Key, query: Query) -> bool:
    return query.after is None or (key < query.after if query.backwards else key > query.after)


def _sorted_rows(found: Found, numbers: NDArray[Any]) -> list[tuple[Key, int]]:
    found.trees.fetch_rows(numbers.tolist())
    keyed = ((_key_at(found, number), number) for number in numbers.tolist())
    return sorted((each for each in keyed if _is_later(each[0], found.query)), reverse=found.query.backwards)


def _key_at(found: Found, number: int) -> Key:
    packed = found.trees.rows[number]
    return (row.text_key(packed[1 + (row.REFERENCE if found.query.sort == "reference" else row.TITLE)], packed[0]),)


def _walk(found: Found, start: int) -> Iterator[tuple[Key, int]]:
    """Along the order from where the first row is that fits, many at a time."""
    query, order = found.query, found.trees.orders[found.query.sort]
    after = query.after[0] if query.after else None
    if query.backwards:
        yield from _walk_back(found, order, after or row.text_at(start ^ _ALL) + "\U0010ffff")
        return
    first = max(row.text_at(start), after or "")
    values = iter(order.values(first)) if first else iter(order.values())
    while len(numbers := np.fromiter(itertools.islice(values, _STRIDE), np.int64)):
        for number in numbers[found.mask[numbers]].tolist():
            key = _key_at(found, number)
            if key[0] != after:
                yield key, number


def _walk_back(found: Found, order: Any, key: str) -> Iterator[tuple[Key, int]]:
    there = found.mask.tobytes()
    while True:
        try:
            key = order.maxKey(_before(key))
        except ValueError:
            return
        number = order[key]
        if there[number]:
            yield (key,), number


def _before(key: str) -> str:
    """What lies between a key and the one before it."""
    return key[:-1] + chr(ord(key[-1]) - 1) + "\U0010ffff" if key[-1] > "\0" else key[:-1]


def _first(keyed: tuple[Key, Any]) -> Key:
    return keyed[0]


def by_number(found: Found, wanted: int) -> Iterator[tuple[Key, Any]]:
    """By time or rank: the least values of the rows that fit, ties by the hash of the uid."""
    query, trees = found.query, found.trees
    numbers = np.flatnonzero(found.mask)
    if query.sort == RANK:
        values, newer = _ranks(found, numbers)
    else:
        values = _column(trees, query.sort, numbers)
        values = np.where(values == NO_TIME, LAST, -values if query.backwards else values)
        key_of = selector(query.sort, query)
        newer = [(key_of(uid, packed), (uid, packed)) for uid, packed in found.recent]
    ties = _column(trees, "tie", numbers)
    if query.after is not None:
        value, tie = query.after
        behind = (values > value) | ((values == value) & (ties > tie))
        values, ties, numbers = values[behind], ties[behind], numbers[behind]
        newer = [each for each in newer if each[0] > query.after]
    if wanted < len(values):
        least = _least(values, ties, wanted)
        values, ties, numbers = values[least], ties[least], numbers[least]
    first = np.lexsort((ties, values))
    keys = zip(values[first].tolist(), ties[first].tolist(), strict=True)
    older = zip(keys, numbers[first].tolist(), strict=True)
    return heapq.merge(older, sorted(newer, key=_first), key=_first)


def _least(values: NDArray[Any], ties: NDArray[Any], wanted: int) -> NDArray[np.intp]:
    """Which `wanted` come first, in no order. Many have the same value where a word is in all rows."""
    last = np.partition(values, wanted - 1)[wanted - 1]
    before, equal = np.flatnonzero(values < last), np.flatnonzero(values == last)
    left = wanted - len(before)
    if left < len(equal):
        equal = equal[np.argpartition(ties[equal], left - 1)[:left]]
    return np.concatenate([before, equal])


def _column(trees: CatalogueTrees, name: str, numbers: NDArray[Any]) -> NDArray[Any]:
    return trees.column(name)[numbers] if len(numbers) else np.zeros(0, np.int64)


def _ranks(found: Found, numbers: NDArray[Any]) -> tuple[NDArray[np.float64], list[tuple[Key, Any]]]:
    """BM25, negated so that the best come first."""
    trees, recent, query = found.trees, found.recent, found.query
    sign = 1 if query.backwards else -1
    lengths = _column(trees, "length", numbers)
    count = max(len(found.mask), 1)
    mean = max(trees.length / max(trees.next, 1), 1.0)
    there = [row.words(packed[row.WORDS]) for _, packed in recent]
    scores, newer = np.zeros(len(numbers)), [0.0] * len(recent)
    for word in query.words:
        rows, counts = found.posted(word)
        often = np.bincount(rows, counts, trees.size)[numbers] if len(numbers) else np.zeros(0)
        those = min(len(rows), count)
        weight = math.log1p((count - those + 0.5) / (those + 0.5))
        scores += _weighed(weight, often, lengths, mean)
        for place, own in enumerate(there):
            newer[place] += float(_weighed(weight, query.counted(own, *word), sum(own.values()), mean))
    keyed = [((sign * score, row.tie(each[0])), each) for score, each in zip(newer, recent, strict=True)]
    return sign * scores, keyed


def _weighed(weight: float, often: Any, length: Any, mean: float) -> Any:
    return weight * often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * length / mean))
