"""Types of entities by name: ours, and those that other distributions offer as entry points `wendelin.entities`."""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from wendelin.storage.errors import NoEntityError

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

log = logging.getLogger(__name__)

#: The group of entry points: `name = "package.module:Class"`; the name is the type's.
GROUP = "wendelin.entities"

_OURS = ("nodes", "resources", "items", "paths", "movements", "events")


def types() -> dict[str, type[Entity]]:
    """All types by name, sorted."""
    return dict(sorted({**_theirs(), **_ours()}.items()))


def type_named(name: str) -> type[Entity]:
    """The type of that name. NoEntityError says which there are, and why one of an entry point is missing."""
    found = _ours().get(name) or _theirs().get(name)
    if found is not None:
        return found
    if name in _broken:
        raise NoEntityError(f"the type {name!r} cannot be loaded: {_broken[name]}")
    near = difflib.get_close_matches(name, types(), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(types())}"
    raise NoEntityError(f"no type of entities is named {name!r}; {hint}")


def forget() -> None:
    """Look for entry points again: a distribution was installed."""
    _theirs.cache_clear()
    _broken.clear()


_broken: dict[str, str] = {}


@functools.cache
def _ours() -> dict[str, type[Entity]]:
    from wendelin.storage.ubm.entity import Entity

    found: dict[str, type[Entity]] = {}
    for module in _OURS:
        for value in vars(importlib.import_module(f"wendelin.storage.ubm.{module}")).values():
            if isinstance(value, type) and issubclass(value, Entity) and value.type:
                found[value.type] = value
    return found


@functools.cache
def _theirs() -> dict[str, type[Entity]]:
    from wendelin.storage.ubm.entity import Entity

    found: dict[str, type[Entity]] = {}
    for entry in entry_points(group=GROUP):
        try:
            value = entry.load()
            if not (isinstance(value, type) and issubclass(value, Entity)):
                raise TypeError(f"{entry.value} is no subclass of wendelin's Entity")
            if value.type != entry.name or entry.name in _ours() or entry.name in found:
                raise TypeError(f"{entry.value} its type {value.type!r} must be {entry.name!r}, and not be taken")
        except Exception as error:  # noqa: BLE001  # one broken package must not take all others along
            log.warning("the entity type %s cannot be loaded: %s", entry.name, error)
            _broken[entry.name] = f"{type(error).__name__}: {error}"
        else:
            found[entry.name] = value
    return found
