"""How a state is named."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from persistent.timestamp import TimeStamp
from ZODB.utils import p64, u64

from wendelin.storage.errors import MomentError
from wendelin.storage.history.moments import is_name, last_tid, moment, time_of

TID = bytes.fromhex("040d3ebab15ee366")


@pytest.mark.parametrize("at", [TID, u64(TID), TID.hex(), TID.hex().upper(), "0x" + TID.hex(), f" {TID.hex()} "])
def test_a_transaction_has_many_spellings(at: Any) -> None:
    assert moment(at) == TID


def test_a_time_names_its_zone() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    for text in ("2026-01-01T12:00Z", "2026-01-01 12:00:00+00:00", "2026-01-01T14:00+02:00"):
        assert moment(text) == noon
    assert moment("2026-01-01 12:00", UTC) == moment(datetime(2026, 1, 1, 12), UTC) == noon  # noqa: DTZ001
    assert moment(date(2026, 1, 1), UTC) == moment("2026-01-01", UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    local = moment("2026-07-01 12:00", "local")
    assert isinstance(local, datetime)
    assert local.utcoffset() == datetime(2026, 7, 1, 12).astimezone().utcoffset()


@pytest.mark.parametrize("at", ["2026-01-01", "2026-01-01T12:00", datetime(2026, 1, 1), date(2026, 1, 1)])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused_with_two_that_have_one(at: Any) -> None:
    with pytest.raises(MomentError, match=r"no time zone.*'2026-01-01T\d\d:00:00\+00:00' for UTC"):
        moment(at)


@pytest.mark.parametrize("at", ["", "  ", "2026-13-01", "2026-01-01T25:00Z", b"short", 0, -1, True, 1 << 63, 1.5, []])
def test_what_names_nothing_is_refused(at: Any) -> None:
    with pytest.raises(MomentError, match=r"names no state|is no time"):
        moment(at)


def test_the_rest_are_names() -> None:
    for name in ("v1", "before the storm", "2026", "040d", "2026-01-01-final", "März"):
        assert is_name(name), name
        assert moment(name) == name
    for text in ("2026-01-01", "2026-01", "2026-01-01 12:00", TID.hex()):
        assert not is_name(text), text


@given(st.integers(u64(TID), u64(TID) + (1 << 40)))
def test_the_time_of_a_transaction_finds_it(number: int) -> None:
    """However the time is rounded when it is shown; and a microsecond before does not."""
    tid = p64(number)
    assert last_tid(time_of(tid)) >= tid
    assert last_tid(time_of(tid) - timedelta(microseconds=2)) < tid
    assert abs(TimeStamp(last_tid(time_of(tid))).timeTime() - TimeStamp(tid).timeTime()) < 3e-6


def test_times_far_away_are_before_or_behind_all() -> None:
    assert last_tid(datetime(1, 1, 2, tzinfo=UTC)) < TID < last_tid(datetime(9999, 12, 30, tzinfo=UTC))
    assert last_tid(datetime(2026, 11, 25, 6, tzinfo=timezone(timedelta(hours=2)))) < TID
