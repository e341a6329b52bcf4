"""What a search asks for, checked; and whether a single recent row fits."""

from __future__ import annotations

import base64
import difflib
import fnmatch
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wendelin.storage.errors import QueryError
from wendelin.storage.ubm.catalogue import row

#: What rows can be looked up by, and what else a search takes.
FILTERS = ("type", "role", "state", "reference", "relation", "text", *row.TIMES)
OPTIONS = ("sort", "limit", "after")

#: Orders: by words' weight only where words are asked for. A minus in front turns an order round.
RANK = "rank"
SORTS = (*row.TEXTS, *row.TIMES, RANK)

_PLACES = {"type": row.TYPE, "state": row.STATE, "role": row.ROLES}
_PATTERN = re.compile(r"[*?\[]")

Key = tuple[Any, ...]


@dataclass
class Query:
    """A checked question. `equal` and `relations` hold alternatives: a row must have one of each group."""

    equal: dict[str, frozenset[str]]
    relations: dict[str, frozenset[str]]
    words: list[tuple[str, bool]]
    text: bool
    prefix: str
    pattern: re.Pattern[str] | None
    parts: list[str] | None  # of a pattern without brackets: what stands between its stars
    times: dict[str, tuple[int | None, int | None]]
    sort: str = "reference"
    backwards: bool = False
    limit: int | None = 50
    after: Key | None = None

    @property
    def sets(self) -> list[list[str]]:
        """The sets of `row.terms` that a row must be in: in one of each group."""
        equal = [[row.term(name, value) for value in values] for name, values in self.equal.items()]
        return equal + [[row.pointing(uid, name) for uid in uids] for name, uids in self.relations.items()]

    @property
    def referenced(self) -> bool:
        """Whether references are asked for."""
        return bool(self.prefix) or self.pattern is not None

    def fits(self, packed: row.Packed) -> bool:
        """Whether a row fits."""
        for name, values in self.equal.items():
            if values.isdisjoint(packed[row.ROLES] if name == "role" else (packed[_PLACES[name]],)):
                return False
        if self.relations:
            there = dict(packed[row.RELATIONS])
            if any(uids.isdisjoint(there.get(name, ())) for name, uids in self.relations.items()):
                return False
        if self.referenced and not self.reference_fits(row.folded(packed[row.REFERENCE])):
            return False
        for name, (first, last) in self.times.items():
            value = packed[row.CREATED + row.TIMES.index(name)]
            if value is None or (first is not None and value < first) or (last is not None and value >= last):
                return False
        return not self.text or self._words_fit(row.folded(packed[row.WORDS]))

    def reference_fits(self, folded: str) -> bool:
        """Whether a folded reference fits."""
        return folded.startswith(self.prefix) and (self.pattern is None or self.pattern.match(folded) is not None)

    def _words_fit(self, folded: str) -> bool:
        if not self.words or not all(word in folded for word, _ in self.words):
            return False
        there = row.words(folded)
        return all(self.counted(there, word, begins) for word, begins in self.words)

    @staticmethod
    def counted(there: dict[str, int], word: str, begins: bool) -> int:
        """How often a word is there, or words that begin so."""
        if not begins:
            return there.get(word, 0)
        return sum(count for each, count in there.items() if each.startswith(word))


def checked(query: dict[str, Any]) -> Query:
    """The question of a search; QueryError says which part cannot be understood, and what can."""
    known = (*FILTERS, *OPTIONS)
    for name in query:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise QueryError(f"{name!r} is nothing to search by; {hint}There are {', '.join(known)}")
    given = {name: value for name, value in query.items() if value is not None}
    prefix, pattern, parts = _reference(given.get("reference", ""))
    text = given.get("text", "")
    found = Query(
        equal={name: _exact(name, given[name]) for name in _PLACES if name in given},
        relations=_relations(given.get("relation", {})),
        words=row.asked_words(_string("text", text)),
        text=bool(text),
        prefix=prefix,
        pattern=pattern,
        parts=parts,
        times={name: times for name in row.TIMES if (times := _times(name, given.get(name, (None, None))))},
    )
    _page(found, query)
    return found


