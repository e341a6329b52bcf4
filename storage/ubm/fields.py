"""Types of fields. Each says in its error what to give instead, and in its JSON schema what it is."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from wendelin.storage.ubm.quantity import Money, Quantity, checked_unit, dimension


class FieldsModel(BaseModel):
    """What all fields have in common: checked when assigned, nothing unknown, no infinite numbers."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, allow_inf_nan=False, str_max_length=100_000, ser_json_inf_nan="null"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        start, stop = getattr(self, "start", None), getattr(self, "stop", None)
        if isinstance(start, datetime) and isinstance(stop, datetime) and stop < start:
            raise refused(
                f"stop {stop.isoformat()} is before start {start.isoformat()}: set both, set(start=…, stop=…)"
            )
        return self


def refused(text: str) -> PydanticCustomError:
    """The error of a field, in words that need no translation."""
    return PydanticCustomError("wendelin", "{text}", {"text": text})


class Unit:
    """A `Quantity` in units that convert to `unit`."""

    def __init__(self, unit: str, what: str) -> None:
        self.unit, self.what = unit, what

    def check(self, value: Any) -> Quantity:
        """From a number in `unit`, "2.3 MW", (2.3, "MW"), a pint quantity or a `Quantity`."""
        try:
            found = self._read(value)
            if dimension(found.unit) != dimension(self.unit):
                raise ValueError(f"{found.unit!r} is no unit of {self.what}")
            if not abs(found.value) < float("inf"):
                raise ValueError(f"{found.value} is not finite")
        except (ValueError, TypeError, OverflowError) as error:
            raise refused(f"{error}; give a number of {self.unit}, or one with its unit, as {self.example!r}") from None
        return found

    def _read(self, value: Any) -> Quantity:
        if isinstance(value, str):
            return Quantity.parse(value, self.unit)
        if isinstance(value, bool) or value is None:
            raise ValueError(f"{value!r} is no number")
        if isinstance(value, Quantity):
            return Quantity(float(value.value), checked_unit(value.unit))
        if isinstance(value, dict) and value.keys() == {"value", "unit"}:
            value = (value["value"], value["unit"])
        if isinstance(value, (tuple, list)) and len(value) == 2:
            return Quantity(float(value[0]), checked_unit(str(value[1])))
        if hasattr(value, "magnitude") and hasattr(value, "units"):
            return Quantity(float(value.magnitude), checked_unit(f"{value.units:~}" or self.unit))
        return Quantity(float(value), self.unit)

    @property
    def example(self) -> str:
        """What one may type."""
        return str(Quantity(12.5, self.unit))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check,
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: Any) -> JsonSchemaValue:
        return {
            "type": "string",
            "description": f"{self.what} with its unit",
            "examples": [self.example],
            "x-unit": self.unit,
        }


Power = Annotated[Quantity, Unit("kW", "power")]
Energy = Annotated[Quantity, Unit("kWh", "energy")]
Length = Annotated[Quantity, Unit("m", "length")]
Area = Annotated[Quantity, Unit("m**2", "area")]
Mass = Annotated[Quantity, Unit("kg", "mass")]
Speed = Annotated[Quantity, Unit("m/s", "speed")]
Angle = Annotated[Quantity, Unit("deg", "angle")]
Duration = Annotated[Quantity, Unit("h", "time")]
Rate = Annotated[Quantity, Unit("1/s", "how often")]
Voltage = Annotated[Quantity, Unit("V", "voltage")]
Temperature = Annotated[Quantity, Unit("degC", "temperature")]


class _Money:
    def check(self, value: Any) -> Money:
        try:
            if isinstance(value, str):
                return Money.parse(value)
            if isinstance(value, Money):
                return Money.of(value.amount, value.currency)
            if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
                value = (value["amount"], value["currency"])
            if isinstance(value, (tuple, list)) and len(value) == 2:
                if not isinstance(value[0], (int, str, Decimal)):
                    raise ValueError(f"{value[0]!r} is no exact amount")
                return Money.of(value[0], str(value[1]))
            raise ValueError(f"{value!r} has no currency")
        except ValueError as error:
            raise refused(f"{error}; give an exact amount with its currency, as '1250.00 EUR'") from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: Any) -> JsonSchemaValue:
        return {
            "type": "string",
            "description": "exact amount with the ISO 4217 code of its currency",
            "examples": ["1250.00 EUR"],
            "pattern": r"^[+-]?[0-9]+(\.[0-9]+)? [A-Z]{3}$",
        }


Price = Annotated[Money, _Money()]

_TIME_HINT = "give it with its time zone, as '2024-05-01T12:00:00Z' or datetime(2024, 5, 1, 12, tzinfo=UTC)"


def _time_given(value: Any) -> Any:
    if not isinstance(value, (str, datetime)):
        raise refused(f"{value!r} is no time; {_TIME_HINT}")
    return value


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise refused(f"{value.isoformat()} has no time zone; {_TIME_HINT}")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise refused(f"{value.isoformat()} is no time of the years 1 to 9999 in UTC; {_TIME_HINT}") from None


Time = Annotated[datetime, BeforeValidator(_time_given), AfterValidator(_in_utc)]


def _unit_name(value: str) -> str:
    try:
        return checked_unit(value)
    except ValueError as error:
        raise refused(f"{error}; give one as 'kW', 'W/m**2', 'degC' or 'm/s'") from None


def _time_zone(name: str) -> str:
    known = _time_zones()
    if name != "UTC" and known and name not in known:  # a machine without the database checks nothing
        raise refused(f"{name!r} is no time zone; give one of the IANA database, as 'Europe/Berlin'")
    return name


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


TimeZone = Annotated[str, AfterValidator(_time_zone), Field(examples=["Europe/Berlin"])]
UnitName = Annotated[str, AfterValidator(_unit_name), Field(examples=["kW", "W/m**2", "degC"])]
Latitude = Annotated[float, Field(ge=-90, le=90, description="degrees north", examples=[48.14])]
Longitude = Annotated[float, Field(ge=-180, le=180, description="degrees east", examples=[11.58])]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", examples=["anna@example.com"])]
Url = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*://\S+$", examples=["https://example.com/data"])]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166 code", examples=["DE"])]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, hexadecimal")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=100)]
Settings = dict[str, JsonValue]
