"""Conditional requests: an ETag is the transaction that made what is shown, `"0411f3a29d1c8877"`.

Other formats and codings of the same state have the same number with a suffix, `"0411f3a29d1c8877;npy+gzip"`, since
strong validators tell bytes apart. Writers compare the number only: who read an array as npy may append with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ZODB.utils import z64

from wendelin.extensions.server.problems import ProblemError

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')


class NotModifiedError(Exception):
    """The caller has this state already: 304."""

    def __init__(self, version: bytes) -> None:
        super().__init__(version.hex())
        self.version = version


def version_of(*objects: Any) -> bytes:
    """The transaction that changed some stored objects last."""
    for stored in objects:
        stored._p_activate()
    return max((bytes(stored._p_serial) for stored in objects), default=z64)


def etag(version: bytes, suffix: str = "") -> str:
    """The header's value. `suffix` names the format, unless it is the usual one, and the coding."""
    return f'"{version.hex()}{suffix}"'


@dataclass(frozen=True)
class Preconditions:
    """What a request knows of the state: the tags of its If-Match and If-None-Match, `None` where it has none."""

    match: list[str] | None
    none_match: list[str] | None

    def check(self, version: bytes, suffix: str, *, writes: bool) -> None:
        """Raise 412 when the state is not the one that was expected, `NotModifiedError` when a reader has it.

        `suffix` names the format that the answer would have.
        """
        if self.match is not None and "*" not in self.match and version.hex() not in map(_number, self.match):
            raise ProblemError(
                "changed",
                f"If-Match names {', '.join(self.match) or 'no state'}, this is at {version.hex()}: get it again, "
                "decide again, and send the new ETag",
            )
        if self.none_match is not None:
            shown = f"{version.hex()}{suffix}"
            known = "*" in self.none_match or shown in (tag.removesuffix("+gzip") for tag in self.none_match)
            if known and writes:
                raise ProblemError("changed", f"If-None-Match names the present state, {version.hex()}")
            if known:
                raise NotModifiedError(version)


def preconditions(match: str | None, none_match: str | None) -> Preconditions:
    """Read the two headers. Raises 400 for what is no list of entity tags."""
    return Preconditions(_tags("If-Match", match), _tags("If-None-Match", none_match))


def _number(tag: str) -> str:
    return tag.partition(";")[0].partition("+")[0]


def _tags(name: str, value: str | None) -> list[str] | None:
    if value is None:
        return None
    if value.strip() == "*":
        return ["*"]
    found, position = [], 0
    while position < len(value):
        one = _TAG.match(value, position)
        if one is None:
            raise ProblemError("malformed", f'{name}: {value!r} is no list of entity tags, as "0411f3a29d1c8877"')
        # If-Match compares strongly: a weak tag matches nothing.
        if not (one[1] and name == "If-Match"):
            found.append(one[2])
        position = one.end()
    return found
