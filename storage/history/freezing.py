"""Frozen copies of persistent objects: new records that share all stored bytes with the originals.

What an extent map refers to never changes once it is stored (segments, chunks of the map), so the copy refers to the
same. Everything else, folders and what lies in them, is copied record by record.
"""

from __future__ import annotations

import io
import pickle
import shutil
from typing import Any

from persistent import Persistent
from ZODB.blob import Blob
from ZODB.utils import z64

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.extents import Extents
from wendelin.storage.errors import TagError, UncommittedChangesError

#: What belongs to the whole database, and would bring all of it.
_SERVICES = ("Entities", "ActivityQueue", "Tags")


def frozen(obj: Any) -> tuple[Any, dict[bytes, Persistent]]:
    """A copy of an object with all it refers to; and the copies of its arrays by the oids of the originals.

    Raises `TagError` when it refers to the whole database, `UncommittedChangesError` when a part of it changed in the
    running transaction. Reads no array data.
    """
    copier = _Copier()
    copy = copier.copy_of(obj)
    copier.run()
    return copy, copier.arrays


class _Copier:
    def __init__(self) -> None:
        self.arrays: dict[bytes, Persistent] = {}
        self._copies: dict[int, tuple[Any, Any]] = {}  # the original too: its id must not be given again
        self._todo: list[tuple[Any, Any]] = []

    def copy_of(self, obj: Any) -> Any:
        known = self._copies.get(id(obj))
        if known is None:
            known = self._copies[id(obj)] = (obj, self._made(obj))
        return known[1]

    def _made(self, obj: Any) -> Any:
        if obj._p_oid == z64 or type(obj).__name__ in _SERVICES:
            raise TagError(
                f"what is to be tagged refers to {type(obj).__name__} of the whole database: tag the database instead, "
                "conn.tag(name)"
            )
        obj._p_activate()
        if obj._p_changed or obj._p_jar is None:
            raise UncommittedChangesError(f"{obj!r} changed in this transaction: transaction.commit() first, then tag")
        if isinstance(obj, Blob):
            return _copied_blob(obj)
        arguments = obj.__reduce__()[1]
        copy = arguments[0].__new__(*arguments)
        self._todo.append((obj, copy))
        if isinstance(obj, ZBigArray):
            self.arrays[obj._p_oid] = copy
        return copy

    def run(self) -> None:
        while self._todo:
            obj, copy = self._todo.pop()
            obj._p_activate()
            state = obj.__getstate__()
            if state is not None:
                copy.__setstate__(self._copied(state, shares=isinstance(obj, Extents)))

    def _copied(self, state: Any, *, shares: bool) -> Any:
        """A state whose references lead to copies, or (`shares`) to the same objects."""
        found: list[Any] = []
        file = io.BytesIO()
        pickler = _Pickler(file, found)
        try:
            pickler.dump(state)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise TagError(f"a part of what is to be tagged cannot be copied ({error}): tag the database") from error
        file.seek(0)
        return _Unpickler(file, found if shares else [self.copy_of(each) for each in found]).load()


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, found: list[Any]) -> None:
        super().__init__(file, 5)
        self._found = found

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, Persistent):
            return None
        self._found.append(obj)
        return len(self._found) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, targets: list[Any]) -> None:
        super().__init__(file)
        self._targets = targets

    def persistent_load(self, reference: int) -> Any:
        return self._targets[reference]


def _copied_blob(blob: Blob) -> Blob:
    """A blob of a program's own, which may write to it again."""
    copy = Blob()
    with blob.open("r") as source, copy.open("w") as target:
        shutil.copyfileobj(source, target)
    return copy
