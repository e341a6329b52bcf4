"""The options of `activate`, with CMFActivity's meaning, checked when they are given."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wendelin.storage.errors import OptionError

#: Cost of a message of a group by default: a hundred messages fill one call.
GROUP_COST = 0.01

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `activate` was given. Times are seconds; dates are seconds since 1970, in UTC."""

    tag: str = ""
    after_tag: tuple[str, ...] = ()
    after_method_id: tuple[str, ...] = ()
    after_path: tuple[str, ...] = ()
    after_path_and_method_id: Pairs = ()
    after_tag_and_method_id: Pairs = ()
    serialization_tag: str = ""
    priority: int = 1
    at_date: float | None = None
    delay: float | None = None
    node: str = ""
    group_method_id: str | None = None
    group_method_cost: float = GROUP_COST
    unique: bool = False
    max_retry: int | None = None
    conflict_retry: bool = True
    on_error_callback: str = ""
    timeout: float | None = None
    progress: str = ""

    @property
    def waits(self) -> bool:
        """Whether it waits for other messages."""
        return bool(
            self.after_tag
            or self.after_method_id
            or self.after_path
            or self.after_path_and_method_id
            or self.after_tag_and_method_id
        )


_NAMES = [field.name for field in dataclasses.fields(Options)]


def checked(given: dict[str, Any]) -> Options:
    """Options from keyword arguments. `OptionError` names what is wrong with which."""
    for name in given:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_NAMES)}"
            raise OptionError(f"activate() has no option {name!r}{hint}")
    checks = {name: _CHECKS.get(name, lambda name, value: value)(name, value) for name, value in given.items()}
    return Options(**checks)


def path_of(value: Any) -> str:
    """What `after_path` waits for: a stored object, as its number; a string stands for itself."""
    if isinstance(value, str):
        return _plain(value)
    oid = getattr(value, "_p_oid", None)
    if oid is None:
        raise OptionError(f"after_path={value!r} is no object of a database yet: store it first, or give its path")
    return f"{int.from_bytes(oid, 'big'):#x}"


def _texts(name: str, value: Any) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(item, str) for item in items):
        raise OptionError(f"{name}={value!r}: give a string or strings")
    return tuple(map(_plain, items))


def _paths(name: str, value: Any) -> tuple[str, ...]:
    return tuple(path_of(item) for item in (value if isinstance(value, (list, tuple)) else (value,)))


def _pairs(name: str, value: Any) -> Pairs:
    first, second = value if isinstance(value, (list, tuple)) and len(value) == 2 else (None, None)
    if first is None or second is None:
        raise OptionError(f"{name}={value!r}: give a pair, as ('one', 'method') or (['one', 'two'], ['method'])")
    firsts = _paths(name, first) if "path" in name else _texts(name, first)
    return tuple((a, b) for a in firsts for b in _texts(name, second))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{name}={value!r}: give a string")
    return _plain(value)


def _plain(value: str) -> str:
    """Not an enumeration's member or numpy's: the class of those would lie in records that all read."""
    return str.__str__(value)


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _flag(name: str, value: Any) -> bool:
    if value not in (True, False):
        raise OptionError(f"{name}={value!r}: give True or False")
    return bool(value)


def _priority(name: str, value: Any) -> int:
    if not isinstance(value, int) or not -128 <= value <= 127:
        raise OptionError(f"priority={value!r}: give a number from -128 (first) to 127 (last)")
    return int(value)


def _date(name: str, value: Any) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    return _seconds(name, value)


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise OptionError(f"{name}={value!r}: give seconds, 0 or more" + (", or a datetime" * (name == "at_date")))
    return float(value)


def _cost(name: str, value: Any) -> float:
    cost = _seconds(name, value)
    if not cost or cost > 1:
        raise OptionError(f"group_method_cost={value!r}: give the share of one call that a message takes, over 0 to 1")
    return cost


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise OptionError(f"{name}={value!r}: give a number of times, 0 or more, or None")
    return None if value is None else int(value)


_CHECKS: dict[str, Any] = {
    "tag": _text,
    "after_tag": _texts,
    "after_method_id": _texts,
    "after_path": _paths,
    "after_path_and_method_id": _pairs,
    "after_tag_and_method_id": _pairs,
    "serialization_tag": _text,
    "priority": _priority,
    "at_date": _date,
    "delay": _seconds,
    "node": _text,
    "group_method_id": _text_or_none,
    "group_method_cost": _cost,
    "unique": _flag,
    "conflict_retry": _flag,
    "max_retry": _count,
    "on_error_callback": _text,
    "timeout": _seconds,
    "progress": _text,
}
