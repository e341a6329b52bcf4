"""Operations on whole arrays, block by block, so that what they change never has to fit into memory.

Between two blocks the arrays may spill what was written (`wendelin.storage.arrays.budget`). Where the operands are
small, or overlap what is written, NumPy gets them in one piece, as if they were its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays.budget import LEAST_STEP, step

Array = npt.NDArray[Any]


class Stored(Protocol):
    """What an array in a database offers here."""

    def __getitem__(self, key: Any) -> Any: ...
    def hand_out(self, nbytes: int) -> None: ...
    def refuse_read_only(self) -> None: ...


def assign(view: Array, value: Any, hand_out: Callable[[int], None]) -> None:
    """`view[...] = value`; `hand_out` is called with the bytes of each block before it is written."""
    if view.nbytes <= LEAST_STEP or view.nbytes <= step():
        view[...] = value
        return
    source = np.asanyarray(value)
    if np.may_share_memory(source, view) or source.ndim > view.ndim:
        view[...] = source
        return
    source = np.broadcast_to(source, view.shape)
    for index in blocks(view, step()):
        part = view[index]
        hand_out(part.nbytes)
        part[...] = source[index]


def blocks(view: Array, nbytes: int) -> Iterator[tuple[slice, ...]]:
    """Indices that cut an array into pieces of about `nbytes`, following its memory."""
    lengths = list(view.shape)
    size = view.itemsize
    for axis in sorted(range(view.ndim), key=lambda axis: abs(view.strides[axis])):
        lengths[axis] = min(view.shape[axis], max(nbytes // max(size, 1), 1))
        size *= lengths[axis]
    order = sorted(range(view.ndim), key=lambda axis: -abs(view.strides[axis]))
    starts = [range(0, view.shape[axis], max(lengths[axis], 1)) for axis in order]
    for some in itertools.product(*starts):
        index = dict(zip(order, some, strict=True))
        yield tuple(slice(index[axis], index[axis] + lengths[axis]) for axis in range(view.ndim))


def ufunc(function: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any], kind: type[Stored]) -> Any:
    """NumPy's protocol for functions of elements, for arrays of `kind`.

    With `out=` the result goes there, piece by piece where large, and `out` is returned. Without, it is an ordinary
    `ndarray`, which has to fit into memory.
    """
    out = options.pop("out", ())
    owners = [item for item in out if isinstance(item, kind)]
    views = tuple(item[...] if isinstance(item, kind) else item for item in inputs)
    targets = tuple(item[...] if isinstance(item, kind) else item for item in out)
    for owner in owners:
        owner.refuse_read_only()
    if not targets:
        return getattr(function, method)(*views, **options)
    if method == "__call__" and owners and _can_be_cut(function, views, targets, options):
        _piecewise(function, views, targets, options, [owner.hand_out for owner in owners])
    else:
        getattr(function, method)(*views, out=targets, **options)
    return out[0] if len(out) == 1 else out


def _can_be_cut(function: np.ufunc, views: tuple[Any, ...], targets: tuple[Any, ...], options: dict[str, Any]) -> bool:
    shapes = {np.shape(target) for target in targets if target is not None}
    if function.signature is not None or len(shapes) != 1 or any(target is None for target in targets):
        return False
    if max(target.nbytes for target in targets) <= step():
        return False
    given = [*views, options.get("where", True)]
    for view, target in itertools.product(given, targets):
        if isinstance(view, np.ndarray) and np.may_share_memory(view, target) and not _same(view, target):
            return False  # reading what an earlier block has changed would give another result
    return all(np.ndim(view) <= targets[0].ndim for view in given)


def _same(a: Array, b: Array) -> bool:
    here, there = a.__array_interface__, b.__array_interface__
    return bool(here["data"][0] == there["data"][0] and a.shape == b.shape and a.strides == b.strides)


def _piecewise(
    function: np.ufunc,
    views: tuple[Any, ...],
    targets: tuple[Array, ...],
    options: dict[str, Any],
    hand_out: list[Callable[[int], None]],
) -> None:
    shape = targets[0].shape
    spread = [np.broadcast_to(view, shape) if np.ndim(view) else view for view in views]
    where = options.pop("where", True)
    where = np.broadcast_to(where, shape) if np.ndim(where) else where
    for index in blocks(targets[0], step()):
        parts = tuple(target[index] for target in targets)
        for call in hand_out:
            call(parts[0].nbytes)
        some = [view[index] if np.ndim(view) else view for view in spread]
        chosen = where[index] if np.ndim(where) else where
        function(*some, out=parts, where=chosen, **options)
