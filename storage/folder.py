"""`Folder`: a persistent mapping from names to objects, where names with slashes make folders within folders.

New names are gathered in the folder's own record, where concurrent additions merge by name; when there are many, they
move into a BTree beneath. So folders hold millions of names, and processes that add different names at the same time
do not conflict, which entries of a plain BTree do whenever they share a bucket.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, MutableMapping
from typing import Any

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.interfaces import IPersistent
from ZODB.POSException import ConflictError

from wendelin.storage.activities.active import Active

#: Names that a folder's own record gathers before they move into the tree.
RECENT_NAMES = 256

#: What a repr shows at most.
_SHOWN = 20

State = dict[str, Any]


class Folder(Active, Persistent, MutableMapping[str, Any]):
    """A persistent, sorted mapping of names. `folder["a/b/c"] = x` makes the folders `a` and `a/b` as needed.

    Values are any persistent or picklable objects; a plain mutable value (a dict, a list) is stored when it is
    assigned, later changes to it are not noticed: assign it again, or use a Folder or PersistentMapping.

    *Concurrency*: transactions that add, replace or delete different names merge; the same name raises
    `ZODB.POSException.ConflictError`, and so does making the same new subfolder at the same time: retry then.
    """

    _p_changed: bool | None

    def __init__(self) -> None:
        self._recent: dict[str, tuple[Any, ...]] = {}  # name → (value,), or () for a name that was deleted
        self._tree: OOBTree | None = None

    # -- the mapping

    def __getitem__(self, path: str) -> Any:
        first, _, rest = _checked(path).partition("/")
        found = self._recent.get(first)
        try:
            value = found[0] if found is not None else self._older[first]
        except (IndexError, KeyError):
            raise KeyError(f"{path!r} is not in this folder, which holds {self._names_hint()}") from None
        if not rest:
            return value
        if not isinstance(value, MutableMapping):
            raise KeyError(f"{first!r} is {type(value).__name__}, not a folder, so it holds no {rest!r}")
        return value[rest]

    def __setitem__(self, path: str, value: Any) -> None:
        first, _, rest = _checked(path).partition("/")
        if not rest:
            self._put(first, (value,))
            return
        if first not in self:
            self._put(first, (Folder(),))
        folder = self[first]
        if not isinstance(folder, MutableMapping):
            raise KeyError(f"{first!r} is {type(folder).__name__}, not a folder: choose another name")
        folder[rest] = value

    def __delitem__(self, path: str) -> None:
        first, _, rest = _checked(path).partition("/")
        if rest:
            del self[first][rest]
            return
        self[first]  # KeyError with its hint
        self._put(first, ())

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        try:
            self[path]
        except (KeyError, ValueError):
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        """Names of this folder, sorted; not those of folders within."""
        return self.names()

    def __len__(self) -> int:
        """How many names this folder holds. Counts them one by one."""
        return sum(1 for _ in self.names())

    def names(self, prefix: str = "", start: str = "") -> Iterator[str]:
        """Sorted names that begin with `prefix`, from `start` on. Finds the first without reading those before it."""
        first = max(prefix, start)
        older = iter(self._older.keys(min=first) if first else self._older.keys())
        recent = iter(sorted(name for name in self._recent if name >= first))
        for name in _merged(older, recent):
            if not name.startswith(prefix):
                return
            if self._recent.get(name) != ():
                yield name

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(path, object) of everything that is not a folder, depth first. Reads no array data."""
        for name in self:
            value = self[name]
            if isinstance(value, Folder):
                yield from value.walk(f"{prefix}{name}/")
            else:
                yield prefix + name, value

    def folder(self, path: str) -> Folder:
        """The folder at `path`, made when it is missing."""
        if path not in self:
            self[path] = Folder()
        found = self[path]
        if not isinstance(found, Folder):
            raise KeyError(f"{path!r} is {type(found).__name__}, not a folder")
        return found

    # -- storing

    @property
    def _older(self) -> Any:
        return _EMPTY if self._tree is None else self._tree

    def _put(self, name: str, entry: tuple[Any, ...]) -> None:
        if len(self._recent) >= RECENT_NAMES and not self._p_changed:
            self._move_to_tree()
        self._recent[name] = entry
        self._p_changed = True

    def _move_to_tree(self) -> None:
        tree = self._tree if self._tree is not None else OOBTree()
        for name, entry in self._recent.items():
            if entry:
                tree[name] = entry[0]
            elif name in tree:
                del tree[name]
        self._tree = tree
        self._recent = {}

    def _p_resolveConflict(self, old: State, committed: State, new: State) -> State:
        return resolve(old, committed, new)

    # -- how it shows

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name, _ in zip(self.names(), range(1000), strict=False)]

    def _names_hint(self) -> str:
        some = [name for name, _ in zip(self.names(), range(_SHOWN + 1), strict=False)]
        more = ", …" if len(some) > _SHOWN else ""
        return ", ".join(repr(name) for name in some[:_SHOWN]) + more if some else "nothing"

    def __repr__(self) -> str:
        return f"<Folder: {self._names_hint()}>"

    def _repr_html_(self) -> str:
        some = [name for name, _ in zip(self.names(), range(_SHOWN + 1), strict=False)]
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(name)}</td>"
            f"<td style='text-align:left'>{html.escape(_short(self[name]))}</td></tr>"
            for name in some[:_SHOWN]
        )
        rows = rows or "<tr><td>empty</td></tr>"
        more = "<tr><td>…</td></tr>" if len(some) > _SHOWN else ""
        return f"<table><caption style='text-align:left'>Folder</caption><tbody>{rows}{more}</tbody></table>"


