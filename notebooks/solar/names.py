"""References of the application's entities: ``solar:4`` is a plant, ``solar:4:sensor:ac_power`` one of its sensors.

They make loading again find what is there. Ids and columns of own plants may have letters that a reference must not
have: those are written as ``=`` and their number.
"""

from __future__ import annotations

import re

_RESERVED = re.compile(r"[\s/\\?#%\"'<>&:=]")
_WRITTEN = re.compile(r"=([0-9a-f]{4})")
_PLANT = re.compile(r"solar:([^:]*)\Z")


def plant(system_id: str) -> str:
    """The reference of a system's plant."""
    return f"solar:{_quoted(system_id)}"


def part(system_id: str, kind: str, name: str = "") -> str:
    """The reference of what belongs to a plant: `kind` is sensor, array, supply, …"""
    return ":".join([plant(system_id), kind, *([_quoted(name)] if name else [])])


def system_id(reference: str) -> str | None:
    """The id of the system whose plant has this reference; None when it is no plant of this application."""
    found = _PLANT.match(reference)
    return None if found is None else _WRITTEN.sub(lambda each: chr(int(each[1], 16)), found[1])


def _quoted(text: str) -> str:
    return _RESERVED.sub(lambda found: f"={ord(found[0]):04x}", text)
