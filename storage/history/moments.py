"""Moments: how a caller names a state of a database. A transaction's number, a time, or the name of a tag."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Literal

from persistent.timestamp import TimeStamp
from ZODB.utils import p64, u64

from wendelin.storage.errors import MomentError

#: Which zone times without one are in: None refuses them.
Zone = tzinfo | Literal["local"] | None

#: A transaction's number, a time with its zone, or the name of a tag.
Moment = bytes | datetime | str

_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{16})")
_TIME = re.compile(r"\d{4}-\d\d(-\d\d)?([T ].*)?")


def moment(at: Any, zone: Zone = None) -> Moment:
    """What `at` names.

    A transaction as 8 bytes, an int, 16 hex digits or anything with a `tid`; a time as a datetime or ISO text; any
    other text is the name of a tag. Times need a zone, unless `zone` says which is meant. Raises `MomentError`.

    >>> moment("03f0aabbccddeeff").hex()
    '03f0aabbccddeeff'
    >>> moment("2026-01-01T12:00+01:00").isoformat()
    '2026-01-01T12:00:00+01:00'
    >>> moment("before the storm")
    'before the storm'
    """
    at = getattr(at, "tid", at)
    if isinstance(at, bytes) and len(at) == 8:
        return at
    if isinstance(at, int) and not isinstance(at, bool) and 0 < at < 1 << 63:
        return bytes(p64(at))
    if isinstance(at, datetime):
        return _zoned(at, zone)
    if isinstance(at, str) and at.strip():
        return _of_text(at.strip(), zone)
    if isinstance(at, date):
        return _zoned(datetime(at.year, at.month, at.day), zone)  # noqa: DTZ001  it is refused or gets one
    raise MomentError(
        f"at={at!r} names no state: give a time (datetime with a zone, or text as '2026-01-01T12:00+00:00'), a "
        "transaction (8 bytes, an int or 16 hex digits, as wendelin.history(conn) shows them), or the name of a tag"
    )


def is_name(text: str) -> bool:
    """Whether `moment` takes this text for the name of a tag, not for a time or a transaction."""
    return not (_HEX.fullmatch(text) or _TIME.fullmatch(text))


def _of_text(text: str, zone: Zone) -> Moment:
    digits = _HEX.fullmatch(text)
    if digits:
        return bytes.fromhex(digits[1])
    if not _TIME.fullmatch(text):
        return text
    try:
        return _zoned(datetime.fromisoformat(text), zone)
    except ValueError as error:
        if isinstance(error, MomentError):
            raise
        raise MomentError(f"{text!r} is no time ({error}): write it as 2026-01-01T12:00+00:00") from None


def _zoned(time: datetime, zone: Zone) -> datetime:
    if time.tzinfo is not None:
        return time
    if zone is None:
        raise _naive(time)
    return time.astimezone() if zone == "local" else time.replace(tzinfo=zone)


def _naive(time: datetime) -> MomentError:
    return MomentError(
        f"{time.isoformat()} names no time zone, and a wrong guess would show another state: write "
        f"{time.replace(tzinfo=UTC).isoformat()!r} for UTC, or {time.astimezone().isoformat()!r} for local time"
    )


def last_tid(time: datetime) -> bytes:
    """The greatest number that a transaction of that microsecond, or before, can have."""
    after = time.astimezone(UTC) + timedelta(microseconds=1)
    if after.year < 1900:  # before all that ZODB can count
        return bytes(p64(1))
    if after.year > 9000:  # and behind
        return bytes(p64((1 << 63) - 1))
    seconds = after.second + after.microsecond / 1e6
    raw = TimeStamp(after.year, after.month, after.day, after.hour, after.minute, seconds).raw()
    return bytes(p64(u64(raw) - 1))


def time_of(tid: bytes) -> datetime:
    """When a transaction was committed, in UTC."""
    return datetime.fromtimestamp(TimeStamp(tid).timeTime(), UTC)


def told(tid: bytes) -> str:
    """A state in words, for messages."""
    return f"{time_of(tid):%Y-%m-%d %H:%M:%S} UTC (transaction {tid.hex()})"
