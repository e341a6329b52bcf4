"""What is said about the five systems, and that each figure says where it comes from."""

from __future__ import annotations

import hashlib
import pickle

import pytest

from wendelin.notebooks.solar.load import DATA
from wendelin.notebooks.solar.systems import SYSTEMS, Fact, System

FACTS = [(system, name, value) for system in SYSTEMS.values() for name, value in vars(system).items()
         if isinstance(value, Fact)]  # fmt: skip
DIGESTS = {
    "pvdaq_system1300_stpetersburg_hourly.parquet": "5e648ab3",
    "pvdaq_system4_golden_hourly.parquet": "a79e2fe0",
    "sys_1278_downsampled_with_VI.parquet": "f1c69bb5",
    "sys_1403_part1_downsampled_with_VI.parquet": "e197bb4c",
    "sys_1422_downsampled.parquet": "fd69e4d1",
}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_system_survives_the_way_through_plain_values(system: System) -> None:
    """No class of the application is pickled, so its modules may move."""
    plain = system.to_dict()
    assert b"wendelin" not in pickle.dumps({key: value for key, value in plain.items() if key != "note"})
    assert System.from_dict(plain) == system


@pytest.mark.parametrize(("system", "name", "fact"), FACTS, ids=[f"{s.id}-{n}" for s, n, _ in FACTS])
def test_each_figure_names_its_source(system: System, name: str, fact: Fact) -> None:
    assert len(fact.source) > 10
    if not fact.known:
        assert any(word in fact.source for word in ("blank", "unknown"))


def test_what_nobody_published_is_none() -> None:
    assert SYSTEMS["1300"].rated_power.value is None
    assert SYSTEMS["1278"].tilt.value is None


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_power_and_irradiance_are_among_the_columns(system: System) -> None:
    assert system.units[system.power] == "W"
    assert system.units[system.irradiance] == "W/m²"


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_the_files_are_those_of_their_source(system: System) -> None:
    assert hashlib.sha256((DATA / system.file).read_bytes()).hexdigest().startswith(DIGESTS[system.file])


def test_licence_and_source_lie_beside_the_data() -> None:
    licence, source = (DATA / "LICENSE.txt").read_text(), (DATA / "SOURCE.txt").read_text()
    assert "CC BY 4.0" in licence
    assert "BSD 2-Clause" in licence
    assert "10.25984/1846021" in licence
    assert all(system.file in source for system in SYSTEMS.values())
