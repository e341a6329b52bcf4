"""The ndarrays that stand on the addresses of one memory.

Those that are given away stand on one ctypes buffer, the *lease*, which keeps the memory, and so all that is mapped.
Single elements are read and written through an array that is never given away: should a traceback keep a part of it,
that keeps the addresses alone.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from wendelin.storage.arrays.addresses import Reservation

Shape = tuple[int, ...]


class Views:
    """Makes the views of one memory, and knows whether any lives."""

    def __init__(self) -> None:
        self._lease: weakref.ref[Any] | None = None
        self._inner: tuple[tuple[Reservation, Shape, np.dtype[Any]], npt.NDArray[Any]] | None = None

    @property
    def alive(self) -> bool:
        """Whether any ndarray that was given away still stands on the memory."""
        return self._lease is not None and self._lease() is not None

    def whole(
        self, owner: Any, addresses: Reservation, shape: Shape, dtype: np.dtype[Any], strides: Shape
    ) -> npt.NDArray[Any]:
        """An ndarray to give away, read-only where the addresses are; it keeps `owner`."""
        buffer: Any = self._lease() if self._lease is not None else None
        if buffer is None:
            buffer = addresses.buffer()
            buffer.owner = owner  # ctypes arrays take any attribute
            self._lease = weakref.ref(buffer)
        if not addresses.writable:
            # `setflags(write=True)` cannot undo this; `np.ndarray` alone would look through the memoryview
            buffer = np.frombuffer(memoryview(buffer).toreadonly(), np.uint8)
        return np.ndarray(shape, dtype, buffer, strides=strides)

    def inner(self, addresses: Reservation, shape: Shape, dtype: np.dtype[Any], strides: Shape) -> npt.NDArray[Any]:
        """An ndarray for one access, the same as long as the addresses and the shape are."""
        asked = (addresses, shape, dtype)
        if self._inner is None or self._inner[0] != asked:
            buffer: Any = addresses.buffer()
            buffer.owner = addresses
            self._inner = asked, np.ndarray(shape, dtype, buffer, strides=strides)
        return self._inner[1]
