"""What a wendelin.core database holds, in the order and under the names in which it comes along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.extents import PAGE
from wendelin.storage.arrays.layout import BLOCK
from wendelin.storage.wendelin_core.classes import BigArray, BigFile, Unknown
from wendelin.storage.wendelin_core.plain import foreign, holds_objects, portable
from wendelin.storage.wendelin_core.source import Source

Path = tuple[str, ...]

#: Paths that a note names; of the others it has the number.
_NAMED = 20

#: Objects looked at between two looks at the cache.
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that comes along. `thing`: a `BigArray` or `BigFile`, a plain value, or the path of an alias."""

    path: Path
    kind: Literal["folder", "array", "value", "alias"]
    thing: Any = None


@dataclass(slots=True)
class Note:
    """Something that does not come as it was: what, how often, and where at first."""

    text: str
    count: int = 0
    paths: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = f" and {self.count - len(self.paths):,} more" if self.count > len(self.paths) else ""
        return f"{self.text}: {', '.join(self.paths)}{more}"


class Walk:
    """Goes through a database from its root, depth first, always in the same order.

    Mappings become folders; other objects of unknown classes are only searched for arrays, after everything else, so
    that an array has its name from a mapping if it is in one. Keeps only oids and paths in memory.
    """

    def __init__(self, source: Source) -> None:
        self.notes: dict[str, Note] = {}
        self._source = source
        self._first: dict[bytes, Path] = {}  # where an array or container that came along was met first
        self._searched: set[bytes] = set()  # what was searched for arrays only
        self._unknown: list[tuple[Path, Any]] = []  # to be searched when the rest is done
        self._inside: set[bytes | int] = set()

    def __iter__(self) -> Iterator[Item]:
        root = self._source.root
        if isinstance(root, Unknown):
            self._postpone((), root)
        else:
            self._first[root._p_oid] = ()
            yield from self._through((), root, arrays_only=False)
        for path, thing in self._unknown:
            unknown = self._source.get(thing) if isinstance(thing, bytes) else thing
            yield from self._through(path, unknown, arrays_only=True)

    def note(self, path: Path, text: str) -> None:
        """Remember that `path` does not come as it was."""
        note = self.notes.setdefault(text, Note(text))
        note.count += 1
        if len(note.paths) < _NAMED:
            note.paths.append(repr("/".join(path)) if path else "the root")

    def _through(self, path: Path, thing: Any, *, arrays_only: bool) -> Iterator[Item]:
        """The items inside `thing`. Frames lie in a list, because objects may be nested deeper than Python's stack."""
        frames = [(path, _identity(thing), self._children(path, thing))]
        self._inside.add(_identity(thing))
        steps = 0
        while frames:
            path, identity, children = frames[-1]
            found = next(children, None)
            if found is None:
                frames.pop()
                self._inside.discard(identity)
                continue
            steps += 1
            if steps % _STEPS == 0:
                self._source.forget()
            name, child = found
            item, enter = self._visit((*path, name), child, arrays_only)
            if item is not None:
                yield item
            if enter:
                frames.append(((*path, name), _identity(child), self._children((*path, name), child)))
                self._inside.add(_identity(child))

    def _visit(self, path: Path, thing: Any, arrays_only: bool) -> tuple[Item | None, bool]:
        """What `thing` comes as, and whether to look into it."""
        oid = thing._p_oid if isinstance(thing, Persistent) else None
        is_array = isinstance(thing, BigArray | BigFile)
        if _identity(thing) in self._inside:
            if not arrays_only:
                self.note(path, "left out, because it leads back to a folder that it lies in")
            return None, False
        if oid in self._first:
            return (None if arrays_only and not is_array else Item(path, "alias", self._first[oid])), False
        problem = _unreadable(thing)
        if problem:
            self.note(path, problem)
            return None, False
        if is_array:
            return self._array(path, thing), False
        if isinstance(thing, Unknown):
            return None, self._search(thing) if arrays_only else self._postpone(path, thing)
        if _is_container(thing):
            if arrays_only:
                return None, self._search(thing)
            if oid is not None:
                self._first[oid] = path
            return Item(path, "folder"), True
        return (None if arrays_only else self._value(path, thing)), False

    def _array(self, path: Path, array: BigArray | BigFile) -> Item | None:
        try:
            counterpart(array)
        except (TypeError, ValueError) as error:
            self.note(path, f"left out: {error}")
            return None
        if isinstance(array, BigFile):
            self.note(path, "a file without an array: it comes as an array of bytes, as long as its blocks reach")
        self._first[array._p_oid] = path
        return Item(path, "array", array)

    def _value(self, path: Path, thing: Any) -> Item | None:
        problem = foreign(thing)
        if problem:
            self.note(path, f"left out, because it holds {problem}")
            return None
        return Item(path, "value", portable(thing))

    def _search(self, thing: Any) -> bool:
        """Whether `thing`, met while looking for arrays, was not yet searched."""
        if thing._p_oid is None if isinstance(thing, Persistent) else True:
            return True
        new = thing._p_oid not in self._searched
        self._searched.add(thing._p_oid)
        return new

    def _postpone(self, path: Path, thing: Unknown) -> bool:
        kind = f"{type(thing).__module__}.{type(thing).__name__}"
        self.note(path, f"an object of the unknown class {kind}, of which only arrays come along")
        if self._search(thing):
            self._unknown.append((path, thing if thing._p_oid is None else thing._p_oid))
        return False

    def _children(self, path: Path, thing: Any) -> Iterator[tuple[str, Any]]:
        names = _Names(thing)
        for key, child in _entries(thing):
            name = names.of(key)
            if not isinstance(key, str):
                self.note((*path, name), "named by the text of a key that is no text")
            elif name != key:
                self.note((*path, name), "renamed: a name has no slashes, and is neither empty nor dots")
            yield name, child


