"""The five PVDAQ systems: what is known of each, and from where.

* A figure never stands without its source: `Fact(value, source)`. What nobody published is `None`, and says so; it is
  never invented. A rated power that is missing is estimated from the measurements (`performance.estimate_rated_power`).
* A `Column` says how one column of a file becomes one field of the database in SI-near units.
* Stamps in the files carry no zone. `clock` is the zone they were found to be in, by comparing the irradiance-weighted
  middle of each day with the sun's transit (`quality.clock_shift` repeats that comparison on every analysis).
* Own plants: make a `System` and hand it to `wendelin.notebooks.solar.load.store_system`; nothing here needs editing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CATALOGUE: Final = "PVDAQ systems catalogue of 2025-07-29 (OEDI, doi 10.25984/1846021)"
CEC: Final = "CEC module database of 2019-03-05, as pvlib ships it"
RDTOOLS: Final = "RdTools' documentation, example on PVDAQ system 4"
FOUND: Final = "found in the data: middle of the day against the sun's transit"
ATTRIBUTION: Final = "Data: PVDAQ, NREL, CC BY 4.0, doi 10.25984/1846021"


@dataclass(frozen=True)
class Fact:
    """A figure and where it comes from; `value` is None when nobody published it."""

    value: float | None
    source: str

    @property
    def known(self) -> bool:
        return self.value is not None


@dataclass(frozen=True)
class Column:
    """How the column `source` of a file becomes the field `name`: value × scale + offset, in `unit`."""

    name: str
    source: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class System:
    """A photovoltaic system.

    Attributes
    ----------
    id : str
        Name in the database: measurements lie at ``solar/<id>/measurements``.
    clock : str
        IANA zone of the stamps in `file`, e.g. ``Etc/GMT+7`` (that is UTC−7).
    latitude, longitude, tilt, azimuth : Fact
        Degrees; north and east positive; azimuth clockwise from north (180 is south).
    rated_power : Fact
        W at 1000 W/m² and 25 °C of the part of the system that `power` measures.
    temperature_coefficient : Fact
        Of the power, 1/°C (negative).
    power : str
        Name of the field (W) that performance is judged by.
    irradiance : str
        Name of the field with the irradiance in the plane of the modules (W/m²).
    """

    id: str
    name: str
    place: str
    file: str
    clock: str
    latitude: Fact
    longitude: Fact
    tilt: Fact
    azimuth: Fact
    rated_power: Fact
    temperature_coefficient: Fact
    columns: tuple[Column, ...]
    power: str = "ac_power"
    irradiance: str = "poa_irradiance"
    clock_source: str = FOUND
    note: str = ""
    attribution: str = ATTRIBUTION

    @property
    def units(self) -> dict[str, str]:
        """Unit of each field of the array."""
        return {column.name: column.unit for column in self.columns}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the database: no class of this module is pickled, so the module may change freely."""
        plain = {key: value for key, value in vars(self).items() if not isinstance(value, (Fact, tuple))}
        facts = {key: [value.value, value.source] for key, value in vars(self).items() if isinstance(value, Fact)}
        columns = [[c.name, c.source, c.unit, c.scale, c.offset] for c in self.columns]
        return {**plain, "facts": facts, "columns": columns}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> System:
        """The inverse of `to_dict`."""
        fields: dict[str, Any] = {key: value for key, value in plain.items() if key not in ("facts", "columns")}
        fields |= {key: Fact(*value) for key, value in plain["facts"].items()}
        return cls(**fields, columns=tuple(Column(*column) for column in plain["columns"]))


def _celsius_of_fahrenheit(name: str, source: str) -> Column:
    return Column(name, source, "°C", 5 / 9, -32 * 5 / 9)


GOLDEN = System(
    id="4",
    name="NREL x-Si -1",
    place="Golden, Colorado",
    file="pvdaq_system4_golden_hourly.parquet",
    clock="Etc/GMT+7",
    clock_source=f"UTC−7, {CATALOGUE}",
    latitude=Fact(39.7406, CATALOGUE),
    longitude=Fact(-105.1774, CATALOGUE),
    tilt=Fact(40.0, CATALOGUE),
    azimuth=Fact(180.0, CATALOGUE),
    rated_power=Fact(1000.0, CATALOGUE),
    temperature_coefficient=Fact(-0.0034, RDTOOLS),
    columns=(
        Column("ac_power", "ac_power", "W"),
        Column("poa_irradiance", "poa_irradiance", "W/m²"),
        Column("ambient_temperature", "ambient_temp", "°C"),
        Column("wind_speed", "wind_speed", "m/s"),
    ),
    note="Open-rack glass/polymer modules on the ground. The file holds no rows of the night.",
)

