"""What is known of a plant as entities: the plant, its sensors, its supply, the tables of its figures, the licence.

* A sensor carries the array of the plant's measurements and names its column; the findings, the daily table and the
  slopes are entities of type array. So plants and arrays are found by what they are, not by where they lie.
* What a person changed stays: fields are written when an entity is made, and when a plant is described anew
  (`store.write`). Whose licence is not known gets none.
* Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import wendelin
from wendelin.notebooks.solar import names
from wendelin.notebooks.solar.keeper import Keeper
from wendelin.notebooks.solar.readings import TIME
from wendelin.notebooks.solar.systems import ATTRIBUTION, SYSTEMS, System
from wendelin.storage.ubm.entities import NAME
from wendelin.storage.ubm.quantity import checked_unit

if TYPE_CHECKING:
    from wendelin.storage.ubm.entities import Entities
    from wendelin.storage.ubm.entity import Entity

NREL: Final = "pvdaq:nrel"
LICENCE: Final = "pvdaq:cc-by-4.0"
DOI: Final = "10.25984/1846021"
MEASUREMENTS: Final = "solar-product:measurements"

TABLES: Final = {
    "flags": ("Findings", "one number of 16 bits for each row of the measurements, a bit for each kind of finding"),
    "daily": ("Daily figures", "energy, expected energy, performance, … of each day"),
    "slopes": ("Year-on-year slopes", "change from each day to the same day a year later, % per year"),
}
"""Arrays of figures below ``solar/<system>/analysis``, by their name."""

UNITS: Final = {"W/m²": "W/m**2", "°C": "degC"}
"""Units as pint writes them, where `Column.unit` has another habit."""

DAILY_UNITS: Final = {
    "day": "ns",
    "energy": "kWh",
    "expected": "kWh",
    "expected_usable": "kWh",
    "insolation": "kWh/m**2",
}


_SHORT: Final = {"ac": "AC", "dc": "DC", "poa": "plane-of-array"}


# -- finding


def known(root: Mapping[str, Any]) -> Entities | None:
    """The entities of the database; None when it has none yet (they are made by the next load)."""
    found = root.get(NAME)
    return found if found is None or hasattr(found, "search") else None


def plants(root: Mapping[str, Any]) -> dict[str, Entity]:
    """Plants of this application by the id of their system."""
    ubm = known(root)
    rows = [] if ubm is None else ubm.rows(type="plant")
    found = {names.system_id(row["reference"]): row["uid"] for row in rows}
    return {name: ubm[uid] for name, uid in found.items() if ubm is not None and name is not None}


def plant(root: Mapping[str, Any], system_id: str) -> Entity | None:
    """The plant of a system; None when it has no entity yet."""
    ubm = known(root)
    return None if ubm is None else ubm.get(names.plant(system_id))


def sensors(plant: Entity) -> dict[str, Entity]:
    """The sensors of a plant by the column of its array that they fill."""
    found = [plant.store[row["uid"]] for row in plant.store.rows(type="sensor", relation={"asset": plant})]
    return {sensor.column: sensor for sensor in sorted(found, key=lambda each: str(each.reference))}


def array(root: Mapping[str, Any], system_id: str, name: str) -> Any:
    """An array of a system, through the entity that carries it: measurements, flags, daily or slopes.

    In a database that was loaded before there were entities, it is the one at the old path. None when there is none.
    """
    ubm = known(root)
    if name == "measurements":
        owner = plant(root, system_id)
        carriers = [] if owner is None else list(sensors(owner).values())
    else:
        ubm = known(root)
        table = None if ubm is None else ubm.get(names.part(system_id, "array", name))
        carriers = [] if table is None else [table]
    carried = next((each.array for each in carriers if each.array is not None), None)
    return root.get(path(system_id, name)) if carried is None else carried


def path(system_id: str, name: str) -> str:
    """Where an array lies in the root folder."""
    return f"solar/{system_id}/{name}" if name == "measurements" else f"solar/{system_id}/analysis/{name}"


# -- making


def describe(root: Any, system: System, *, anew: bool = False) -> bool:
    """Make the entities of a system that are missing, and let them carry its arrays as they are now.

    `anew`: the system was described again, so what it says counts from now on. Returns whether anything was changed.
    """
    keeper = Keeper(wendelin.entities(root._p_jar))
    licence = _licence(keeper) if is_pvdaq(system) else None
    owner = keeper.keep(
        "plant", names.plant(system.id), _plant(system) if anew else None, **_unless(anew, _plant(system))
    )
    product = keeper.keep(
        "data_product", MEASUREMENTS, title="Photovoltaic measurements", sink="sensor", dtype="float32",
        description="power, irradiance, temperatures, … of a plant, averaged over each interval",
    )  # fmt: skip
    measured = _sensors(keeper, root, system, owner, product, licence, anew=anew)
    keeper.keep(
        "supply", names.part(system.id, "supply"), {"items": measured, "licence": licence},
        title=f"Measurements of {system.name}", resource=product, asset=owner, tag=names.plant(system.id),
        source=NREL if licence is not None else None,
    )  # fmt: skip
    if licence is not None:
        keeper.keep(
            "data_set", names.part(system.id, "set"), {"items": measured}, licence=licence, doi=DOI,
            title=f"PVDAQ system {system.id}, {system.place}", url=f"https://doi.org/{DOI}", description=ATTRIBUTION,
        )  # fmt: skip
    _tables(keeper, root, system, licence)
    return keeper.changed


def is_pvdaq(system: System) -> bool:
    """Whether a system is one of the five that come with the application, so that the licence of its data is known."""
    ours = SYSTEMS.get(system.id)
    return ours is not None and ours.file == system.file


def _licence(keeper: Keeper) -> Any:
    nrel = keeper.keep(
        "organisation", NREL, title="NREL", legal_name="National Renewable Energy Laboratory", country="US",
        kind="research", website="https://www.nrel.gov", description="publishes PVDAQ, Photovoltaic Data Acquisition",
    )  # fmt: skip
    return keeper.keep(
        "licence", LICENCE, title="CC BY 4.0 for PVDAQ", spdx="CC-BY-4.0", licensor=nrel, commercial_use=True,
        url="https://creativecommons.org/licenses/by/4.0/",
        text=f"Credit to give: PVDAQ (NREL), CC BY 4.0, doi {DOI}; hourly means by PV-Copilot (Baojie Li, LBNL). "
        "Say whether you changed something. The data come without warranty of any kind.",
    )  # fmt: skip


def _plant(system: System) -> dict[str, Any]:
    """The fields of a plant. Figures are in its fields, their sources in its description; unknown ones stay empty."""
    facts = {name: value for name, value in vars(system).items() if hasattr(value, "source")}
    sources = [f"{name.replace('_', ' ')}: {fact.source}" for name, fact in facts.items()]
    about = [f"{system.place}. {system.note}".strip(), *sources, f"clock: {system.clock_source}"]
    rated = system.rated_power.value
    return {
        "title": system.name,
        "description": "\n".join(about),
        "kind": "solar",
        "latitude": system.latitude.value,
        "longitude": system.longitude.value,
        "peak_power": None if rated is None else (rated / 1000, "kW"),
        "tilt": system.tilt.value,
        "azimuth": system.azimuth.value,
        "temperature_coefficient": system.temperature_coefficient.value,
        "time_zone": system.clock,
    }


def _sensors(
    keeper: Keeper, root: Any, system: System, owner: Any, product: Any, licence: Any, *, anew: bool
) -> list[Any]:
    measurements = root.get(path(system.id, "measurements"))
    if measurements is None:  # they were moved: the sensors know where
        measurements = array(root, system.id, "measurements")
    time = measurements[TIME]
    first = datetime.fromtimestamp(int(time[0]) / 1e9, UTC) if len(time) else None
    found = []
    for column in system.columns:
        about = {"unit": unit_of(column.unit), "quantity": column.name, "column": column.name, "asset": owner}
        about |= {"sampling_rate": rate(time), "start": first, "licence": licence, "resource": product}
        always = {"array": measurements} | (about if anew else {})
        once = {"title": f"{_spoken(column.name)} of {system.name}"} | _unless(anew, about)
        found.append(keeper.keep("sensor", names.part(system.id, "sensor", column.name), always, **once))
    return found


def _spoken(column: str) -> str:
    """``"AC power"``, ``"Ambient temperature"``."""
    words = [_SHORT.get(word, word) for word in column.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _tables(keeper: Keeper, root: Any, system: System, licence: Any) -> None:
    """Entities of the arrays of figures, as far as these were computed."""
    for name, (title, description) in TABLES.items():
        values = root.get(path(system.id, name))
        if values is not None:
            columns = values.dtype.names or ()
            keeper.keep(
                "array", names.part(system.id, "array", name), {"array": values}, title=f"{title} of {system.name}",
                description=description, columns=columns, licence=licence,
                units=[DAILY_UNITS.get(each, "") for each in columns] if name == "daily" else [],
                sampling_rate=(1, "1/day") if name == "daily" else None,
            )  # fmt: skip


def _unless(condition: bool, values: dict[str, Any]) -> dict[str, Any]:
    return {} if condition else values


def unit_of(text: str) -> str | None:
    """A column's unit as entities have it; None for what pint does not know."""
    try:
        return checked_unit(UNITS.get(text, text)) if text else None
    except ValueError:
        return None


def rate(time: Any) -> tuple[float, str] | None:
    """How often rows come, from their stamps (ns): per hour, or per second where they are closer than a minute."""
    if len(time) < 2:
        return None
    seconds = float(np.median(np.diff(time))) / 1e9
    return (3600 / seconds, "1/h") if seconds >= 60 else (1 / seconds, "1/s") if seconds > 0 else None
