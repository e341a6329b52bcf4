"""Where solar data lie in the database, and how they are read, written, extended and judged stale.

::

    solar/<system>/system            dict   what is known of the system (`System.to_dict`)
    solar/<system>/measurements      ZBigArray (rows,) of `readings.record_dtype`: time int64 ns UTC, fields float32
    solar/<system>/source            dict   the file that was loaded last: name, rows, digest
    solar/<system>/analysis/summary  dict   figures (`analysis.summary`), with the digest of the rows they come from
    solar/<system>/analysis/flags    ZBigArray (rows,) of uint16 (`Quality.stored`)
    solar/<system>/analysis/daily    ZBigArray (days,) of `report.DAILY_DTYPE`
    solar/<system>/analysis/slopes   ZBigArray (pairs,) of `report.SLOPE_DTYPE`

What the data are and what happened to them is told by entities, which are made along (`entities`, `movements`,
`orders`) and through which systems and arrays are found; the paths stay, and serve databases that have no entities yet.

Nothing here commits: callers own the transaction. Two transactions that change the same system conflict
(`ZODB.POSException.ConflictError`: try again); different systems do not. Only plain values and arrays are stored, no
class of this application, so its modules may move.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import wendelin
from wendelin.notebooks.solar import entities, movements, orders
from wendelin.notebooks.solar import report as reports
from wendelin.notebooks.solar.errors import MeasurementsError, NothingLoadedError, UnknownSystemError
from wendelin.notebooks.solar.flags import monthly_shares
from wendelin.notebooks.solar.readings import TIME, digest, from_records, to_records
from wendelin.notebooks.solar.report import VERSION, Report
from wendelin.notebooks.solar.systems import System

if TYPE_CHECKING:
    from wendelin.notebooks.solar.analysis import Analysis

Root = MutableMapping[str, Any]
HOW_TO_LOAD = "python -m wendelin.notebooks.solar.load"


def system_ids(root: Root) -> list[str]:
    """Systems with measurements in the database, in order of their number, then their name."""
    if "solar" not in root:
        return []
    home = root["solar"]
    known = {
        name for name in entities.plants(root) if f"{name}/system" in home and measurements(root, name) is not None
    }
    known |= {name for name in home if f"{name}/measurements" in home}
    return sorted(known, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def system_of(root: Root, system_id: str) -> System:
    """What the database knows of `system_id`.

    Raises
    ------
    NothingLoadedError, UnknownSystemError
        There are no solar data at all; or not of this system.
    """
    if f"solar/{system_id}/system" not in root or measurements(root, system_id) is None:
        known = system_ids(root)
        if not known:
            raise NothingLoadedError(f"this database holds no solar data: run {HOW_TO_LOAD}")
        raise UnknownSystemError(f"no system {system_id!r} in this database; it holds {', '.join(known)}")
    return System.from_dict(root[f"solar/{system_id}/system"])


def measurements(root: Root, system_id: str) -> Any:
    """The array of `system_id`'s measurements, through the sensors that carry it; None when there is none."""
    return entities.array(root, system_id, "measurements")


def frame_of(root: Root, system_id: str) -> pd.DataFrame:
    """The measurements of `system_id` as a frame (a copy: changing it changes nothing that is stored)."""
    system_of(root, system_id)
    return from_records(measurements(root, system_id)[:])


def write(root: Root, system: System, frame: pd.DataFrame, *, source: str = "") -> None:
    """Put `system` with its whole `frame` in place of what there was; `source` names the file it came from."""
    records = to_records(frame, system)
    home = f"solar/{system.id}"
    root[f"{home}/system"] = system.to_dict()
    _put(root, f"{home}/measurements", records)
    fingerprint = digest(records)
    root[f"{home}/source"] = {"name": source, "rows": len(records), "digest": fingerprint}
    entities.describe(root, system, anew=True)
    movements.loaded(root, system, source, len(records), fingerprint)


def append(root: Root, system_id: str, frame: pd.DataFrame) -> None:
    """Add rows after the last one of `system_id`; the figures are stale until `refresh`.

    Raises
    ------
    MeasurementsError
        A row is not later than the last one that is stored, or the frame is not one of this system.
    """
    system = system_of(root, system_id)
    records = to_records(frame, system)
    describe(root, system_id)
    array = measurements(root, system_id)
    if len(array):
        last = int(array[-1][TIME])
        if int(records[0][TIME]) <= last:
            at, until = (pd.Timestamp(ns, unit="ns", tz="UTC") for ns in (int(records[0][TIME]), last))
            raise MeasurementsError(
                f"system {system_id} holds rows until {until}, the first new one is of {at}: "
                "pass only later rows, e.g. frame[frame.index > store.end(root, system_id)]"
            )
    array.append(records)
    movements.appended(root, system, len(records))