def _exact(name: str, given: Any) -> frozenset[str]:
    return frozenset(_string(name, value) for value in _several(given))


def _relations(given: Any) -> dict[str, frozenset[str]]:
    if not isinstance(given, dict):
        raise QueryError(f"relation = {given!r}: give names with uids, as {{'owner': uid}}")
    return {
        name: frozenset(_string(f"relation[{name!r}]", getattr(uid, "uid", uid)) for uid in _several(uids))
        for name, uids in given.items()
    }


def _reference(given: Any) -> tuple[str, re.Pattern[str] | None, list[str] | None]:
    """How it begins; its pattern, if it is more than that; see `Query.parts`."""
    folded = row.folded(_string("reference", given))
    found = _PATTERN.search(folded)
    if found is None:
        return folded, None, None
    prefix, rest = folded[: found.start()], folded[found.start() :]
    if not rest.strip("*"):
        return prefix, None, None
    return prefix, re.compile(fnmatch.translate(folded)), None if "[" in rest else folded.split("*")


def _times(name: str, given: Any) -> tuple[int | None, int | None] | None:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise QueryError(f"{name} = {given!r}: give two times (from, to), each may be None; 'to' is not included")
    first, last = (row.microseconds(name, value) for value in given)
    return None if first is None and last is None else (first, last)


def _several(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple | set | frozenset) else [given]


def _string(name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise QueryError(f"{name} = {given!r}: give a string")
    return given


# -- pages


def _page(query: Query, given: dict[str, Any]) -> None:
    sort = given.get("sort") or (RANK if query.words else "reference")
    query.backwards, query.sort = str(sort).startswith("-"), str(sort).removeprefix("-")
    if query.sort not in SORTS or (query.sort == RANK and not query.text):
        orders = ", ".join(name for name in SORTS if name != RANK or query.text)
        raise QueryError(f"sort = {sort!r}: there are {orders}, and each with a minus")
    query.limit = given.get("limit", 50)
    if query.limit is not None and (isinstance(query.limit, bool) or not isinstance(query.limit, int)):
        raise QueryError(f"limit = {query.limit!r}: give a number of rows, or None for all")
    if query.limit is not None and query.limit < 0:
        raise QueryError(f"limit = {query.limit}: give a number of rows, or None for all")
    if given.get("after") is not None:
        query.after = _opened(query, given["after"])


def cursor(query: Query, last: Key) -> str:
    """Where the next page begins, to be given as `after`."""
    plain = json.dumps([query.sort, query.backwards, *last], separators=(",", ":"))
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _opened(query: Query, after: Any) -> Key:
    wrong = QueryError(f"after = {after!r}: give what the page before has as `next`, with the same sort")
    try:
        sort, backwards, *key = json.loads(base64.urlsafe_b64decode(str(after) + "=="))
    except (ValueError, TypeError):
        raise wrong from None
    textual = query.sort in row.TEXTS
    if (sort, backwards) != (query.sort, query.backwards) or len(key) != (1 if textual else 2):
        raise wrong
    if not all(isinstance(part, str if textual else int | float) and not isinstance(part, bool) for part in key):
        raise wrong
    return tuple(key)


def selector(name: str, query: Query) -> Callable[[str, row.Packed], Key]:
    """What recent rows sort by, in orders of texts and times."""
    if name in row.TEXTS:
        text = row.REFERENCE if name == "reference" else row.TITLE
        return lambda uid, packed: (row.text_key(packed[text], uid),)
    place, sign = row.CREATED + row.TIMES.index(name), -1 if query.backwards else 1
    return lambda uid, packed: (LAST if packed[place] is None else sign * packed[place], row.tie(uid))


#: What has no time comes last, in both directions.
LAST = 2**63 - 1
