"""What kept results are found by: a hash of the function and its arguments.

- Arrays are hashed by their elements, as joblib does; persistent ones by what they are and in which version, so that
  nothing is read: a commit that changes an array changes the hash, a commit of anything else does not.
- Functions are hashed by name and code, with the values of their closures, so that a changed notebook cell is run
  again. Functions that they call by a global name are not looked at.
- The second of two equal tasks of one call has a hash of its own: `delayed(random)()` twice is two draws.
"""

from __future__ import annotations

import functools
import types
from collections import Counter
from typing import Any

import numpy as np
from joblib.hashing import NumpyHasher

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.reference import ArrayRef, memory_of


class _Hasher(NumpyHasher):
    def save(self, obj: Any) -> None:
        if isinstance(obj, ZBigArray):
            obj = ("wendelin array", *_version(obj))
        elif isinstance(obj, np.ndarray) and memory_of(obj) is not None:
            obj = ("wendelin view", *_view_version(obj))
        elif isinstance(obj, types.FunctionType):
            obj = ("function", *_described(obj))
        elif isinstance(obj, types.CodeType):
            obj = ("code", obj.co_code, obj.co_consts, obj.co_names, obj.co_varnames, obj.co_freevars)
        elif isinstance(obj, functools.partial):
            obj = ("partial", obj.func, obj.args, obj.keywords)
        super().save(obj)


def _described(function: types.FunctionType) -> tuple[Any, ...]:
    cells = [_content(cell) for cell in function.__closure__ or ()]
    # A recursive inner function is in its own closure.
    cells = [("itself" if value is function else value) for value in cells]
    module = "" if function.__module__ == "__main__" else function.__module__
    return module, function.__qualname__, function.__code__, function.__defaults__, function.__kwdefaults__, cells


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return "empty"


def _view_version(array: Any) -> tuple[Any, ...]:
    """Which elements of which version of an array: refused, as sending it is, while changes are not committed."""
    ref = ArrayRef(array)
    memory = memory_of(array)
    version = ref.tid if memory is None or memory.serial is None else memory.serial
    return ref.url, ref.oid, version, ref.offset, ref.shape, ref.strides, ref.dtype.str, ref.kind.__name__


def _version(array: ZBigArray) -> tuple[Any, ...]:
    ref = ArrayRef(array)
    extents = array.extents
    extents._p_activate()
    return ref.url, ref.oid, bytes(extents._p_serial), ref.shape, ref.dtype.str


class Keys:
    """The hashes of the tasks of one call, in order."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The hash of one task. Raises what pickling raises, for arguments that cannot be hashed."""
        found = str(_Hasher().hash((function, args, sorted(kwargs.items()))))
        self._seen[found] += 1
        return f"{found}-{self._seen[found]}"
