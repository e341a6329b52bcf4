"""Items: the single things. Assets, devices, sensors, streams, arrays, data sets, licences."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from wendelin.storage.ubm.entity import Entity
from wendelin.storage.ubm.fields import (
    Angle,
    Area,
    Count,
    Latitude,
    Length,
    Longitude,
    Mass,
    Power,
    Rate,
    Settings,
    Sha256,
    Speed,
    Temperature,
    Time,
    TimeZone,
    UnitName,
    Url,
    Voltage,
)
from wendelin.storage.ubm.relation import CASCADE, CLEAR, Carried, Relation


class Item(Entity):
    """A single thing of a resource."""

    roles: ClassVar[tuple[str, ...]] = ("item",)

    resource = Relation("resource", doc="what it is one of")


class Asset(Item):
    """Something that is operated, monitored and maintained. Also the type for what has none of its own."""

    type, prefix = "asset", "AST"

    class Fields(Item.Fields):
        """Which one, where, and since when."""

        serial_number: str = ""
        model: str = ""
        latitude: Latitude | None = None
        longitude: Longitude | None = None
        altitude: Length | None = None
        commissioned: Time | None = None
        decommissioned: Time | None = None

    parent = Relation("asset", acyclic=True, doc="the asset it is part of")
    manufacturer = Relation("organisation", on_delete=CLEAR, doc="who made it")
    operator = Relation("organisation", "person", doc="who runs it")
    components = Relation("component", many=True, doc="what is built in")


class Turbine(Asset):
    """A wind turbine."""

    type, prefix = "turbine", "TUR"

    class Fields(Asset.Fields):
        """What its power curve depends on."""

        rated_power: Power | None = None
        rated_speed: Speed | None = Field(None, description="wind speed of rated power")
        cut_in_speed: Speed | None = None
        cut_out_speed: Speed | None = None
        hub_height: Length | None = None
        rotor_diameter: Length | None = None
        blades: Count = 3
        offshore: bool = False


class Vehicle(Asset):
    """A vehicle, on rails, roads, water or in the air."""

    type, prefix = "vehicle", "VEH"

    class Fields(Asset.Fields):
        """Which one."""

        registration: str = Field("", description="number plate or register's number")
        drive: Literal["", "electric", "diesel", "petrol", "hybrid", "hydrogen", "none"] = ""
        kind: Literal["", "car", "truck", "bus", "train", "ship", "aircraft"] = ""
        rated_power: Power | None = None
        mass: Mass | None = None
        top_speed: Speed | None = None


class Plant(Asset):
    """A power plant, as a field of solar modules; a wind farm is one whose turbines name it as their parent."""

    type, prefix = "plant", "PLA"

    class Fields(Asset.Fields):
        """What its yield depends on."""

        kind: Literal["", "solar", "wind", "hydro", "biomass", "storage", "other"] = ""
        peak_power: Power | None = None
        ac_power: Power | None = Field(None, description="what its inverters or generators deliver at most")
        modules: Count | None = None
        area: Area | None = None
        tilt: Angle | None = None
        azimuth: Angle | None = Field(None, description="clockwise from north")
        temperature_coefficient: float | None = Field(None, description="power per kelvin", examples=[-0.0038])
        time_zone: TimeZone = Field("UTC", description="of its own clock", examples=["Europe/Berlin"])


class Device(Item):
    """A data acquisition unit: a logger, a gateway, an inverter that reports."""

    type, prefix = "device", "DEV"

    class Fields(Item.Fields):
        """Which one, and how it is reached."""

        serial_number: str = ""
        model: str = ""
        firmware: str = ""
        protocol: Literal["", "modbus", "opcua", "mqtt", "http", "file", "can", "other"] = ""
        address: str = Field("", description="where it is reached")

    asset = Relation("asset", doc="what it watches")
    manufacturer = Relation("organisation", on_delete=CLEAR, doc="who made it")


class Sensor(Item):
    """Measures one thing. It carries the array of its values."""

    type, prefix = "sensor", "SEN"
    needs: ClassVar[dict[str, tuple[str, ...]]] = {"validate": ("unit",)}

    class Fields(Item.Fields):
        """What its values mean."""

        quantity: str = Field("", description="what is measured", examples=["ac_power"])
        unit: UnitName | None = None
        sampling_rate: Rate | None = Field(None, description="values per time")
        minimum: float | None = Field(None, description="least plausible value, in its unit")
        maximum: float | None = Field(None, description="greatest plausible value, in its unit")
        accuracy: float | None = Field(None, ge=0, description="in its unit")
        start: Time | None = Field(None, description="time of the first value")
        column: str = Field("", description="its column in an array with several")
        serial_number: str = ""
        calibrated: Time | None = None
        operating_temperature: Temperature | None = Field(None, description="highest allowed")
        supply_voltage: Voltage | None = None

    array = Carried("its values")
    asset = Relation("asset", doc="what it measures")
    device = Relation("device", on_delete=CLEAR, doc="what reads it")
    licence = Relation("licence", doc="what may be done with its values")


class DataItem(Item):
    """Data that a sensor, an ingestion or an analysis brought."""

    class Fields(Item.Fields):
        """The span of time that it covers."""

        start: Time | None = None
        stop: Time | None = None

    sensor = Relation("sensor", on_delete=CLEAR, doc="what measured it")
    licence = Relation("licence", doc="what may be done with it")


class DataStream(DataItem):
    """Bytes in the order in which they came; it carries them as a `ByteStream`, or as an array of bytes."""

    type, prefix = "stream", "STR"

    class Fields(DataItem.Fields):
        """How far they were read."""

        media_type: str = Field("application/octet-stream", pattern=r"^[\w.+-]+/[\w.+-]+$")
        offset: Count = Field(0, description="how many of its bytes were processed")

    stream = Carried("its bytes, to append to and to read as a file")
    array = Carried("its bytes, as an array that was filled")
    predecessor = Relation("stream", acyclic=True, on_delete=CLEAR, doc="the stream that it continues")


class DataArray(DataItem):
    """A table or a field of numbers; it carries them as a `ZBigArray`."""

    type, prefix = "array", "ARR"

    class Fields(DataItem.Fields):
        """What rows and columns mean."""

        unit: UnitName | None = None
        sampling_rate: Rate | None = Field(None, description="rows per time")
        columns: tuple[str, ...] = ()
        units: tuple[UnitName, ...] = Field((), description="units of the columns, where they differ")
        processed: Count = Field(0, description="how many rows an analysis has processed")

    array = Carried("its values")


class DataSet(Item):
    """Data items that are given to others together."""

    type, prefix = "data_set", "SET"

    class Fields(Item.Fields):
        """What others read on the label."""

        start: Time | None = None
        stop: Time | None = None
        version: str = ""
        doi: str = Field("", pattern=r"^(10\.\d{4,9}/\S+)?$", description="digital object identifier")
        url: Url | None = None
        sha256: Sha256 | None = None

    items = Relation("item", many=True, doc="what it consists of (aggregate)")
    licence = Relation("licence", doc="what may be done with it")


class DataLicence(Item):
    """What may be done with data."""

    type, prefix = "licence", "LIC"

    class Fields(Item.Fields):
        """Its terms."""

        spdx: str = Field("", description="identifier of the SPDX list", examples=["CC-BY-4.0"])
        url: Url | None = None
        text: str = ""
        commercial_use: bool | None = None
        start: Time | None = None
        stop: Time | None = None

    licensor = Relation("organisation", "person", doc="who grants it")
    licensees = Relation("organisation", "person", many=True, on_delete=CLEAR, doc="to whom; to all when empty")
    replaces = Relation("licence", on_delete=CLEAR, doc="the licence before")


class DeviceConfiguration(Item):
    """How a device was set, from when on: attach its files."""

    type, prefix = "device_configuration", "CFG"
    roles = ("item", "document")

    class Fields(Item.Fields):
        """From when on, and how."""

        start: Time | None = None
        stop: Time | None = None
        settings: Settings = Field({})

    device = Relation("device", on_delete=CASCADE, doc="which device")


for _class in (
    Item, Asset, Turbine, Vehicle, Plant, Device, Sensor, DataItem, DataStream, DataArray, DataSet, DataLicence,
    DeviceConfiguration,
):  # fmt: skip
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
