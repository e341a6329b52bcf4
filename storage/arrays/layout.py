"""How an array lies in memory: shapes, dtypes and strides that can be stored, and sizes as people read them."""

from __future__ import annotations

import html
import operator
from typing import Any, Literal, SupportsIndex

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays.runs import PAGE
from wendelin.storage.errors import ForeignConnectionError

#: Bytes of a block, unless a program says otherwise: the unit in which writers conflict.
BLOCK = 2 << 20

Order = Literal["C", "F"]
Shape = int | tuple[int, ...]


def refuse_odd_layout(order: str, blksize: int) -> None:
    """Raise ValueError for an order that NumPy has not, or blocks that are no power of two of pages."""
    if order not in ("C", "F"):
        raise ValueError(f"order={order!r}: use 'C' (rows contiguous) or 'F' (columns contiguous)")
    if blksize < PAGE or blksize & (blksize - 1):
        raise ValueError(f"blksize={blksize}: use a power of two of at least {PAGE}, as {BLOCK} (the default)")


def foreign(jar: object) -> ForeignConnectionError:
    """What to raise for an array of a connection that is not ours."""
    return ForeignConnectionError(
        f"{jar!r} cannot map arrays: open the database with wendelin.connect(url), or its storage with "
        "wendelin.storage.database.DB(storage)"
    )


def checked_shape(shape: Shape) -> tuple[int, ...]:
    """A shape as a tuple of ints; TypeError or ValueError name what is wrong with it."""
    lengths: tuple[SupportsIndex, ...] = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    try:
        checked = tuple(operator.index(length) for length in lengths)
    except TypeError:
        raise TypeError(f"shape={shape!r}: give an int or a tuple of ints, as (1000, 8)") from None
    if any(length < 0 for length in checked):
        raise ValueError(f"shape={shape!r}: lengths cannot be negative")
    return checked


def checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """A dtype whose elements have a fixed size; TypeError for others."""
    checked = np.dtype(dtype)
    if checked.hasobject:
        raise TypeError(
            f"dtype={checked} holds Python objects, which have no fixed size: store them in a Folder instead"
        )
    if checked.subdtype is not None:
        raise TypeError(f"dtype={checked} is an array itself: add its axes {checked.shape} to the shape instead")
    if not checked.itemsize:
        raise TypeError(f"dtype={checked} has no size: give one, as 'S16' or 'U16'")
    return checked


def strides(shape: tuple[int, ...], itemsize: int, order: Order) -> tuple[int, ...]:
    """Bytes from one element to the next along each axis, as NumPy has them for a contiguous array."""
    steps = [itemsize] * len(shape)
    step = 1 if order == "C" else -1
    for axis in range(len(shape) - 2, -1, -1) if order == "C" else range(1, len(shape)):
        steps[axis] = steps[axis + step] * max(shape[axis + step], 1)
    return tuple(steps)


def without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape without one axis."""
    return shape[:axis] + shape[axis + 1 :]


def human(nbytes: float) -> str:
    """Bytes in binary units, four digits."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if nbytes < 1024:
            return f"{nbytes:.4g} {unit}"
        nbytes /= 1024
    return f"{nbytes:.4g} PiB"


def described(
    shape: tuple[int, ...], dtype: np.dtype[Any], order: Order, nbytes: int, blksize: int, stored: str
) -> str:
    """What an array is, as an HTML table."""
    rows = {
        "shape": " × ".join(f"{n:,}" for n in shape) or "()",
        "dtype": str(dtype),
        "order": order,
        "size": f"{human(nbytes)} in blocks of {human(blksize)}",
        "stored": stored,
    }
    cells = "".join(
        f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    return f"<table><caption style='text-align:left'>ZBigArray</caption><tbody>{cells}</tbody></table>"
