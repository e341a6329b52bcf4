"""Tables of measurements: from a Parquet file to a frame, from a frame to a structured array, and back.

* A *frame* is a `pandas.DataFrame` with a UTC index (`time`, the beginning of each interval) and one float64 column a
  field of the system, in the units of `System.units`.
* *Records* are the same as a structured ndarray, which is what the database holds: `time` int64 nanoseconds since
  1970 UTC, then one float32 a field. Float32 keeps seven digits, far below any sensor's error, and halves the bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from wendelin.notebooks.solar.errors import MeasurementsError
from wendelin.notebooks.solar.systems import System

TIME = "time"


def read_parquet(path: Path, system: System) -> pd.DataFrame:
    """The frame of `system` from the Parquet file at `path`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    MeasurementsError
        The file has no stamps, no rows, lacks a column of the system, or its stamps go back or repeat.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no measurements of system {system.id} at {path}: name their folder with --folder")
    return from_table(pd.read_parquet(path), system, name=path.name)


def from_table(table: pd.DataFrame, system: System, *, name: str = "the table") -> pd.DataFrame:
    """The frame of `system` from `table`, whose columns and stamps are still those of the source file.

    Stamps without a zone are read in `system.clock`. Hours that summer time makes impossible or ambiguous (at night)
    are left out. Stamps with a zone are converted.

    Raises
    ------
    MeasurementsError
        As `read_parquet`; the message begins with `name`.
    """
    missing = [column.source for column in system.columns if column.source not in table.columns]
    if missing:
        raise MeasurementsError(
            f"{name} lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}: "
            f"correct the columns of System {system.id!r} (wendelin.notebooks.solar.systems.Column)"
        )
    index = table.index
    if not isinstance(index, pd.DatetimeIndex):
        raise MeasurementsError(f"{name} has an index of {index.dtype}, not stamps: call table.set_index('<stamps>')")
    if index.tz is None:
        index = index.tz_localize(system.clock, ambiguous="NaT", nonexistent="NaT")
    kept = np.asarray(index.notna())
    utc = index[kept].tz_convert("UTC").as_unit("ns").rename(TIME)
    fields = {c.name: table[c.source].to_numpy(np.float64)[kept] * c.scale + c.offset for c in system.columns}
    frame = pd.DataFrame(fields, index=utc)
    check_frame(frame, system, name=name)
    return frame


def check_frame(frame: pd.DataFrame, system: System, *, name: str = "the frame") -> None:
    """Raise `MeasurementsError` when `frame` cannot be stored or analysed, and say which row or column is at fault.

    Asked for: rows, a UTC index that only goes forward, and the system's power and irradiance. Values may be missing.
    """
    for role, field in (("power", system.power), ("irradiance", system.irradiance)):
        if field not in frame.columns:
            raise MeasurementsError(f"{name} has no {role} {field!r}; it has {', '.join(map(str, frame.columns))}")
    index = frame.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise MeasurementsError(f"{name} has no UTC stamps: call frame.tz_localize(zone).tz_convert('UTC')")
    if not len(frame):
        raise MeasurementsError(f"{name} has no rows: there is nothing to analyse of system {system.id}")
    steps = np.diff(index.as_unit("ns").asi8)
    if (steps < 0).any():
        raise MeasurementsError(f"{name} goes back in time at {index[1:][steps < 0][0]}: call frame.sort_index()")
    if (steps == 0).any():
        repeated = index[1:][steps == 0]
        raise MeasurementsError(
            f"{name} has {len(repeated)} repeated stamps, the first is {repeated[0]}: "
            "call frame[~frame.index.duplicated()]"
        )


def record_dtype(system: System) -> np.dtype[Any]:
    """Type of a row in the database: `time` int64 (ns since 1970, UTC), then float32 a field."""
    return np.dtype([(TIME, "<i8"), *((column.name, "<f4") for column in system.columns)])


def to_records(frame: pd.DataFrame, system: System) -> npt.NDArray[Any]:
    """The frame as a structured array of shape ``(rows,)`` and `record_dtype`."""
    check_frame(frame, system)
    records = np.empty(len(frame), record_dtype(system))
    records[TIME] = stamps(frame).as_unit("ns").asi8
    for column in system.columns:
        records[column.name] = frame[column.name].to_numpy(np.float32)
    return records


def from_records(records: npt.NDArray[Any]) -> pd.DataFrame:
    """The frame of a structured array (the inverse of `to_records`, to float32's precision). Copies.

    ``from_records(root["solar/4/measurements"][:])`` is the way from the database to pandas.
    """
    names = [name for name in (records.dtype.names or ()) if name != TIME]
    index = pd.DatetimeIndex(records[TIME].astype("datetime64[ns]"), name=TIME).tz_localize("UTC")
    return pd.DataFrame({name: records[name].astype(np.float64) for name in names}, index=index)


def digest(records: npt.NDArray[Any]) -> str:
    """Fingerprint of the rows, 32 hexadecimal digits; 60 000 rows take 3 ms."""
    return hashlib.blake2b(np.ascontiguousarray(records).view(np.uint8).data, digest_size=16).hexdigest()


def stamps(frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The UTC stamps of a frame, the beginning of each interval."""
    assert isinstance(frame.index, pd.DatetimeIndex)
    return frame.index


def step(frame: pd.DataFrame) -> pd.Timedelta:
    """Interval between rows: the median difference of the stamps; one hour for a single row."""
    if len(frame) < 2:
        return pd.Timedelta(hours=1)
    return pd.Timedelta(int(np.median(np.diff(stamps(frame).as_unit("ns").asi8))), unit="ns")
