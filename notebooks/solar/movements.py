"""What happened to a plant's data as entities: what was loaded, from which file, how many rows, and what was computed.

A file that is loaded is an ingestion of its own, delivered at once. Rows that are appended go on one ingestion that is
not at its end (`started`). Each step of the analysis is an analysis of the ingestion before it, by an operation, with
its result in words. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from wendelin.notebooks.solar import entities, names, operations, words
from wendelin.notebooks.solar.keeper import Keeper
from wendelin.notebooks.solar.report import VERSION
from wendelin.notebooks.solar.systems import System

if TYPE_CHECKING:
    from wendelin.storage.ubm.entity import Entity

AFTERWARDS: Final = "recorded afterwards: when it was is not known"

#: Step → (title, the arrays it reads, the array it fills).
STEPS: Final[dict[str, tuple[str, tuple[str, ...], str | None]]] = {
    "quality": ("Quality of the measurements", ("measurements",), "flags"),
    "performance": ("Performance", ("measurements", "flags"), "daily"),
    "degradation": ("Degradation", ("daily",), "slopes"),
    "soiling": ("Soiling", ("daily",), None),
    "maintenance": ("Maintenance suggestions", ("daily",), None),
}


# -- ingestions


def loaded(root: Any, system: System, source: str, rows: int, digest: str, *, when_known: bool = True) -> Any:
    """A whole file, or frame, is in the database: an ingestion, delivered."""
    found = _ingestion(root, system, f"{source or 'A frame'} of {system.name}")
    found.set(rows=rows, description=f"file {source or 'none, a frame in memory'}; BLAKE2b of its rows {digest}")
    if when_known:
        _go(found, "plan", "confirm", "start", "stop", "deliver", why=f"{rows} rows of {source or 'a frame'}")
    else:
        found.put("delivered", AFTERWARDS)
    return found


def appended(root: Any, system: System, rows: int) -> Any:
    """So many rows came behind those that are there: they belong to the ingestion that is open, or begin one."""
    supply = root_supply(root, system.id)
    rowed = supply.store.rows(type="ingestion", state="started", relation={"path": supply})
    found = next((supply.store[row["uid"]] for row in rowed), None)
    if found is None:
        found = _ingestion(root, system, f"Later rows of {system.name}")
        found.set(tag=supply.tag)
        _go(found, "plan", "confirm", "start", why="rows were appended")
    found.arrived(rows)
    return found


def root_supply(root: Any, system_id: str) -> Any:
    """The supply of a system's measurements, which `entities.describe` made."""
    ubm = entities.known(root)
    assert ubm is not None
    return ubm[names.part(system_id, "supply")]


def ingestions(root: Any, system_id: str) -> list[Any]:
    """All ingestions of a system, in the order in which they were made."""
    supply = root_supply(root, system_id)
    rows = sorted(supply.store.rows(type="ingestion", relation={"path": supply}), key=lambda row: row["created"])
    return [supply.store[row["uid"]] for row in rows]


def _ingestion(root: Any, system: System, title: str) -> Any:
    supply = root_supply(root, system.id)
    for row in list(supply.store.rows(type="ingestion", state="started", relation={"path": supply})):
        _end(supply.store[row["uid"]])
    values = {**supply.movement(), "title": title, "path": supply, "destination": supply.asset}
    return supply.store.create("ingestion", **values | {"tag": ""})


def _end(ingestion: Any) -> None:
    """Other data come in its place: what was appended to the earlier ones ends, and so do its analyses."""
    why = "the rows were replaced"
    _go(ingestion, "stop", "deliver", why=why)
    for row in list(ingestion.store.rows(type="analysis", state="stopped", relation={"causality": ingestion})):
        ingestion.store[row["uid"]].do("deliver", why)


# -- analyses


