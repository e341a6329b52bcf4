"""`NameTable`: names to objects, to which any number of transactions add without conflicts.

A trie by the hash of the name. A node keeps its first names for ever in its own record and gives later ones to
children, so nothing ever moves; additions to a record merge, and where two transactions make the same child, the slot
keeps both.
A ZEO server imports this module: it needs nothing but `persistent`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from persistent import Persistent
from ZODB.POSException import ConflictError

#: Names that a node keeps before it makes children.
NODE_NAMES = 64

_DIGITS = 16

State = dict[str, Any]


class NameTable(Persistent):
    """A mapping of names. Transactions that change different names merge; the same one raises `ConflictError`.

    `strict` tells that the names are chosen by people, so that two may choose the same one: then what might be the
    same name conflicts too, for example while a child is made. Random names need no such care.
    """

    _p_changed: bool | None

    def __init__(self, *, strict: bool = False, depth: int = 0) -> None:
        self.strict, self.depth = strict, depth
        self.entries: dict[str, Any] = {}
        self.children: dict[int, tuple[NameTable, ...]] = {}

    def get(self, name: str, default: Any = None) -> Any:
        """The object of that name."""
        home = self._home(name, _digits(name))
        return default if home is None else home.entries[name]

    def __contains__(self, name: str) -> bool:
        return self._home(name, _digits(name)) is not None

    def __iter__(self) -> Iterator[str]:
        yield from (name for name, _ in self.items())

    def values(self) -> Iterator[Any]:
        """All objects, in no order."""
        yield from (value for _, value in self.items())

    def items(self) -> Iterator[tuple[str, Any]]:
        """All names and objects, in no order."""
        yield from self.entries.items()
        for slot in self.children.values():
            for child in slot:
                yield from child.items()

    def __len__(self) -> int:
        """How many names there are. Visits all nodes."""
        return len(self.entries) + sum(len(child) for slot in self.children.values() for child in slot)

    def add(self, name: str, value: Any) -> None:
        """Add a name that is not there yet."""
        node, digits = self, _digits(name)
        while node.children or len(node.entries) >= NODE_NAMES:
            digit = digits[node.depth]
            slot = node.children.get(digit)
            if not slot:
                slot = node.children[digit] = (NameTable(strict=self.strict, depth=node.depth + 1),)
                node._p_changed = True
            node = slot[0]
        node.entries[name] = value
        node._p_changed = True

    def remove(self, name: str) -> None:
        """Remove a name; KeyError when it is not there."""
        home = self._home(name, _digits(name))
        if home is None:
            raise KeyError(name)
        del home.entries[name]
        home._p_changed = True

    def _home(self, name: str, digits: bytes) -> NameTable | None:
        if name in self.entries:
            return self
        for child in self.children.get(digits[self.depth], ()):
            found = child._home(name, digits)
            if found is not None:
                return found
        return None

    def _p_resolveConflict(self, old: State, committed: State, new: State) -> State:
        entries = merged_entries(old["entries"], committed["entries"], new["entries"])
        ours, theirs = _new_children(old, new), _new_children(old, committed)
        if new["strict"] and ((ours and theirs) or (ours and _added(old, committed)) or (theirs and _added(old, new))):
            raise ConflictError("both transactions may have added the same name: retry the transaction")
        children = dict(committed["children"])
        for digit, more in ours.items():
            children[digit] = (*children.get(digit, ()), *more)
        return {**committed, "entries": entries, "children": children}


def merged_entries(before: State, theirs: State, ours: State) -> State:
    """Two changes of a dict as one; ConflictError when both changed the same name."""
    changed = {name for name in before.keys() | ours.keys() if not _same(before, ours, name)}
    for name in changed:
        if not _same(before, theirs, name):
            raise ConflictError(f"both transactions changed {name!r}: retry the transaction")
    kept = {name: value for name, value in theirs.items() if name not in changed}
    return {**kept, **{name: ours[name] for name in ours if name in changed}}


def _same(a: State, b: State, name: str) -> bool:
    """Whether a name has the same value in both; different persistent references cannot be compared, so it has not."""
    if (name in a) != (name in b):
        return False
    try:
        return name not in a or bool(a[name] == b[name])
    except ValueError:
        return False


def _new_children(old: State, new: State) -> dict[int, tuple[Any, ...]]:
    """Slots that gained children. Slots only grow, at their end."""
    return {
        digit: slot[len(old["children"].get(digit, ())) :]
        for digit, slot in new["children"].items()
        if len(slot) > len(old["children"].get(digit, ()))
    }


def _added(old: State, new: State) -> bool:
    return not new["entries"].keys() <= old["entries"].keys()


def _digits(name: str) -> bytes:
    """The way of a name through the trie: 64 digits of four bits."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return bytes(digit for byte in digest for digit in divmod(byte, _DIGITS))


NameTable.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