class _Nothing(dict[str, Any]):
    def keys(self, min: str | None = None) -> Any:  # noqa: A002 (BTrees' name)
        return ()


_EMPTY = _Nothing()
Folder.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py


def resolve(old: State, committed: State, new: State) -> State:
    """Merge two transactions that changed different names; ConflictError when they changed the same one."""
    if _oid(committed["_tree"]) != _oid(old["_tree"]):
        raise ConflictError("the folder was reorganised meanwhile: retry the transaction")
    before, theirs, ours = old["_recent"], committed["_recent"], new["_recent"]
    if _oid(new["_tree"]) != _oid(old["_tree"]) or not before.keys() <= ours.keys():
        raise ConflictError("this transaction reorganised the folder: retry it")
    if not before.keys() <= theirs.keys():
        raise ConflictError("the folder was reorganised meanwhile: retry the transaction")
    changed = {name for name in ours if name not in before or not _same(ours[name], before[name])}
    for name in changed & theirs.keys():
        if name not in before or not _same(theirs[name], before[name]):
            raise ConflictError(f"both transactions changed {name!r}: retry the transaction")
    return {**new, "_recent": {**theirs, **{name: ours[name] for name in changed}}}


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two entries are equal; different persistent references cannot be compared, so they are not."""
    try:
        return bool(a == b)
    except ValueError:
        return False


def _oid(reference: Any) -> Any:
    return None if reference is None else getattr(reference, "oid", None) or reference._p_oid


def _checked(path: object) -> str:
    if not isinstance(path, str):
        raise TypeError(f"{path!r} is no name: names are strings, as 'plants/4/power'")
    if not path or any(not part or part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r} is no name: write parts between single slashes, as 'plants/4/power'")
    return path


def _merged(a: Iterator[str], b: Iterator[str]) -> Iterator[str]:
    """Two sorted iterators as one, equal names once."""
    import heapq

    last = None
    for name in heapq.merge(a, b):
        if name != last:
            yield name
            last = name


def _short(value: Any) -> str:
    text = repr(value) if IPersistent.providedBy(value) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= 100 else text[:99] + "…"
