"""Slices of arrays in the formats that go over the wire. NumPy's rules for basic slices, written as in Python."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic_core

from wendelin.extensions.server.problems import FieldProblem, ProblemError

NPY, ARROW, JSON, CSV = "application/x-npy", "application/vnd.apache.arrow.stream", "application/json", "text/csv"

#: The pattern of a slice, for the document: `10:20, ::2, -1, ...`
_N = r"-?[0-9]{1,18}"
_PART = rf"(\.\.\.|{_N}|({_N})?:({_N})?(:({_N})?)?)"
PATTERN = rf"^{_PART}( ?, ?{_PART})*$"

_COLUMNS = 4096

Array = npt.NDArray[Any]


def key_of(text: str) -> tuple[Any, ...]:
    """`10:20, ::2` as NumPy takes it."""
    return tuple(_part(part.strip()) for part in text.split(",")) if text.strip() else ()


def _part(text: str) -> Any:
    if text == "...":
        return Ellipsis
    if ":" in text:
        return slice(*(int(one) if one.strip() else None for one in text.split(":")))
    return int(text)


def selected(array: Any, text: str, field: str, limit: int) -> Array:
    """The part of a stored array that a slice and a field name. Raises 422, also when it is larger than `limit` bytes.

    What would be too large is found out before anything is read.
    """
    key = key_of(text)
    shown = np.broadcast_to(np.empty((), array.dtype), array.shape)
    try:
        part = shown[key]
    except (IndexError, ValueError) as error:
        raise _wrong("slice", f"{text!r} of an array of shape {array.shape}: {error}") from None
    names = array.dtype.names
    if field and (not names or field not in names):
        raise _wrong("field", f"{field!r} is none of this array; it has {', '.join(names) if names else 'no fields'}")
    itemsize = array.dtype[field].itemsize if field else array.dtype.itemsize
    nbytes = np.size(part) * itemsize
    if nbytes > limit:
        raise ProblemError(
            "slice-too-large",
            f"slice {text or '(all)'} of shape {array.shape} has {nbytes:,} bytes, {limit:,} go into one answer of "
            f"this format: ask for parts, as ?slice={_smaller(array, limit)}, or for application/x-npy",
            errors=[FieldProblem(where="slice", message=f"at most {limit} bytes")],
        )
    found = np.asarray(array[key])
    return found[field] if field else found


def _smaller(array: Any, limit: int) -> str:
    rows = max(1, limit // max(1, array.nbytes // max(1, array.shape[0] if array.shape else 1)))
    return f"0:{rows}"


def as_npy(part: Array) -> bytes:
    """NumPy's own format, without pickles."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, part, allow_pickle=False)
    return stream.getvalue()


def as_arrow(part: Array) -> bytes:
    """An Arrow stream of one batch: a column for each field or column; one, `value`, for a vector."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ProblemError(
            "not-acceptable", "Arrow needs the package pyarrow on this server: ask for application/x-npy instead"
        ) from None
    try:
        columns = {name: pa.array(_native(values)) for name, values in columns_of(part).items()}
    except (pa.ArrowException, NotImplementedError, TypeError, ValueError) as error:
        message = f"Arrow has no type for {part.dtype}: ask for application/x-npy ({error})"
        raise ProblemError("not-acceptable", message) from None
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _native(values: Array) -> Array:
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))


def as_csv(part: Array) -> bytes:
    """A header and a line for each row; times as ISO 8601, nothing where there is no number."""
    columns = columns_of(part)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_texts(values) for values in columns.values()), strict=True))
    return text.getvalue().encode()


def as_json(part: Array) -> bytes:
    """Nested lists of numbers; see `plain`."""
    found = {"shape": list(part.shape), "dtype": described(part.dtype), "values": plain(part)}
    return pydantic_core.to_json(found)


def columns_of(part: Array) -> dict[str, Array]:
    """A slice as a table. Raises 406 for more than two axes."""
    if part.ndim == 0:
        part = part.reshape(1)
    if part.ndim == 1 and part.dtype.names:
        found = {name: part[name] for name in part.dtype.names}
        if all(values.ndim == 1 and not values.dtype.names for values in found.values()):
            return found
    elif part.ndim == 1:
        return {"value": part}
    elif part.ndim == 2 and not part.dtype.names and part.shape[1] <= _COLUMNS:
        return {str(number): part[:, number] for number in range(part.shape[1])}
    raise ProblemError(
        "not-acceptable",
        f"a slice of shape {part.shape} and type {part.dtype} is no table of at most {_COLUMNS} plain columns: give a "
        "slice with two axes at most, or ask for application/x-npy",
    )


def plain(part: Array) -> Any:
    """What JSON can say: null for NaN and NaT, "Infinity", times as text, complex numbers as pairs, records by name."""
    dtype = part.dtype
    if dtype.names:
        fields = {name: plain(part[name]) for name in dtype.names}
        return _records(fields, part.ndim)
    if dtype.kind == "c":
        return plain(np.stack([part.real, part.imag], axis=-1))
    if dtype.kind == "f":
        values = part.astype(object) if dtype.itemsize <= 8 else part.astype(float).astype(object)
        wrong = ~np.isfinite(part)
        if wrong.any():
            values = np.asarray(values)
            values[np.isnan(part)] = None
            values[np.isposinf(part)], values[np.isneginf(part)] = "Infinity", "-Infinity"
        return values.tolist()
    if dtype.kind in "mM":
        values = np.datetime_as_string(part).astype(object) if dtype.kind == "M" else part.astype("i8").astype(object)
        values = np.asarray(values, dtype=object)
        values[np.isnat(part)] = None
        return values.tolist()
    if dtype.kind in "SV":
        return _mapped(part.tolist() if dtype.kind == "S" else part.astype(object).tolist(), _byte_text)
    return _mapped(part.tolist(), _text) if dtype.kind == "U" else part.tolist()


def described(dtype: np.dtype[Any]) -> Any:
    """A dtype as its name, or a list of [field, type] pairs."""
    found: Any = np.lib.format.dtype_to_descr(dtype)
    return found if isinstance(found, str) else [list(map(_plain_descr, field)) for field in found]


def _plain_descr(value: Any) -> Any:
    return list(map(_plain_descr, value)) if isinstance(value, (list, tuple)) else value


def _records(fields: dict[str, Any], axes: int) -> Any:
    if axes == 0:
        return fields
    lists = [[_records(dict(zip(fields, one, strict=True)), axes - 1)] for one in zip(*fields.values(), strict=True)]
    return [one[0] for one in lists]


def _texts(values: Array) -> list[Any]:
    found = plain(values)
    return ["" if value is None else value for value in found]


def _mapped(value: Any, change: Any) -> Any:
    return [_mapped(one, change) for one in value] if isinstance(value, list) else change(value)


def _byte_text(value: Any) -> str:
    return bytes(value).decode("latin-1")


def _text(value: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", value)


def _wrong(where: str, message: str) -> ProblemError:
    return ProblemError("invalid", f"{where}: {message}", errors=[FieldProblem(where=where, message=message)])


WRITERS = {NPY: as_npy, ARROW: as_arrow, JSON: as_json, CSV: as_csv}
