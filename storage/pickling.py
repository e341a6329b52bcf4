"""Pickles that carry persistent arrays by reference: no data, however deep the views are nested.

Any pickler can be taught so, cloudpickle's too, and any unpickler opens what it wrote, given that `wendelin` can be
imported::

    data = dumps(task)                               # by pickle
    Pickler = hook(cloudpickle.Pickler)              # a class like any other pickler
    class MyPickler(pickle.Pickler):
        def reducer_override(self, obj):
            return reduce(obj)

A view opens as a read-only view of the same transaction's state, a stored `ZBigArray` as a read-only one.
"""

from __future__ import annotations

import io
import pickle
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.reference import ArrayRef, memory_of

loads = pickle.loads


def reduce(obj: Any) -> Any:
    """What a pickler's `reducer_override(obj)` returns: a reference, or NotImplemented for what is no array of ours.

    Raises `UncommittedChangesError`, `NotStoredError` or TypeError where a reference would not mean what is shown;
    see `wendelin.ArrayRef`.
    """
    if isinstance(obj, np.ndarray):
        return NotImplemented if memory_of(obj) is None else (methodcaller("deref"), (ArrayRef(obj),))
    if isinstance(obj, ZBigArray):
        return attrgetter("root"), (ArrayRef(obj),)
    return NotImplemented


def hook(pickler: type[Any]) -> type[Any]:
    """A subclass of a pickler that writes persistent arrays by reference and all else as the pickler does."""
    inherited = getattr(pickler, "reducer_override", None)

    def reducer_override(self: Any, obj: Any) -> Any:
        found = reduce(obj)
        return inherited(self, obj) if found is NotImplemented and inherited is not None else found

    return type(pickler.__name__, (pickler,), {"reducer_override": reducer_override, "__doc__": hook.__doc__})


Pickler = hook(pickle.Pickler)


def dumps(value: Any, protocol: int | None = None, *, pickler: type[Any] = pickle.Pickler) -> bytes:
    """Pickle a value, with its persistent arrays by reference. `pickler`: cloudpickle.Pickler, for what needs that."""
    stream = io.BytesIO()
    hook(pickler)(stream, protocol).dump(value)
    return stream.getvalue()


__all__ = ["Pickler", "dumps", "hook", "loads", "reduce"]