class _Names:
    """Names of a container's keys, different for different keys."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._given: set[str] = set()

    def of(self, key: Any) -> str:
        text = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
        text = text.replace("/", "%2F")
        if text in ("", ".", ".."):
            text = text.replace(".", "%2E") or "%"
        if text == key or isinstance(self._container, list | tuple | PersistentList):
            return text
        while text in self._given or _has(self._container, text):
            text += "~"
        self._given.add(text)
        return text


def _has(container: Any, name: str) -> bool:
    try:
        return name in container
    except TypeError:  # a tree of numbers
        return False


def _identity(thing: Any) -> bytes | int:
    oid: bytes | None = thing._p_oid if isinstance(thing, Persistent) else None
    return id(thing) if oid is None else oid


def _unreadable(thing: Any) -> str:
    """Why the stored object cannot be loaded; empty when it can."""
    if isinstance(thing, Persistent):
        try:
            thing._p_activate()
        except Exception as error:  # noqa: BLE001 - whatever a foreign record raises is told, and the rest comes along
            cause = error.__cause__ or error
            return f"left out, because it cannot be read ({type(cause).__name__}: {cause})"
    return ""


def _entries(thing: Any) -> Iterator[tuple[Any, Any]]:
    """(key, object) of everything directly inside."""
    if isinstance(thing, Unknown):
        return iter(getattr(thing, "kept", {}).items())  # loads it, which `__dict__` does not
    if isinstance(thing, list | tuple | PersistentList):
        return iter([(str(i), value) for i, value in enumerate(thing)])
    return iter(thing.items())


def _is_container(thing: Any) -> bool:
    """Whether it becomes a folder: persistent mappings do; plain dicts and lists when they hold objects."""
    if isinstance(thing, PersistentMapping) or _is_tree(thing):
        return True
    if isinstance(thing, PersistentList):
        return holds_objects(thing)
    return isinstance(thing, dict | list | tuple) and holds_objects(thing)


def _is_tree(thing: Any) -> bool:
    return type(thing).__module__.startswith("BTrees.") and hasattr(thing, "items")


def counterpart(array: BigArray | BigFile) -> ZBigArray:
    """An array of ours that is like `array`, without its contents. TypeError or ValueError tell why there is none."""
    file = array if isinstance(array, BigFile) else array.zfile
    block = file.blksize if file.blksize >= PAGE and not file.blksize & (file.blksize - 1) else BLOCK
    if isinstance(array, BigArray):
        return ZBigArray(array.shape, _without_metadata(array.dtype), array.order, block)
    blocks = file.blktab.maxKey() + 1 if file.blktab else 0
    return ZBigArray((blocks * file.blksize,), np.uint8, "C", block)


def _without_metadata(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype as it lies in memory; pickled ones of dates carry an empty dict of metadata, which cannot be stored."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_without_metadata(base), shape))
    if dtype.fields is None:
        return np.dtype(dtype.str)
    fields = [dtype.fields[name] for name in dtype.names or ()]
    return np.dtype(
        {
            "names": list(dtype.names or ()),
            "formats": [_without_metadata(field[0]) for field in fields],
            "offsets": [field[1] for field in fields],
            "itemsize": dtype.itemsize,
        }
    )
