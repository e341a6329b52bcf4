"""References to arrays: what a view is, in a few hundred bytes, for another process to open it without a copy.

A reference names the database by its URL (never with a password), the array, the *transaction* whose state the sender
saw, and where in the array's bytes the elements lie. It opens as a read-only view of exactly that state, whatever was
committed since.

The sender loads nothing: views are also pickled in threads that must not use the view's connection.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ZODB.POSException import POSKeyError, ReadConflictError
from ZODB.utils import p64, u64, z64

from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.arrays.known import memory_at
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import NotStoredError, StateGoneError, UncommittedChangesError

if TYPE_CHECKING:
    from wendelin.storage.database.past import Past

#: Memories of received views by what they are: they can be sent on after their connection was closed.
_received: weakref.WeakKeyDictionary[ArrayMemory, tuple[str, bytes, bytes]] = weakref.WeakKeyDictionary()

#: Classes that have nothing beside the elements, whatever lies in their `__dict__`.
_PLAIN = (np.ndarray, np.matrix, np.recarray)


@dataclass(frozen=True, init=False, repr=False)
class ArrayRef:
    """A reference to a persistent array, or to a view of one, as the current transaction sees it.

    Parameters
    ----------
    array : numpy.ndarray or ZBigArray
        A view of any kind (strided, reversed, transposed, a field, reinterpreted, read-only), or a stored array.

    Attributes
    ----------
    url, oid, tid
        The database, the array, and the transaction whose state is meant.
    offset : int
        Byte of the array at which the first element lies.
    shape, strides, dtype, kind
        Of the view; `kind` is its class, `numpy.ndarray` or a subclass.

    Raises
    ------
    UncommittedChangesError
        A page that the view reaches was written, or the array grew into it, since the last commit.
    NotStoredError
        No database has the array, its connection was closed, or was not opened by `wendelin.connect`.
    TypeError
        An ndarray that is no view of a persistent array, or of a subclass with state of its own.

    Notes
    -----
    Plain data: it can be pickled, compared, be a key, and be sent anywhere the URL means the same database. It keeps
    nothing alive: `deref` works until the database is packed to a time after `tid` and the array has changed since.

    Who comes from wendelin.core finds `root`, `lo`, `hi` and `z0`: the view is made of the bytes [lo, hi) of `root`,
    and its first element lies `z0` bytes behind `lo`.
    """

    url: str
    oid: bytes
    tid: bytes
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: type[npt.NDArray[Any]]

    def __init__(self, array: npt.NDArray[Any] | ZBigArray) -> None:
        # Fields of frozen dataclasses are set through `__dict__`, as unpickling does.
        if isinstance(array, ZBigArray):
            memory = _memory_of(array)
            self.__dict__.update(_where(array.shape, array.strides, array.dtype, 0, np.ndarray))
            source = _source_of(array)
            _refuse_changed(array)
        else:
            memory = memory_of(array)
            if memory is None:
                raise TypeError(
                    f"this {type(array).__name__} is no view of a persistent array: take one, as A[2:5], or send it by "
                    "value"
                )
            _refuse_state(array)
            offset = _address(array) - memory.start if array.size else 0
            self.__dict__.update(_where(array.shape, array.strides, array.dtype, offset, type(array)))
            source = _received.get(memory) or _source(memory)
        self.__dict__.update(url=source[0], oid=source[1], tid=source[2])
        if memory is not None and memory not in _received:
            _refuse_uncommitted(self, memory)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def lo(self) -> int:
        """First byte of the array that the view reaches."""
        if not self.size:
            return self.offset
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + sum(min((length - 1) * step, 0) for length, step in steps)

    @property
    def hi(self) -> int:
        """Byte behind the last one that the view reaches."""
        if not self.size:
            return self.offset
        steps = zip(self.shape, self.strides, strict=True)
        return self.offset + sum(max((length - 1) * step, 0) for length, step in steps) + self.dtype.itemsize

    @property
    def z0(self) -> int:
        """Bytes from `lo` to the first element."""
        return self.offset - self.lo

    @property
    def root(self) -> ZBigArray:
        """The array itself, read-only, in the state of `tid`. Raises as `deref` does."""
        with self._state() as state:
            return self._array(state)

    def deref(self) -> npt.NDArray[Any]:
        """The view, read-only, in the state of `tid`, without a copy.

        Raises `StateGoneError` when the database does not have that state any more, and what `wendelin.connect`
        raises when it does not open.
        """
        with self._state() as state:
            array = self._array(state)
            nbytes = array.nbytes
            if not 0 <= self.lo <= self.hi <= nbytes:
                raise StateGoneError(
                    f"{self!r} reaches beyond the {nbytes:,} bytes that the array had then: send the view again"
                )
            memory = state.connection.arrays.memory(array)
            if self.size:
                memory.ensure(self.lo, self.hi, array.extents)
        _received[memory] = (self.url, self.oid, self.tid)
        whole = memory.view((nbytes,), np.dtype(np.uint8), (1,))
        view: npt.NDArray[Any] = np.ndarray(self.shape, self.dtype, whole, self.offset, self.strides)
        return view if self.kind is np.ndarray else view.view(self.kind)

    @contextmanager
    def _state(self) -> Iterator[Past]:
        """The database as it was."""
        from wendelin.storage.database.past import past

        state = past(self.url, self.tid)
        try:
            yield state
        except (POSKeyError, ReadConflictError) as error:
            raise StateGoneError(
                f"{self!r}: the database has no such state any more; the array was deleted, or changed since, and the "
                "database was packed. Take the view again from its root"
            ) from error
        finally:
            state.rest()

    def _array(self, state: Past) -> ZBigArray:
        array = state.object(self.oid)
        array._p_activate()
        if not isinstance(array, ZBigArray):
            raise StateGoneError(f"{self!r} names a {type(array).__name__}, not an array: send the view again")
        return array

    def __repr__(self) -> str:
        place = f"array {u64(self.oid):#x} of {self.url} at transaction {self.tid.hex()}"
        return f"<ArrayRef shape={self.shape} dtype={self.dtype} bytes {self.lo}:{self.hi} of {place}>"


ArrayRef.__module__ = "wendelin"  # the pickled name; see wendelin/__init__.py


def memory_of(array: npt.NDArray[Any]) -> ArrayMemory | None:
    """The memory of a persistent array that all elements of `array` lie in, None for other arrays."""
    memory = memory_at(_address(array))
    if memory is None or not array.size:
        return memory
    lo, hi = np.lib.array_utils.byte_bounds(array)
    return memory if memory.start <= lo and hi <= memory.start + memory.reserved else None


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _where(
    shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any], offset: int, kind: type
) -> dict[str, Any]:
    return {"shape": shape, "strides": strides, "dtype": dtype, "offset": offset, "kind": kind}


def _refuse_state(array: npt.NDArray[Any]) -> None:
    """A subclass that keeps something beside its elements would lose it."""
    kind = type(array)
    if kind in _PLAIN:
        return
    if kind.__reduce__ is not np.ndarray.__reduce__ or getattr(array, "__dict__", None):
        raise TypeError(
            f"a {kind.__name__} of a persistent array has more than its elements, which a reference does not carry: "
            "send np.asarray(view), and the rest beside it"
        )


# -- whose view it is


def _memory_of(array: ZBigArray) -> ArrayMemory | None:
    jar = array._p_jar
    owner = getattr(jar, "arrays", None)
    return None if owner is None else owner.memory_of(array._p_oid)


def _source_of(array: ZBigArray) -> tuple[str, bytes, bytes]:
    if array._p_jar is None:
        raise _never_stored()
    if getattr(array._p_jar, "opened", None) is None:
        raise _closed()
    return _from(array._p_jar, array._p_oid)


def _source(memory: ArrayMemory) -> tuple[str, bytes, bytes]:
    """The database, the array and the transaction of a view's memory."""
    if memory.origin is None:
        raise _never_stored()
    connection, oid = memory.origin[0](), memory.origin[1]
    if connection is None or connection.opened is None:
        raise _closed()
    if connection.arrays.memory_of(oid) is not memory:
        raise NotStoredError(
            "the array of this view is gone: it was deleted and packed away, or its connection was closed meanwhile; "
            "take the view again from its root"
        )
    return _from(connection, oid)


