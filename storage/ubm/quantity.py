"""`Quantity` and `Money`: values with a unit or a currency, as they are stored. pint is loaded when it is needed."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*\Z", re.DOTALL)
_UNIT = re.compile(r"[\w°µΩ%·*/^().\-+ ²³⁻¹]{0,60}\Z")

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF
GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD
LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""

#: The active codes of ISO 4217.
CURRENCIES = frozenset(_CODES.split())


@functools.cache
def registry() -> Any:
    """pint's units."""
    import pint

    return pint.UnitRegistry()


def checked_unit(text: str) -> str:
    """`text`, when pint knows it as a unit; ValueError otherwise."""
    _unit(text)
    return text.strip()


@functools.lru_cache(1000)
def _unit(text: str) -> Any:
    if not _UNIT.match(text):
        raise ValueError(f"{text!r} is no unit")
    try:
        return registry().parse_units(text.strip())
    except Exception as error:  # noqa: BLE001  # pint raises what its tokenizer and its sums raise
        raise ValueError(f"{text!r} is no unit that pint knows: {error}") from None


def dimension(unit: str) -> str:
    """The dimension of a unit, as "[length] / [time]"."""
    return str(_unit(unit).dimensionality)


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, as given: `Quantity(2.3, "MW")`. `to` converts; `str` is what `parse` reads."""

    value: float
    unit: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", float(self.value))

    @classmethod
    def parse(cls, text: str, unit: str) -> Quantity:
        """From "2.3 MW", or "2.3" in `unit`. ValueError when it is neither."""
        found = _NUMBER.match(text)
        if not found:
            raise ValueError(f"{text!r} does not begin with a number")
        number, given = float(found[1]), found[2]
        return cls(number, checked_unit(f"1{given}" if given.startswith("/") else given) if given else unit)

    def to(self, unit: str) -> Quantity:
        """The same in another unit. ValueError when that measures something else."""
        if unit == self.unit:
            return self
        import pint

        try:
            value = registry().Quantity(self.value, _unit(self.unit)).to(_unit(unit)).magnitude
        except pint.DimensionalityError:
            raise ValueError(f"{self} does not convert to {unit!r}") from None
        return Quantity(float(f"{value:.15g}"), unit)  # 0.1 kW is 100 W, not 100.00000000000001 W

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        number = str(int(self.value)) if self.value.is_integer() and abs(self.value) < 1e15 else repr(self.value)
        return f"{number}{self.unit[1:]}" if self.unit.startswith("1/") else f"{number} {self.unit}".strip()


@dataclass(frozen=True)
class Money:
    """An exact amount in a currency: `Money(Decimal("12.50"), "EUR")`. Adds to the same currency only."""

    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str) -> Money:
        """From "12.50 EUR". ValueError when it is not that."""
        parts = text.split()
        if len(parts) != 2:
            raise ValueError(f"{text!r} is not an amount and a currency")
        return cls.of(parts[0], parts[1])

    @classmethod
    def of(cls, amount: Decimal | int | str, currency: str) -> Money:
        """From its parts, checked. ValueError when they are wrong."""
        try:
            exact = Decimal(amount)
        except InvalidOperation:
            raise ValueError(f"{amount!r} is no amount") from None
        if not exact.is_finite() or len(exact.as_tuple().digits) > 28 or abs(exact.adjusted()) > 28:
            raise ValueError(f"{amount!r} is no amount of money")
        if currency not in CURRENCIES:
            raise ValueError(f"{currency!r} is no currency of ISO 4217")
        return cls(exact, currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other).amount, self.currency)

    def __mul__(self, factor: Decimal | int) -> Money:
        return Money(self.amount * factor, self.currency)

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} are not the same currency: convert one of them first")
        return other

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"


for _class in (Quantity, Money):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
