"""The classes that pickles of a wendelin.core database name.

Its import package is called `wendelin` as ours is, so nothing is imported because a pickle says so: names are looked
up in a table. It holds readers for wendelin.core's own classes, and the plain classes that any program has. Every
other name becomes a class of its own below `Unknown`, which keeps what was stored and runs nothing.
"""

from __future__ import annotations

import collections
import copyreg
import datetime as dt
import decimal
import fractions
import importlib
import re
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import zodbpickle
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping


class BigArray(Persistent):
    """wendelin.core's ZBigArray: a shape over a `BigFile`."""

    _shape: tuple[int, ...]
    _dtype: np.dtype[Any]
    _order = "C"  # early versions stored none
    zfile: BigFile

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(members(state))

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each axis."""
        return tuple(self._shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one element."""
        return self._dtype

    @property
    def order(self) -> Any:
        """Layout in memory, "C" or "F"."""
        return self._order


class BigFile(Persistent):
    """wendelin.core's ZBigFile: blocks of `blksize` bytes by number; those that are missing are zeros."""

    blksize: int
    blktab: Any

    def __setstate__(self, state: Any) -> None:
        self.blksize, self.blktab = state


class Block(Persistent):
    """ZBlk0, which early versions called ZBlk: the bytes of a block without the zeros at its end."""

    _bytes: bytes

    def __setstate__(self, state: Any) -> None:
        self._bytes = as_bytes(state)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of what is stored of the block."""
        yield 0, self._bytes


class ChunkedBlock(Persistent):
    """ZBlk1: a block as chunks by offset; those that are missing are zeros."""

    _chunks: Any

    def __setstate__(self, state: Any) -> None:
        self._chunks = state

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of what is stored of the block, one chunk in memory at a time."""
        for offset, chunk in self._chunks.items():
            yield offset, chunk.content
            chunk._p_deactivate()


class Chunk(Persistent):
    """ZData: the bytes of a chunk without the zeros at its end."""

    content: bytes

    def __setstate__(self, state: Any) -> None:
        self.content = as_bytes(state)


class Unknown(Persistent):
    """An object of a class that is not in the table: `kept` is what was stored of it, by name."""

    kept: dict[str, Any]

    def __new__(cls, *arguments: Any, **named: Any) -> Unknown:
        new: Unknown = super().__new__(cls)
        if arguments or named:
            # Not for ghosts, which are made without arguments and must stay without attributes.
            new.__dict__["kept"] = {**{str(i): value for i, value in enumerate(arguments)}, **named}
        return new

    def __setstate__(self, state: Any) -> None:
        known = members(state)
        self._keep(known if known or not state else {"state": state})

    def _keep(self, found: dict[str, Any]) -> None:
        self.__dict__["kept"] = {**self.__dict__.get("kept", {}), **found}

    # What unpicklers call on lists and mappings.

    def append(self, value: Any) -> None:
        self._keep({str(len(self.__dict__.get("kept", {}))): value})

    def extend(self, values: Any) -> None:
        for value in values:
            self.append(value)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._keep({str(key): value})


def members(state: Any) -> dict[str, Any]:
    """The attributes in a pickled state: a dict, or a pair of dicts for a class with slots."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    return {str(name): value for part in parts if isinstance(part, dict) for name, value in part.items()}


def as_bytes(state: Any) -> bytes:
    """Stored bytes. Python 2 wrote them as strings, which come as text when they are ASCII."""
    return b"" if state is None else state.encode("ascii") if isinstance(state, str) else bytes(state)


def find(module: str, name: str) -> Any:
    """What stands for the global `module.name` of a pickle. Imports nothing that is not in the table."""
    module = _MOVED.get(module, module)
    found = _TABLE.get((module, name))
    if found is not None:
        return found
    if module.startswith("BTrees.") and _BTREE.fullmatch(f"{module}.{name}"):
        return getattr(importlib.import_module(module), name)
    return _unknown(module, name)


@cache
def _unknown(module: str, name: str) -> type[Unknown]:
    return type(name, (Unknown,), {"__module__": module})


def _reconstructed(cls: Any, base: Any, state: Any) -> Any:
    """`copyreg._reconstructor`, which would ask `base` to make an object of an unknown class."""
    return cls(state) if issubclass(cls, Unknown) else copyreg._reconstructor(cls, base, state)  # type: ignore[attr-defined]


def _moment(cls: Any) -> Callable[..., Any]:
    """Makes dates and times, whose bytes come as text from Python 2 when they are ASCII."""
    return lambda state, *zone: cls(state.encode("ascii") if isinstance(state, str) else state, *zone)


_MOVED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "Persistence.mapping": "persistent.mapping",
}
_BTREE = re.compile(r"BTrees\.(?:([OILUQ][OILUQF])BTree\.\1(?:BTree|Bucket|Set|TreeSet)(?:Py)?|Length\.Length)")
_BUILTINS = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, range, set, slice, str, tuple)
_MOMENTS = (dt.date, dt.datetime, dt.time)
_PLAIN = (
    dt.timedelta, dt.timezone, decimal.Decimal, fractions.Fraction, uuid.UUID, uuid.SafeUUID,
    collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque,
    np.ndarray, np.dtype, zodbpickle.binary, PersistentList, PersistentMapping,
)  # fmt: skip
_multiarray = importlib.import_module("numpy._core.multiarray")

_TABLE: dict[tuple[str, str], Any] = {
    ("wendelin.bigarray.array_zodb", "ZBigArray"): BigArray,
    ("wendelin.bigfile.file_zodb", "ZBigFile"): BigFile,
    ("wendelin.bigfile.file_zodb", "ZBlk"): Block,
    ("wendelin.bigfile.file_zodb", "ZBlk0"): Block,
    ("wendelin.bigfile.file_zodb", "ZBlk1"): ChunkedBlock,
    ("wendelin.bigfile.file_zodb", "ZData"): Chunk,
    **{("builtins", plain.__name__): plain for plain in _BUILTINS},
    **{(plain.__module__, plain.__name__): plain for plain in _PLAIN},
    **{(moment.__module__, moment.__name__): _moment(moment) for moment in _MOMENTS},
    ("builtins", "long"): int,
    ("builtins", "unicode"): str,
    ("builtins", "xrange"): range,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("_codecs", "encode"): importlib.import_module("_codecs").encode,
    ("numpy._core.multiarray", "_reconstruct"): _multiarray._reconstruct,
    ("numpy._core.multiarray", "scalar"): _multiarray.scalar,
    ("persistent.dict", "PersistentDict"): PersistentMapping,
    ("persistent.mapping", "PersistentDict"): PersistentMapping,
    ("zodbpickle", "binary"): zodbpickle.binary,
}
