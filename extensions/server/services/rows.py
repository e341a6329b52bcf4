"""Rows that come in, as npy or JSON: nothing of what a body claims is believed before it is checked."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from wendelin.extensions.server.endpoint import Body
from wendelin.extensions.server.problems import FieldProblem, ProblemError

Array = npt.NDArray[Any]


class Rows(Body):
    """Rows as JSON."""

    values: list[Any] = Field(description="The rows: nested lists; records as objects; null is NaN or no time")


def from_npy(body: bytes) -> Array:
    """The array of an npy file. Raises 400 for what is none, 422 for one that holds Python objects."""
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    except Exception as error:  # noqa: BLE001  # NumPy's parser raises whatever Python's does
        raise ProblemError("malformed", f"the body is no npy file: {error}") from None
    if dtype.hasobject:
        raise _wrong("npy files with Python objects are not read: convert them to a fixed-size type")
    rest = memoryview(body)[stream.tell() :]
    if any(length < 0 for length in shape):
        raise ProblemError("malformed", f"the npy file says its shape is {shape}")
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise ProblemError(
            "malformed", f"the npy file says it has shape {shape} of {dtype}, its data {len(rest)} bytes"
        )
    if not dtype.itemsize:
        raise _wrong(f"{dtype} has no bytes")
    found = np.frombuffer(rest, dtype)
    return found.reshape(shape, order="F" if fortran else "C")


def from_json(rows: Rows, dtype: np.dtype[Any]) -> Array:
    """Rows of an array of that type. Raises 422."""
    values: Any = rows.values
    if dtype.names:
        values = _records(values, dtype.names)
    try:
        found = np.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(f"the values do not make rows of {dtype}: {error}") from None
    if dtype.kind in "iub" and found.size and _loses(values):
        raise _wrong(f"the values are no {dtype}: whole numbers are asked for")
    return found


def _loses(values: Any) -> bool:
    """Whether there are fractions or texts among numbers that must be whole, which NumPy would cut or read."""
    raw = np.asarray(values)
    if raw.dtype.kind in "iub":
        return False
    return raw.dtype.kind != "f" or bool(np.any(raw != np.floor(raw)))


def _records(values: Any, names: tuple[str, ...]) -> Any:
    if isinstance(values, list):
        return [_records(value, names) for value in values]
    if not isinstance(values, dict) or values.keys() != set(names):
        raise _wrong(f"{str(values)[:80]} is no record: give an object with {', '.join(names)}")
    return tuple(values[name] for name in names)


def fitting(array: Any, rows: Array) -> Array:
    """Rows as the array takes them. Raises 422 when types do not convert without loss, or shapes do not fit."""
    if not np.can_cast(rows.dtype, array.dtype, "same_kind"):
        raise _wrong(f"rows of {rows.dtype} do not become {array.dtype}: convert them first")
    return rows


def _wrong(message: str) -> ProblemError:
    return ProblemError("invalid", f"values: {message}", errors=[FieldProblem(where="values", message=message)])