def end(root: Root, system_id: str) -> pd.Timestamp:
    """Stamp of the last row of `system_id` (UTC)."""
    system_of(root, system_id)
    stamp = pd.Timestamp(int(measurements(root, system_id)[-1][TIME]), unit="ns", tz="UTC")
    assert isinstance(stamp, pd.Timestamp)
    return stamp


def is_current(root: Root, system_id: str) -> bool:
    """Whether the stored figures were computed from the rows that are stored now, by the formulas of now."""
    stored = root.get(f"solar/{system_id}/analysis/summary") if f"solar/{system_id}/analysis" in root else None
    if stored is None or stored.get("version") != VERSION:
        return False
    array = measurements(root, system_id)
    return bool(stored["rows"] == len(array) and stored["digest"] == digest(array[:]))


def refresh(root: Root, system_id: str) -> Analysis:
    """Analyse the stored rows of `system_id`, store the figures beside them, and plan the maintenance they ask for."""
    describe(root, system_id)
    began = datetime.now(UTC)
    analysis = compute_figures(root, system_id)
    entities.describe(root, analysis.system)  # the arrays of figures may be new
    _tell(root, analysis.system, root[f"solar/{system_id}/analysis/summary"], began)
    return analysis


def describe(root: Root, system_id: str) -> bool:
    """Make the entities of a system that was loaded before there were any; whether that was needed."""
    system = system_of(root, system_id)
    changed = entities.describe(root, system)
    if not movements.ingestions(root, system_id):
        source = root.get(f"solar/{system_id}/source") or {"name": "", "rows": 0, "digest": "unknown"}
        movements.loaded(root, system, source["name"], source["rows"], source["digest"], when_known=False)
        if is_current(root, system_id):
            _tell(root, system, root[f"solar/{system_id}/analysis/summary"], None)
        changed = True
    return changed


def _tell(root: Root, system: System, summary: dict[str, Any], began: datetime | None) -> None:
    """Figures are there: what they come from, and which maintenance they ask for."""
    found = movements.analysed(root, system, summary, began)
    orders.plan(entities.plant(root, system.id), found["maintenance"], summary)


def compute_figures(root: Root, system_id: str) -> Analysis:
    """Analyse the stored rows of `system_id` and store the figures beside them, without a word to the entities."""
    from wendelin.notebooks.solar import analysis as figures  # seconds of imports that a reader can do without

    system = system_of(root, system_id)
    records = measurements(root, system_id)[:]
    analysis = figures.analyse(system, from_records(records))
    home = f"solar/{system_id}/analysis"
    root[f"{home}/summary"] = figures.summary(analysis, digest(records))
    _put(root, f"{home}/flags", analysis.quality.stored)
    _put(root, f"{home}/daily", reports.daily_records(analysis.performance.daily))
    _put(root, f"{home}/slopes", reports.slope_records(figures.slopes_of(analysis)))
    return analysis


def report(root: Root, system_id: str) -> Report | None:
    """The stored report of `system_id`; None when there is none or it is not current."""
    system = system_of(root, system_id)
    if not is_current(root, system_id):
        return None
    time, flags = measurements(root, system_id)[TIME], entities.array(root, system_id, "flags")
    return Report(
        system=system,
        summary=root[f"solar/{system_id}/analysis/summary"],
        daily=reports.daily_frame(entities.array(root, system_id, "daily")[:]),
        flags=monthly_shares(time.copy(), flags[:].copy()),
        slopes=reports.slope_frame(entities.array(root, system_id, "slopes")[:]),
        orders=orders.of_plant(root, system_id),
    )


def compute(system: System, records: npt.NDArray[Any]) -> Report:
    """The report of rows whose stored figures are stale: pure, for a reader that may not write, in any thread."""
    from wendelin.notebooks.solar import analysis as figures  # seconds of imports that a reader can do without

    analysis = figures.analyse(system, from_records(records))
    return figures.report(analysis, records[TIME].astype(np.int64), digest(records), stale=True)


def _put(root: Root, path: str, values: npt.NDArray[Any]) -> None:
    """Make the array at `path` equal to `values`; an array that is equal already is left alone."""
    stored = root.get(path)
    if stored is None or stored.dtype != values.dtype:
        root[path] = stored = wendelin.ZBigArray(values.shape, values.dtype)
    elif len(stored) != len(values):
        stored.resize(values.shape)
    # Writing equal bytes would still be a change, stored and told to every reader. (Bytes: NaN is not equal to itself.)
    if len(values) and stored[:].tobytes() != values.tobytes():
        stored[:] = values
