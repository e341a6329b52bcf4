"""Plain values: what means the same in any program, so that it can come along from another database."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import zodbpickle
from persistent import Persistent
from persistent.list import PersistentList

_ATOMS = {
    type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, zodbpickle.binary,
    dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone,
    decimal.Decimal, fractions.Fraction, uuid.UUID,
}  # fmt: skip
_COLLECTIONS = {dict, list, tuple, set, frozenset, collections.Counter, collections.OrderedDict, collections.deque}


def foreign(value: Any) -> str:
    """What in a value is not plain; empty for a plain value. A PersistentList is plain when its items are."""
    seen: set[int] = set()
    left = _items(value)
    while left:
        part = left.pop()
        if _is_atom(part):
            continue
        if type(part) not in _COLLECTIONS:
            kind = part if isinstance(part, type) else type(part)
            what = "the class or function" if isinstance(part, type) else "an object of"
            return f"{what} {kind.__module__}.{kind.__name__}"
        if id(part) not in seen:
            seen.add(id(part))
            left += part
            left += part.values() if isinstance(part, Mapping) else ()
    return ""


def portable(value: Any) -> Any:
    """A plain value without ties to the database that it came from."""
    if not isinstance(value, Persistent):
        return value
    kind: Any = type(value)
    return kind(value()) if kind.__module__ == "BTrees.Length" else kind(_items(value))


def holds_objects(container: Any) -> bool:
    """Whether a persistent object, or one of an unknown class, is somewhere in plain lists, tuples and dicts."""
    seen: set[int] = set()
    left = list(container.values() if isinstance(container, dict) else container)
    while left:
        part = left.pop()
        if isinstance(part, Persistent):
            return True
        if isinstance(part, dict | list | tuple) and id(part) not in seen:
            seen.add(id(part))
            left += part.values() if isinstance(part, dict) else part
    return False


def _items(value: Any) -> list[Any]:
    """What has to be plain for the value to be plain."""
    if isinstance(value, PersistentList):
        return list(value)
    if not type(value).__module__.startswith("BTrees."):
        return [value]
    return list(value.keys()) if hasattr(value, "keys") else [value()]


def _is_atom(value: Any) -> bool:
    kind = type(value)
    if kind is np.ndarray:
        return not value.dtype.hasobject
    return kind in _ATOMS or (isinstance(value, np.generic | np.dtype) and not isinstance(value, np.object_))
