"""`CatalogueTrees`: all rows but the recent ones, each with a number; sets, words, orders and columns by that number.

Beside the columns of numbers lie the references themselves, 4,096 lines in a piece: a pattern with a star in front is
looked for in these, not row by row. A catalogue of before they were kept gets them at its next rebuilding.

Only folding and rebuilding change it, see `folding`. Numbers are given in the order of folding and never twice, so what
comes together lies together: a fold of many rows changes few pieces.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from BTrees.LOBTree import LOBTree
from BTrees.OLBTree import OLBTree
from BTrees.OOBTree import OOBTree
from numpy.typing import NDArray
from persistent import Persistent

from wendelin.storage.ubm.catalogue import row, sets
from wendelin.storage.ubm.catalogue.lines import END
from wendelin.storage.ubm.catalogue.sets import PIECE

#: Columns by name: their numbers in keys, and how they lie in the database.
COLUMNS = {
    **dict.fromkeys(row.TIMES, "<i8"),
    **dict.fromkeys(row.TEXTS, "<u8"),  # how they begin, see row.start_of
    "tie": "<i8",
    "length": "<u2",
}
_NUMBER = {name: number for number, name in enumerate(COLUMNS)}
_MOST = 8  # columns

#: In a column of times: there is none.
NO_TIME = np.iinfo(np.int64).min


class CataloguePiece(Persistent):
    """4,096 values of a column, or lines of text, as bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class CatalogueTrees(Persistent):
    """See the module. A deleted row leaves its number empty until the next rebuilding."""

    is_derived = True  # an undo makes it anew

    lines: Any = None  # piece → CataloguePiece: folded references

    def __init__(self) -> None:
        self.numbers = OLBTree()  # uid → number
        self.rows = LOBTree()  # number → (uid, *packed row without its words)
        self.words = LOBTree()  # number → words
        self.sets = OOBTree()  # see sets.key → rows of that type, state, … that point there
        self.postings = OOBTree()  # see sets.key → rows that have a word
        self.orders = {name: OLBTree() for name in row.TEXTS}  # see row.text_key → number
        self.columns = LOBTree()  # piece * _MOST + number of the column → CataloguePiece
        self.lines = LOBTree()
        self.next = 0
        self.length = 0  # of all words together

    @property
    def size(self) -> int:
        """How long a mask of all rows is."""
        return -(-self.next // PIECE) * PIECE

    def column(self, name: str) -> NDArray[Any]:
        """All values of a column, by row number."""
        found = [self.columns[piece * _MOST + _NUMBER[name]] for piece in range(self.size // PIECE)]
        fetch(self, found)
        return np.frombuffer(b"".join(piece.data for piece in found), COLUMNS[name])

    def fetch_rows(self, numbers: Iterable[int]) -> None:
        """Load what holds the rows of these numbers together, level by level, instead of one after the other."""
        level = [(self.rows, sorted(numbers))]
        while level:
            below = [some for tree, keys in level for some in _children(tree, keys)]
            fetch(self, [child for child, _ in below])
            level = [(child, keys) for child, keys in below if isinstance(child, LOBTree)]

    def references(self) -> list[bytes] | None:
        """The lines of each piece; None where a catalogue of before has none."""
        if self.lines is None:
            return None
        found = list(self.lines.values())
        fetch(self, found)
        return [piece.data for piece in found]

    def apply(self, changes: Iterable[tuple[str, row.Packed | None]]) -> None:
        """Take over the last change of each uid; None deletes. Quicker the more come together."""
        batch = _Batch(self)
        for uid, new in row.latest(changes):
            batch.add(uid, new)
        batch.write()


class _Batch:
    """What changes in the pieces, gathered so that each is written once."""

    def __init__(self, trees: CatalogueTrees) -> None:
        self.trees = trees
        self.sets: dict[str, dict[int, bool]] = {}
        self.postings: dict[str, dict[int, int]] = {}
        self.columns: dict[int, dict[int, tuple[int, ...]]] = {}
        self.lines: dict[int, dict[int, bytes]] = {}

    def add(self, uid: str, new: row.Packed | None) -> None:
        trees = self.trees
        number = trees.numbers.get(uid)
        old = None if number is None else (*trees.rows[number][1:], trees.words[number])
        if old == new:
            return
        if number is None:
            number = trees.numbers[uid] = trees.next
            trees.next += 1
        self._sets(number, old, new)
        self._words(uid, number, old, new)
        self._orders(uid, number, old, new)
        piece, offset = divmod(number, PIECE)
        self.lines.setdefault(piece, {})[offset] = b"" if new is None else row.line(new[row.REFERENCE])
        if new is None:
            del trees.numbers[uid], trees.rows[number], trees.words[number]
            return
        trees.rows[number] = (uid, *new[: row.WORDS])
        if old is None or old[row.WORDS] != new[row.WORDS]:
            trees.words[number] = new[row.WORDS]

    def _sets(self, number: int, old: row.Packed | None, new: row.Packed | None) -> None:
        piece, offset = divmod(number, PIECE)
        before = row.terms(old) if old else set()
        after = row.terms(new) if new else set()
        for term in before ^ after:
            self.sets.setdefault(sets.key(term, piece), {})[offset] = term in after

    def _words(self, uid: str, number: int, old: row.Packed | None, new: row.Packed | None) -> None:
        piece, offset = divmod(number, PIECE)
        before = row.words(old[row.WORDS]) if old else {}
        after = row.words(new[row.WORDS]) if new else {}
        for word in before.keys() | after.keys():
            if before.get(word) != after.get(word):
                self.postings.setdefault(sets.key(word, piece), {})[offset] = after.get(word, 0)
        length = sum(after.values())
        self.trees.length += length - sum(before.values())
        if new:
            times = (NO_TIME if value is None else value for value in new[row.CREATED : row.STOP + 1])
            starts = (row.start_of(key) for key in row.text_keys(uid, new).values())
            self.columns.setdefault(piece, {})[offset] = (*times, *starts, row.tie(uid), min(length, 65535))

    def _orders(self, uid: str, number: int, old: row.Packed | None, new: row.Packed | None) -> None:
        before = row.text_keys(uid, old) if old else {}
        after = row.text_keys(uid, new) if new else {}
        for name, order in self.trees.orders.items():
            if before.get(name) != after.get(name):
                if before:
                    del order[before[name]]
                if after:
                    order[after[name]] = number

    def write(self) -> None:
        """Write each piece that changes."""
        _write(self.trees.sets, self.sets, sets.changed)
        _write(self.trees.postings, self.postings, sets.changed_postings)
        for piece, rows in self.columns.items():
            self._write_columns(piece, rows)
        for piece, lines in self.lines.items() if self.trees.lines is not None else ():
            self._write_lines(piece, lines)

    def _write_lines(self, piece: int, lines: dict[int, bytes]) -> None:
        found = self.trees.lines.get(piece)
        there = [b""] * PIECE if found is None else found.data.split(END)[:PIECE]
        for offset, text in lines.items():
            there[offset] = text
        data = END.join([*there, b""])
        if found is None:
            self.trees.lines[piece] = CataloguePiece(data)
        elif found.data != data:
            found.data = data

    def _write_columns(self, piece: int, rows: dict[int, tuple[int, ...]]) -> None:
        where = list(rows)
        for (name, kind), values in zip(COLUMNS.items(), zip(*rows.values(), strict=True), strict=True):
            key = piece * _MOST + _NUMBER[name]
            found = self.trees.columns.get(key)
            column = np.zeros(PIECE, kind) if found is None else np.frombuffer(found.data, kind).copy()
            column[where] = values
            data = column.tobytes()
            if found is None:
                self.trees.columns[key] = CataloguePiece(data)
            elif found.data != data:
                found.data = data


def _write(tree: Any, changes: dict[str, Any], change: Callable[[bytes | None, Any], bytes]) -> None:
    for key in sorted(changes):
        data = change(tree.get(key), changes[key])
        if data:
            tree[key] = data
        elif key in tree:
            del tree[key]


def _children(tree: Any, keys: list[int]) -> list[tuple[Any, list[int]]]:
    """The parts of a BTree that have some of the sorted keys, with those; none of one that has no parts."""
    state = tree.__getstate__()
    if state is None or len(state) != 2:
        return []
    children, bounds = state[0][::2], state[0][1::2]
    found: dict[int, list[int]] = {}
    for key in keys:
        found.setdefault(bisect.bisect_right(bounds, key), []).append(key)
    return [(children[place], some) for place, some in found.items()]


def fetch(owner: Any, objects: list[Any]) -> None:
    """Load objects together, where that saves round trips."""
    missing = [found for found in objects if found._p_changed is None]
    if len(missing) > 1 and owner._p_jar is not None:
        owner._p_jar.prefetch(missing)


for _class in (CataloguePiece, CatalogueTrees):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
