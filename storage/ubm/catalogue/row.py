"""Rows as they are stored (plain tuples), and what of them can be looked up: terms, words, keys that sort."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from wendelin.storage.errors import QueryError

#: Places in a packed row.
TYPE, ROLES, STATE, REFERENCE, TITLE, RELATIONS, CREATED, MODIFIED, START, STOP, WORDS = range(11)

TIMES = ("created", "modified", "start", "stop")
TEXTS = ("reference", "title")

#: Words longer than this are cut, and so are the keys that sort.
_LONGEST_WORD, _LONGEST_KEY = 64, 80

_WORD = re.compile(r"[^\W_]+")
_ASKED_WORD = re.compile(r"[^\W_]+\*?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Packed = tuple[Any, ...]


def pack(row: dict[str, Any]) -> Packed:
    """A row as it is stored. `role` is one, `roles` are several; what is missing is empty."""
    roles: Any = row.get("roles") or row.get("role") or ()
    relations: dict[str, Any] = row.get("relations") or {}
    return (
        row["type"],
        (roles,) if isinstance(roles, str) else tuple(roles),
        row.get("state") or "",
        row.get("reference") or "",
        row.get("title") or "",
        tuple((name, tuple(relations[name])) for name in sorted(relations) if relations[name]),
        *(microseconds(name, row.get(name)) for name in TIMES),
        row.get("words") or "",
    )


def unpack(uid: str, packed: Packed) -> dict[str, Any]:
    """A row as it is shown; without its words."""
    return {
        "uid": uid,
        "type": packed[TYPE],
        "roles": packed[ROLES],
        "state": packed[STATE],
        "reference": packed[REFERENCE],
        "title": packed[TITLE],
        "relations": {name: list(uids) for name, uids in packed[RELATIONS]},
        **{name: moment(value) for name, value in zip(TIMES, packed[CREATED : STOP + 1], strict=True)},
    }


def microseconds(name: str, value: Any) -> int | None:
    """Since 1970; QueryError when it is no time with a zone."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise QueryError(f"{name} = {value!r} is no time with a zone: give a datetime, as datetime.now(UTC)")
    return int((value - _EPOCH) // _MICROSECOND)


def moment(value: int | None) -> datetime | None:
    """The UTC time of so many microseconds."""
    return None if value is None else _EPOCH + value * _MICROSECOND


# -- what can be looked up


def terms(packed: Packed) -> set[str]:
    """The sets that a row is in."""
    return {
        "all",
        term("type", packed[TYPE]),
        term("state", packed[STATE]),
        *(term("role", role) for role in packed[ROLES]),
        *(pointing(uid, name) for name, uids in packed[RELATIONS] for uid in uids),
    }


def term(field: str, value: str) -> str:
    """The name of the set of rows with that value."""
    return f"{field}={value}"


def pointing(uid: str, name: str = "") -> str:
    """The name of the set of rows that point there by a relation; or what these names begin with."""
    return f">{uid}>{name}"


def words(text: str) -> Counter[str]:
    """Words with how often they are there: without case, accents, and differences of form that mean nothing."""
    return Counter(word[:_LONGEST_WORD] for word in _WORD.findall(folded(text)))


def asked_words(text: str) -> list[tuple[str, bool]]:
    """Words that somebody looks for, and whether they only begin so ("inver*")."""
    found = dict.fromkeys(_ASKED_WORD.findall(folded(text)))
    return [(word.rstrip("*")[:_LONGEST_WORD], word.endswith("*")) for word in found]


def folded(text: str) -> str:
    """Text without case and accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


# -- what sorts


def text_key(text: str, uid: str) -> str:
    """What a text sorts by; equal texts by their uid."""
    return f"{folded(text).replace(chr(0), ' ')[:_LONGEST_KEY]}\0{uid}"


def line(text: str) -> bytes:
    """A folded text as it is looked for by patterns."""
    return folded(text).encode("utf-8", "surrogatepass")


def start_of(text: str, fill: bytes = b"\0") -> int:
    """The first eight bytes of a folded text, as a number that sorts alike."""
    return int.from_bytes(text.encode("utf-8", "surrogatepass")[:8].ljust(8, fill), "big")


def text_at(number: int) -> str:
    """The least text that begins so."""
    return number.to_bytes(8, "big").rstrip(b"\0").decode(errors="ignore")


def text_keys(uid: str, packed: Packed) -> dict[str, str]:
    """The keys of a row by the name of the order."""
    return {"reference": text_key(packed[REFERENCE], uid), "title": text_key(packed[TITLE], uid)}


def tie(uid: str) -> int:
    """What rows with the same time or the same rank sort by: 63 bits of the uid's hash."""
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "big") >> 1


def latest(changes: Iterable[tuple[str, Packed | None]]) -> Iterator[tuple[str, Packed | None]]:
    """The last change of each uid."""
    yield from dict(changes).items()
