"""What an activity calls, as bytes: persistent objects and views of arrays by reference, all else by value.

Functions that a worker can import are named; others, such as those of a notebook, are stored with their code.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import cloudpickle
from persistent import Persistent

from wendelin.storage.errors import OptionError
from wendelin.storage.pickling import hook

_Cloud: Any = hook(cloudpickle.Pickler)


class _Pickler(_Cloud):
    def __init__(self, stream: io.BytesIO, connection: Any) -> None:
        super().__init__(stream)
        self._connection = connection
        self.references: dict[bytes, Any] = {}

    def persistent_id(self, obj: Any) -> bytes | None:
        if not isinstance(obj, Persistent) or isinstance(obj, type):
            return None
        if obj._p_jar is None:
            self._connection.add(obj)
        elif obj._p_jar is not self._connection:
            raise OptionError(f"{obj!r} belongs to another connection than the activity: take it from this one's root")
        self.references[obj._p_oid] = obj
        return bytes(obj._p_oid)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, connection: Any) -> None:
        super().__init__(stream)
        self._connection = connection

    def persistent_load(self, oid: Any) -> Any:
        return self._connection.get(oid)


def packed(value: Any, connection: Any) -> tuple[bytes, list[Any]]:
    """A value as bytes, and the persistent objects that it names, which must be kept as long as the bytes.

    New persistent objects are added to the connection. Raises `UncommittedChangesError` for views whose changes
    nobody else can see, and whatever pickling raises.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, connection)
    pickler.dump(value)
    return stream.getvalue(), list(pickler.references.values())


def unpacked(data: bytes, connection: Any) -> Any:
    """The value again, with the objects of `connection`. `POSKeyError` when one of them is gone."""
    return _Unpickler(io.BytesIO(data), connection).load()