def _from(connection: Any, oid: bytes) -> tuple[str, bytes, bytes]:
    if not getattr(connection, "url", ""):
        raise NotStoredError(
            f"{connection!r} was not opened by a URL, so another process cannot open it: use wendelin.connect(url)"
        )
    found = _loaded(connection, oid)
    if oid in connection._added or (found is not None and found._p_serial == z64):
        raise _never_stored()
    return connection.url, oid, max(_state(connection), *_serials(connection, found))


def _state(connection: Any) -> bytes:
    """The last transaction that a connection sees."""
    storage = connection._normal_storage
    before: bytes | None = connection.before or getattr(storage, "_start", None)
    if before is not None:
        return bytes(p64(u64(before) - 1))
    return bytes(storage.lastTransaction())  # RelStorage: as it was last polled


def _serials(connection: Any, array: Any) -> Iterator[bytes]:
    """What is loaded may be newer than the connection's state: between a commit and an explicit begin it is."""
    yield z64
    if array is not None:
        yield array._p_serial
        extents = _loaded(connection, array.extents._p_oid)
        if extents is not None:
            yield extents._p_serial


def _loaded(connection: Any, oid: bytes) -> Any:
    """An object that its connection has in memory, None for others, which cannot have changed."""
    found = connection._cache.get(oid)
    if found is not None and connection._savepoint_storage is not None:
        found._p_activate()
    return None if found is None or found._p_changed is None else found