def analysed(root: Any, system: System, summary: dict[str, Any], began: datetime | None) -> dict[str, Entity]:
    """The figures of a system were computed from `began` until now: an analysis for each step, of its last ingestion.

    None: when it was is not known.
    """
    ingestion = ingestions(root, system.id)[-1]
    keeper = Keeper(ingestion.store)
    found = {}
    for step in STEPS:
        found[step] = analysis = _analysis(root, system, step, ingestion, _operation(keeper, step))
        result = RESULTS[step](summary)[:1000]
        if began is None:
            analysis.set(rounds=1, result=result)
            analysis.put("delivered", AFTERWARDS)
            continue
        before = ("start",) if analysis.state == "stopped" else ("plan", "confirm", "start")
        analysis.set(start=analysis.start or began, rounds=analysis.rounds + 1, result=result)
        _go(analysis, *before, why=f"of {ingestion.reference}")
        analysis.set(stop=datetime.now(UTC))
        _go(analysis, *(("stop",) if ingestion.state == "started" else ("stop", "deliver")), why=result)
    return found


def _operation(keeper: Keeper, step: str) -> Any:
    title = STEPS[step][0]
    return keeper.keep(
        "operation", f"solar-operation:{step}", {"version": str(VERSION)}, title=title,
        function=operations.FUNCTIONS[step].__name__, description=(operations.FUNCTIONS[step].__doc__ or "").strip(),
    )  # fmt: skip


def _analysis(root: Any, system: System, step: str, ingestion: Any, operation: Any) -> Any:
    """The analysis of an ingestion by an operation that is not at its end, or a new one."""
    store = ingestion.store
    for row in store.rows(type="analysis", state="stopped", relation={"causality": ingestion, "operation": operation}):
        return store[row["uid"]]
    title, inputs, output = STEPS[step]
    items = [item for name in inputs for item in _items(root, system.id, name)]
    return store.create(
        "analysis", title=f"{title} of {system.name}", operation=operation, causality=[ingestion], items=items,
        outputs=_items(root, system.id, output) if output else [], source=ingestion.destination,
        parameters={"rows": ingestion.rows, "formulas": VERSION},
    )  # fmt: skip


def _items(root: Any, system_id: str, name: str) -> list[Any]:
    if name == "measurements":
        owner = entities.plant(root, system_id)
        return [] if owner is None else list(entities.sensors(owner).values())
    ubm = entities.known(root)
    table = None if ubm is None else ubm.get(names.part(system_id, "array", name))
    return [] if table is None else [table]


def _go(movement: Any, *transitions: str, why: str) -> None:
    for transition in transitions:
        movement.do(transition, why)


# -- results in words


def _performance(summary: dict[str, Any]) -> str:
    if summary["performance"] is None:
        return "no usable hours"
    about = " (relative: the rated power is an estimate)" if summary["rated_is_estimated"] else ""
    last = summary["performance_last_year"]
    return f"{summary['performance']:.3f} over its life, {last:.3f} in the last year with data{about}"


def _degradation(summary: dict[str, Any]) -> str:
    aged = summary["degradation"]
    if aged["rate"] is None:
        return f"no rate: {aged['reason']}"
    interval = f"{words.signed(aged['low'])} … {words.signed(aged['high'])}"
    return f"{words.signed(aged['rate'])} %/year, 95 % interval {interval}, {aged['pairs']} pairs of days"


def _soiling(summary: dict[str, Any]) -> str:
    dirt = summary["soiling"]
    if dirt["ratio"] is None:
        return f"no ratio: {dirt['reason']}"
    return f"soiling ratio {dirt['ratio']:.3f}, 68.2 % interval {dirt['low']:.3f} … {dirt['high']:.3f}"


RESULTS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "quality": lambda summary: f"{words.percent(summary['usable_share'])} of the daylight hours are usable",
    "performance": _performance,
    "degradation": _degradation,
    "soiling": _soiling,
    "maintenance": lambda summary: "; ".join(str(each["what"]) for each in summary["suggestions"]),
}
