"""Findings: what is damaged, to whom it belongs, and what helps."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from wendelin.storage.history.moments import told


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was committed.

    `place`: a file, or a table. `start`, `stop`: bytes there, None where there are none to name. `tid`, `oid`: the
    transaction that wrote it and the object, None where these are not known. `of`: which array or object, in words.
    """

    problem: str
    place: str
    start: int | None = None
    stop: int | None = None
    tid: bytes | None = None
    oid: bytes | None = None
    of: str = ""
    remedy: str = ""

    def told(self, of: str, remedy: str) -> Damage:
        """The same with what was found out about it."""
        return replace(self, of=of, remedy=remedy)

    def __str__(self) -> str:
        where = "" if self.start is None else f", bytes {self.start:,} to {self.stop:,}"
        when = "" if self.tid is None else f"\n  written at {told(self.tid)}"
        which = "" if self.oid is None else f", object {self.oid.hex()}"
        of = f"\n  {self.of}" if self.of else ""
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{self.problem}: {self.place}{where}{when}{which}{of}{remedy}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = asdict(self)
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in found.items()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Damage:
        """What `to_json` gave."""
        numbers = {name: bytes.fromhex(found[name]) for name in ("tid", "oid") if found[name] is not None}
        return cls(**{**found, **numbers})


@dataclass(frozen=True)
class Stored:
    """A blob that a transaction wrote: its object, and the record, which may have its checksums."""

    oid: bytes
    tid: bytes
    record: bytes


@dataclass(frozen=True)
class Looked:
    """One transaction that was looked at. `nbytes`: of its records. `checked`: it had checksums of them."""

    tid: bytes
    nbytes: int
    checked: bool
    damages: list[Damage]
    blobs: list[Stored]
