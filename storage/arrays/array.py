"""`ZBigArray`: a persistent array, larger than memory if need be, whose slices are real NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin
from persistent import Persistent

from wendelin.storage.activities.active import Active
from wendelin.storage.arrays import blockwise, unstored
from wendelin.storage.arrays.extents import END, PAGE, Extents
from wendelin.storage.arrays.keys import view_key
from wendelin.storage.arrays.layout import (
    BLOCK,
    Order,
    Shape,
    checked_dtype,
    checked_shape,
    described,
    foreign,
    human,
    refuse_odd_layout,
    strides,
    without,
)
from wendelin.storage.arrays.memory import ArrayMemory
from wendelin.storage.history.historic import Historic


class ZBigArray(Active, Historic, Persistent, NDArrayOperatorsMixin):
    """A persistent array in a database, taking part in transactions.

    Slices are real, writable `numpy.ndarray`s that stand on the stored bytes without a copy; what is written to them
    is stored by `transaction.commit()` and taken back by `transaction.abort()`.

    Parameters
    ----------
    shape : int or tuple of int
        Elements along each axis.
    dtype : dtype-like, default float64
        Any fixed-size dtype, structured ones too. dtypes that hold Python objects raise `TypeError`.
    order : {"C", "F"}
        Layout in memory. `append` grows the major axis: the first in C order, the last in Fortran order.
    blksize : int
        Bytes of a block, a power of two and at least 4096: the unit in which concurrent writers conflict.

    Notes
    -----
    *Durability*: after `transaction.commit()` returns, data survive a crash of any process and a power failure.

    *Concurrency*: transactions that wrote different blocks merge. Of two that wrote the same block, or that both
    changed the shape, the later raises `ZODB.POSException.ConflictError`: retry it. What others commit shows at the
    next transaction boundary, in views that live already too. A connection, with its arrays and views, belongs to one
    thread at a time; writing through a view while another thread commits is lost without notice.

    *Views* keep their address for life. They outlive the array object and the close of the connection; after that
    they show the last state and are not stored any more. A view that was written keeps the whole array's changes
    alive until the transaction ends.

    *Not stored yet*: an array can be used before it is put into a database; then it is like any other Python object.

    Examples
    --------
    >>> import wendelin, transaction
    >>> root = wendelin.connect("file:///tmp/example").root()  # doctest: +SKIP
    >>> root["plants/4/power"] = A = wendelin.ZBigArray((0, 8), "f4")  # doctest: +SKIP
    >>> A.append([[1, 2, 3, 4, 5, 6, 7, 8]])  # doctest: +SKIP
    >>> A[:, 0].max(), transaction.commit()  # doctest: +SKIP
    """

    _shape: tuple[int, ...]
    _order: Order
    _blksize: int
    _extents: Extents

    def __init__(self, shape: Shape, dtype: npt.DTypeLike = float, order: Order = "C", blksize: int = BLOCK) -> None:
        refuse_odd_layout(order, blksize)
        self._shape = checked_shape(shape)
        self._descr = np.lib.format.dtype_to_descr(checked_dtype(dtype))
        self._order = order
        self._blksize = blksize
        self._extents = Extents(blksize // PAGE, self._rows_of(self._shape))

    # -- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each axis."""
        rows = self._extents.rows
        if rows is None:  # an array without axes, or one that issue 2 stored and nobody has appended to since
            return self._shape
        known: tuple[int, tuple[int, ...]] | None = self.__dict__.get("_v_shape")
        if known is None or known[0] != rows:
            shape = list(self._shape)
            shape[self._major] = rows
            known = self._v_shape = (rows, tuple(shape))
        return known[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one element."""
        found = self.__dict__.get("_v_dtype")
        if found is None:
            found = self._v_dtype = np.lib.format.descr_to_dtype(self._descr)
        return found

    @property
    def order(self) -> Order:
        """Layout in memory, "C" or "F"."""
        return self._order

    @property
    def blksize(self) -> int:
        """Bytes of a block, the unit in which concurrent writers conflict."""
        return self._blksize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, stored or not: parts never written take no room."""
        return self.size * self.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        shape = self.shape
        known: tuple[Any, tuple[int, ...]] | None = self.__dict__.get("_v_strides")
        if known is None or known[0] is not shape:
            known = self._v_strides = (shape, strides(shape, self.itemsize, self._order))
        return known[1]

    @property
    def T(self) -> npt.NDArray[Any]:
        """The whole array transposed, as a view."""
        whole: npt.NDArray[Any] = self[...]
        return whole.T

    @property
    def extents(self) -> Extents:
        """The extent map: where the pages are stored. For the storage layer."""
        return self._extents

    @property
    def pages_per_block(self) -> int:
        """Pages of a block. For the storage layer."""
        return self._blksize // PAGE

    def __len__(self) -> int:
        """Elements along the major axis, which `append` grows: the first in C order, the last in Fortran order.

        wendelin.core has it so; NumPy counts the first axis always, as `A.shape[0]` does.
        """
        if not self.shape:
            raise TypeError("len() of an array without axes: use A[()] to get its value")
        return self.shape[self._major]

    # -- slices

    def __getitem__(self, key: Any) -> Any:
        """A view without a copy; for a full set of integers the scalar. Basic indexing only.

        Raises `IndexError` out of range, and `TypeError` for index lists and masks, which would copy.
        """
        view, is_scalar, memory, _ = self._select(key)
        if is_scalar and view.dtype.kind != "V":  # a record is a view, too
            return view[()]
        view = memory.view(self.shape, self.dtype, self.strides)[view_key(key)[0]]
        if memory.writable:
            self.hand_out(view.nbytes)
        if self._forked:
            view.flags.writeable = False
        return view[()] if is_scalar else view

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write through a view; NumPy's broadcasting and casting. Stored at the commit.

        What is larger than the memory allows is written piece by piece.
        """
        view, _, memory, (lo, hi) = self._select(key)
        if not memory.writable or self._forked:
            self._explain_read_only()
        memory.written.assign(lo, hi)
        self._count(view.nbytes)
        blockwise.assign(view, value, self.hand_out)

    def __iter__(self) -> Iterator[Any]:
        """Elements along the first axis, as views."""
        return (self[i] for i in range(self.shape[0]))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The whole array as a view; a copy only when another dtype or `copy=True` asks for it."""
        whole: npt.NDArray[Any] = self[...]
        if dtype is None or np.dtype(dtype) == whole.dtype:
            return whole.copy(order="K") if copy else whole
        if copy is False:
            raise ValueError(f"converting {whole.dtype} to {np.dtype(dtype)} needs a copy; leave copy=False out")
        return whole.astype(dtype)

    # -- arithmetic

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's functions of elements, `A *= 2` and `np.add(A, B, out=A)` among them, piece by piece where large."""
        return blockwise.ufunc(ufunc, method, inputs, options, ZBigArray)

    __hash__ = object.__hash__  # `==` compares elements, as NumPy has it; the database needs identity

    # -- growing and shrinking

    def append(self, values: npt.ArrayLike) -> None:
        """Add elements at the end of the major axis: the first in C order, the last in Fortran order.

        `values` has the array's number of axes, or one less for a single element. A shape that does not fit raises
        `ValueError`, and nothing has changed.

        Appends of concurrent transactions merge: each stays in one piece, in the order of the commits. So their place
        is known after the commit only; until then they show behind what this transaction saw.
        """
        if not self.shape:
            raise ValueError("an array without axes cannot grow: make one with ZBigArray((0,), dtype)")
        axis = self._major
        block = np.asarray(values, dtype=self.dtype)
        if block.ndim == self.ndim - 1:
            block = np.expand_dims(block, axis)
        fits = block.ndim == self.ndim and without(block.shape, axis) == without(self.shape, axis)
        if not fits:
            wanted = ", ".join("n" if i == axis else str(n) for i, n in enumerate(self.shape))
            raise ValueError(f"cannot append values of shape {block.shape} to {self.shape}: give shape ({wanted})")
        self.refuse_read_only()
        before, added = self.shape, block.shape[axis]
        if not added:
            return
        nbytes = self.nbytes
        memory = self._memory()
        memory.reserve(nbytes + block.nbytes)
        self._sweep(memory, nbytes)
        self._upgrade()
        self._extents.grow(added, nbytes)
        tail = [slice(None)] * self.ndim
        tail[axis] = slice(before[axis], None)
        self[tuple(tail)] = block

    def resize(self, shape: Shape) -> None:
        """Change the shape in place. Growing shows zeros, shrinking frees.

        Bytes keep their place in memory, as with `numpy.ndarray.resize`: only the major axis (first in C, last in
        Fortran order) can change without elements moving to other indices. Views that live keep their own shape; of
        what was cut off they show zeros.
        """
        shape = checked_shape(shape)
        if shape == self.shape:
            return
        self.refuse_read_only()
        before = self.nbytes
        after = math.prod(shape) * self.itemsize
        memory = self._memory()
        if after > before:
            memory.reserve(after)
            self._sweep(memory, before)
        self._upgrade()
        if without(shape, self._major_of(shape)) != without(self._shape, self._major_of(self._shape)):
            self._shape = shape
        self._extents.reshape(self._rows_of(shape))
        memory.written.expose()  # the next commit stores the end anew, written or not
        if after < before:
            self._cut(memory, after)

    def _upgrade(self) -> None:
        """Let the extent map count the rows of an array that issue 2 stored."""
        if self._extents.rows is None:
            self._extents.rows = self._rows_of(self._shape)

    def _rows_of(self, shape: tuple[int, ...]) -> int | None:
        return shape[self._major_of(shape)] if shape else None

    def _major_of(self, shape: tuple[int, ...]) -> int:
        return 0 if self._order == "C" else len(shape) - 1

    def _sweep(self, memory: ArrayMemory, nbytes: int) -> None:
        """Before growing: what another transaction wrote behind the end while this one cut it off must not show."""
        if nbytes % PAGE:
            memory.ensure(nbytes, nbytes + 1, self._extents)
        if self._extents.lookup(-(-nbytes // PAGE), END)[0] or any(memory.peek(nbytes, -(-nbytes // PAGE) * PAGE)):
            self._cut(memory, nbytes)

    def _cut(self, memory: ArrayMemory, nbytes: int) -> None:
        if nbytes % PAGE:
            memory.ensure(nbytes, nbytes + 1, self._extents)
            memory.written.expose()
        if self._extents.tail:  # its pages are put together anew, and what was written must stay on top of them
            memory.spill()
        memory.truncate(nbytes)
        self._extents.cut(nbytes)

    @property
    def _major(self) -> int:
        return self._major_of(self._shape)

    # -- memory

    def _select(self, key: Any) -> tuple[npt.NDArray[Any], bool, ArrayMemory, tuple[int, int]]:
        """What a key names, mapped, for one access; whether NumPy would give a scalar; the memory; where it lies."""
        memory = self._memory()
        whole = memory.inner(self.shape, self.dtype, self.strides)
        if type(key) is int and whole.ndim == 1:  # what small changes are made of
            view = whole[key, ...]
            lo = (key if key >= 0 else key + len(whole)) * whole.itemsize
            memory.ensure(lo, lo + whole.itemsize, self._extents)
            return view, True, memory, (lo, lo + whole.itemsize)
        wanted, may_be_scalar = view_key(key)
        view = whole[wanted]
        lo = hi = 0
        if view.size:
            lo, hi = (at - memory.start for at in np.lib.array_utils.byte_bounds(view))
            memory.ensure(lo, hi, self._extents)
        return view, may_be_scalar and view.ndim == 0, memory, (lo, hi)

    def _memory(self) -> ArrayMemory:
        jar = self._p_jar
        if jar is None:
            return self._unstored_memory()
        owner = getattr(jar, "arrays", None)
        if owner is None:
            raise foreign(jar)
        unstored = self.__dict__.get("_v_memory")
        return unstored if unstored is not None else owner.memory(self)  # type: ignore[no-any-return]

    def _unstored_memory(self) -> ArrayMemory:
        memory = self.__dict__.get("_v_memory")
        if memory is None:
            memory = self._v_memory = unstored.memory(self.nbytes, self.pages_per_block)
        return memory

    def hand_out(self, nbytes: int) -> None:
        """A writable slice of `nbytes` is about to be used: what earlier ones have gathered may have to be spilled."""
        self._memory().written.expose()
        self._count(nbytes)

    def _count(self, nbytes: int) -> None:
        (unstored if self._p_jar is None or "_v_memory" in self.__dict__ else self._p_jar.arrays).handed_out(nbytes)

    @property
    def _forked(self) -> bool:
        return self._p_jar is not None and self._p_jar.arrays.forked

    def refuse_read_only(self) -> None:
        """Raise when this array cannot be written to."""
        if self._forked or (self._p_jar is not None and not self._memory().writable):
            self._explain_read_only()

    def _explain_read_only(self) -> None:
        if self._forked:
            self._p_jar.arrays.refuse_if_forked()
        raise ValueError("this array is read-only: its connection is; open another with wendelin.connect(url)")

    def __getstate__(self) -> Any:
        if self._p_jar is not None and self._p_oid is not None:
            memory = self.__dict__.pop("_v_memory", None)
            if memory is not None:
                self._p_jar.arrays.adopt(self, memory)
            elif self._extents.reshaped and not self._p_jar.arrays.has_memory(self):
                self._extents.settle(self.nbytes)  # nobody has written to it
        return super().__getstate__()

    def take_back(self, memory: ArrayMemory) -> None:
        """Keep the contents of a new array whose transaction failed. For the storage layer."""
        self._v_memory = memory
        memory.become_unstored()
        self._extents = Extents(self.pages_per_block, self._extents.rows)

    # -- how it shows

    def __repr__(self) -> str:
        return f"<ZBigArray shape={self.shape} dtype={self.dtype} order={self.order!r} {human(self.nbytes)}>"

    def _repr_html_(self) -> str:
        stored = "not yet" if self._p_jar is None else "yes, slices are views"
        return described(self.shape, self.dtype, self.order, self.nbytes, self.blksize, stored)


ZBigArray.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