LAS_VEGAS = System(
    id="1278",
    name="School roof, Building D",
    place="Las Vegas, Nevada",
    file="sys_1278_downsampled_with_VI.parquet",
    clock="Etc/GMT+8",
    clock_source=f"UTC−8 without summer time; {FOUND}",
    latitude=Fact(36.1952, CATALOGUE),
    longitude=Fact(-115.1582, CATALOGUE),
    tilt=Fact(None, f"blank in the {CATALOGUE}"),
    azimuth=Fact(180.0, CATALOGUE),
    rated_power=Fact(171_360.0, CATALOGUE),
    temperature_coefficient=Fact(
        -0.00458, f"assumed module Sharp NU-U240F1 (171.36 kW are 714 × 240 W; Building A has this type), {CEC}"
    ),
    columns=(
        Column("ac_power", "ac_power", "W"),
        Column("dc_power", "dc_power", "W"),
        Column("poa_irradiance", "poa_irradiance", "W/m²"),
        Column("module_temperature", "module_temperature_C", "°C"),
        Column("inverter1_voltage", "inv1_input_voltage", "V"),
        Column("inverter1_current", "inv1_input_current", "A"),
    ),
    note="The power channels end in August 2018; irradiance and temperature run until July 2020.",
)

ST_PETERSBURG = System(
    id="1300",
    name="Demens Landing Park",
    place="St Petersburg, Florida",
    file="pvdaq_system1300_stpetersburg_hourly.parquet",
    clock="America/New_York",
    clock_source=f"local time with summer time, {CATALOGUE}; {FOUND}",
    latitude=Fact(27.7701, CATALOGUE),
    longitude=Fact(-82.629, CATALOGUE),
    tilt=Fact(None, f"blank in the {CATALOGUE}"),
    azimuth=Fact(None, f"marked unknown (−1) in the {CATALOGUE}"),
    rated_power=Fact(None, f"blank in the {CATALOGUE}"),
    temperature_coefficient=Fact(-0.0047, "assumed: PVWatts v5 standard module (Dobos 2014, NREL/TP-6A20-62641)"),
    columns=(
        Column("ac_power", "ac_power", "W"),
        Column("dc_power", "dc_power_calc", "W"),
        Column("poa_irradiance", "intsolirrad", "W/m²"),
        _celsius_of_fahrenheit("module_temperature", "module_temp_f"),
        _celsius_of_fahrenheit("ambient_temperature", "ambient_temp_f"),
        Column("wind_speed", "wind_speed_mph", "m/s", 0.44704),
        Column("ac_voltage", "ac_voltage", "V"),
        Column("ac_current", "ac_current", "A"),
        Column("ac_frequency", "ac_frequency", "Hz"),
        Column("dc_voltage", "dc_voltage", "V"),
        Column("dc_current", "dc_current", "A"),
    ),
    note="The plane of the irradiance sensor is not documented.",
)

COCOA_BEACH = System(
    id="1403",
    name="Regional Test Center, Florida",
    place="Cocoa Beach, Florida",
    file="sys_1403_part1_downsampled_with_VI.parquet",
    clock="Etc/GMT+5",
    clock_source=f"UTC−5 without summer time; {FOUND}",
    latitude=Fact(28.405, CATALOGUE),
    longitude=Fact(-80.7709, CATALOGUE),
    tilt=Fact(35.0, CATALOGUE),
    azimuth=Fact(180.0, CATALOGUE),
    rated_power=Fact(6000.0, CATALOGUE),
    temperature_coefficient=Fact(-0.00448, f"module Suniva OPT270-60 as reported for PVDAQ's RTC systems, {CEC}"),
    columns=(
        Column("ac_power", "ac_power", "W"),
        Column("dc_power", "dc_power", "W"),
        Column("poa_irradiance", "poa_irradiance", "W/m²"),
        Column("module_temperature", "module_temperature_C", "°C"),
        Column("inverter1_voltage", "inv1_dc_voltage", "V"),
        Column("inverter1_current", "inv1_dc_current1", "A"),
    ),
    note="The logger writes 3276.7 °C where it has no module temperature; the power channels begin in April 2016.",
)

BURLINGTON = System(
    id="1422",
    name="Regional Test Center, Vermont",
    place="Burlington, Vermont",
    file="sys_1422_downsampled.parquet",
    clock="Etc/GMT+5",
    clock_source=f"UTC−5 without summer time; {FOUND}",
    latitude=Fact(44.4665, CATALOGUE),
    longitude=Fact(-73.1014, CATALOGUE),
    tilt=Fact(35.0, CATALOGUE),
    azimuth=Fact(180.0, CATALOGUE),
    rated_power=Fact(3000.0, f"half of the 6 kW in the {CATALOGUE}: one inverter of two is in the file"),
    temperature_coefficient=Fact(-0.00448, f"module Suniva OPT270-60 as reported for PVDAQ's RTC systems, {CEC}"),
    columns=(
        Column("dc_power", "dc_power_inv1", "W"),
        Column("poa_irradiance", "poa_irradiance", "W/m²"),
        Column("module_temperature", "module_temperature_C", "°C"),
    ),
    power="dc_power",
    note="DC power of the first of two inverters.",
)

SYSTEMS: Final[dict[str, System]] = {
    system.id: system for system in (GOLDEN, LAS_VEGAS, ST_PETERSBURG, COCOA_BEACH, BURLINGTON)
}
