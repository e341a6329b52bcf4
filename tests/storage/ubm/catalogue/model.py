"""What a catalogue must answer, computed the plain way from a list of rows."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
UIDS = [f"{number:032x}" for number in range(8)]
TYPES, STATES, ROLES = ["plant", "sensor", "plant2"], ["draft", "validated"], ["item", "path", "node"]
REFERENCES = ["PLANT-4", "PLANT-40", "SEN-1", "sen-2", "Ä[1]", "SEN-*", ""]
PATTERNS = ["PLANT-4", "plant", "SEN-?", "*4*", "Ä[[]1]", "sen-[!1]", "nothing", ""]
PATTERNS += ["*", "p*4*", "*-4", "sen*", "*n*-*", "*n-*n*", "*ä*]", "p*t-4*0"]
PATTERNS += ["?*", "s?n*", "*?4?", "??", "*-?", "?[[]?]"]
WORDS = ["Inverter", "inverse", "Straße", "STRASSE", "Öl", "ol", "roof", "Roof_4", "12.3 kW", "ﬁne", "中文", "b"]
ASKED = ["inver*", "inverter", "strasse", "ol", "ÖL roof", "roof 4", "1*", "fine", "中*", "none", "!!", "inver* straße"]

moments = st.integers(0, 6).map(lambda hours: MOMENT + timedelta(hours=hours))
uids = st.sampled_from(UIDS)


def _some(values: list[str]) -> Any:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), max_size=2)


rows = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "roles": st.lists(st.sampled_from(ROLES), unique=True, max_size=2),
        "state": st.sampled_from(STATES),
        "reference": st.sampled_from(REFERENCES),
        "title": st.sampled_from(["", "Roof", "roof", "Árbol", "barn", "z" * 90]),
        "relations": st.dictionaries(st.sampled_from(["owner", "asset"]), st.lists(uids, unique=True, max_size=3)),
        "created": moments,
        "modified": moments,
        "start": st.none() | moments,
        "stop": st.none() | moments,
        "words": st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    }
)

_spans = st.tuples(st.none() | moments, st.none() | moments)

queries = st.fixed_dictionaries(
    {},
    optional={
        "type": _some(TYPES),
        "role": _some(ROLES),
        "state": _some(STATES),
        "reference": st.sampled_from(
            [
                "PLANT-4",
                "plant",
                "SEN-?",
                "*4*",
                "Ä[[]1]",
                "sen-[!1]",
                "nothing",
                "",
                "*",
                "p*4*",
                "*-4",
                "sen*",
                "*n*-*",
                "*n-*n*",
            ]
        ),
        "relation": st.dictionaries(st.sampled_from(["owner", "asset"]), uids | st.lists(uids, max_size=2)),
        "text": st.sampled_from(ASKED),
        "created": _spans,
        "start": _spans,
        "sort": st.sampled_from(
            ["reference", "-reference", "title", "-title", "created", "-modified", "start", "-stop"]
        ),
        "limit": st.integers(1, 5),
    },
)


def plain(text: str) -> str:
    """Without case and accents."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", plain(text))


def fits(row: dict[str, Any], query: dict[str, Any]) -> bool:
    """Whether a row is among those asked for."""
    for name in ("type", "state"):
        if name in query and row[name] not in _list(query[name]):
            return False
    if "role" in query and not set(_list(query["role"])) & set(row["roles"]):
        return False
    for name, targets in query.get("relation", {}).items():
        if not set(_list(targets)) & set(row["relations"].get(name, ())):
            return False
    if not _reference_fits(plain(row["reference"]), plain(query.get("reference", ""))):
        return False
    for name in ("created", "start"):
        first, last = query.get(name, (None, None))
        if first is not None and (row[name] is None or row[name] < first):
            return False
        if last is not None and (row[name] is None or row[name] >= last):
            return False
    return "text" not in query or _text_fits(tokens(row["words"]), plain(query["text"]))


def _reference_fits(reference: str, asked: str) -> bool:
    return fnmatch.fnmatchcase(reference, asked) if re.search(r"[*?\[]", asked) else reference.startswith(asked)


def _text_fits(there: list[str], asked: str) -> bool:
    words = re.findall(r"[^\W_]+\*?", asked)
    return bool(words) and all(
        any(each.startswith(word[:-1]) if word.endswith("*") else each == word for each in there) for word in words
    )


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def in_order(rows: list[dict[str, Any]], sort: str) -> bool:
    """Whether rows are sorted; those without a time come last."""
    name = sort.removeprefix("-")
    values = [row[name] for row in rows]
    there = [plain(value)[:80] if isinstance(value, str) else value for value in values if value is not None]
    if values[: len(there)].count(None):
        return False
    return there == sorted(there, reverse=sort.startswith("-"))
