"""Keys of arrays: which of NumPy's indices name a view, and which would copy."""

from __future__ import annotations

import contextlib
import operator
from typing import Any

import numpy as np


def view_key(key: Any) -> tuple[Any, bool]:
    """A key that gives a view of an ndarray, also of one element; and whether NumPy would give a scalar for it.

    Basic indices and names of fields. `TypeError` for index lists and masks, which would copy.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if isinstance(key, str) or (isinstance(key, list) and key and all(isinstance(name, str) for name in key)):
        return key, False
    if any(part is Ellipsis for part in parts):
        return tuple(_basic(part) for part in parts), False
    return (
        *(_basic(part) for part in parts),
        Ellipsis,
    ), True  # an ellipsis makes NumPy give a view, which reads nothing


def _basic(part: Any) -> Any:
    """One part of a basic index; index lists and masks, which NumPy answers with a copy, are refused."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if not isinstance(part, (bool, np.bool_)) and getattr(part, "ndim", 0) == 0:
        with contextlib.suppress(TypeError):
            return operator.index(part)
    raise TypeError(
        f"index {part!r} names no view, and slices of a ZBigArray are views: take the view first, A[:][index], "
        "or write A[:][index] = value"
    )