def _never_stored() -> NotStoredError:
    return NotStoredError(
        "no database has this array yet, so nobody else can open it: put it into one, root['name'] = array, then "
        "transaction.commit()"
    )


def _closed() -> NotStoredError:
    return NotStoredError(
        "the connection of this array was closed, and what its views show may be stored nowhere: open it with "
        "wendelin.connect(url) and take the view again"
    )


# -- whether others can see it


def _refuse_uncommitted(ref: ArrayRef, memory: ArrayMemory) -> None:
    lo, hi = ref.lo, ref.hi
    if lo == hi:
        return
    if memory.origin is not None:
        _refuse_unstored_end(memory.origin[0](), memory.origin[1], hi)
    if memory.written.handed_out and any(a * PAGE < hi and lo < b * PAGE for a, b in memory.changed()):
        raise UncommittedChangesError(
            f"bytes {lo:,} to {hi:,} of the array, which this view reaches, changed since the last commit, so nobody "
            "else can see them: call transaction.commit() first"
        )


def _refuse_changed(array: ZBigArray) -> None:
    """The array itself is sent in the state that is stored, which has the stored shape."""
    connection: Any = array._p_jar
    for some in (array, _loaded(connection, array.extents._p_oid)):
        if some is not None and (some._p_changed or _is_saved(connection, some._p_oid)):
            raise UncommittedChangesError(
                f"{array!r} changed since the last commit, so nobody else can see it: call transaction.commit() first"
            )


def _is_saved(connection: Any, oid: bytes) -> bool:
    """Whether a savepoint of the transaction holds a change of an object."""
    saved = connection._savepoint_storage
    return saved is not None and oid in saved.index


def _refuse_unstored_end(connection: Any, oid: bytes, hi: int) -> None:
    """An array that grew or shrank in this transaction, without a written page perhaps."""
    array = _loaded(connection, oid)
    extents = None if array is None else _loaded(connection, array.extents._p_oid)
    if array is None or extents is None:
        return
    if hi > array.nbytes:
        raise NotStoredError(
            f"this view shows what was cut off the array, which has {array.nbytes:,} bytes now: take a view of the rest"
        )
    if extents.stored is not None and hi > extents.stored:
        raise UncommittedChangesError(
            f"the array grew since the last commit, from {extents.stored:,} to {array.nbytes:,} bytes, and this view "
            "reaches what is new: call transaction.commit() first"
        )
