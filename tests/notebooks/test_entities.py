"""Plants, sensors, ingestions, analyses and maintenance orders as entities: made along, once, and found again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import wendelin
from tests.notebooks import plants
from wendelin.notebooks.solar import entities, fleet, load, movements, names, operations, orders, store, words
from wendelin.notebooks.solar.analysis import analyse, summary
from wendelin.notebooks.solar.errors import MeasurementsError, UnknownSystemError
from wendelin.notebooks.solar.systems import SYSTEMS, Column
from wendelin.storage.errors import TransitionError

STEPS = ["quality", "performance", "degradation", "soiling", "maintenance"]
WEAK = plants.frame(60, level=0.5)
"""Half of what the plant should give: strings have to be measured."""


def ubm_of(db: Any) -> Any:
    return wendelin.entities(db)


def load_weak(db: Any) -> Any:
    """A plant that needs maintenance; its entities."""
    load.store_system(db, plants.PLANT, WEAK, source="plant.parquet")
    return ubm_of(db)


def states(found: Any) -> list[str]:
    return [each.state for each in found]


def fingerprint(db: Any) -> Any:
    """All entities and when each was changed."""
    db.transaction_manager.begin()
    return sorted((each.uid, each.modified, each.state) for each in ubm_of(db))


def test_a_plant_says_what_it_is(db: Any) -> None:
    plant = load_weak(db)["solar:plant"]
    assert (plant.type, plant.state, plant.title, plant.kind) == ("plant", "validated", "Plant", "solar")
    assert str(plant.peak_power) == "10 kW"
    assert (plant.latitude, plant.tilt.value, plant.temperature_coefficient) == (40.0, 30.0, -0.004)
    assert "rated power: test" in plant.description


def test_sensors_carry_the_measurements(db: Any) -> None:
    ubm = load_weak(db)
    found = entities.sensors(ubm["solar:plant"])
    assert sorted(found) == ["ac_power", "module_temperature", "poa_irradiance"]
    light = found["poa_irradiance"]
    assert (light.state, light.unit, str(light.sampling_rate)) == ("validated", "W/m**2", "1/h")
    assert light.title == "Plane-of-array irradiance of Plant"
    assert light.start == pd.Timestamp("2015-06-01", tz="UTC")
    assert light.array[light.column].max() == pytest.approx(WEAK["poa_irradiance"].max())
    assert light.array is db.root()["solar/plant/measurements"]
    assert ubm["solar:plant:array:daily"].array is db.root()["solar/plant/analysis/daily"]
    assert ubm["solar:plant:array:daily"].units[1] == "kWh"


def test_an_ingestion_says_what_was_loaded(db: Any) -> None:
    ubm = load_weak(db)
    (found,) = ubm.search(type="ingestion")
    assert (found.state, found.rows, found.path.reference) == ("delivered", 60 * 24, "solar:plant:supply")
    assert found.title == "plant.parquet of Plant"
    assert db.root()["solar/plant/source"]["digest"] in found.description
    assert found.start is not None
    assert found.stop >= found.start
    assert [item.column for item in found.items] == ["ac_power", "poa_irradiance", "module_temperature"]
    assert found.resource.type == "data_product"


def test_analyses_follow_from_the_ingestion(db: Any) -> None:
    ubm = load_weak(db)
    (ingestion,) = ubm.search(type="ingestion")
    found = {each.operation.reference: each for each in ubm.search(type="analysis", relation={"causality": ingestion})}
    assert sorted(found) == sorted(f"solar-operation:{step}" for step in STEPS)
    assert {each.state for each in found.values()} == {"delivered"}
    assert "no rate: valid data span 0.2 years" in found["solar-operation:degradation"].result
    assert found["solar-operation:performance"].result.startswith("0.500 over its life")
    assert found["solar-operation:quality"].outputs[0].reference == "solar:plant:array:flags"
    assert found["solar-operation:degradation"].items[0].reference == "solar:plant:array:daily"


def test_licences_are_said_of_the_data_that_come_with_it_and_of_no_others(db: Any) -> None:
    load.load_system(db, SYSTEMS["1422"])
    ubm = load_weak(db)
    licence = ubm["solar:1422:sensor:dc_power"].licence
    assert (licence.spdx, licence.licensor.title) == ("CC-BY-4.0", "NREL")
    assert "PVDAQ (NREL), CC BY 4.0, doi 10.25984/1846021" in licence.text
    assert ubm["solar:1422:set"].doi == "10.25984/1846021"
    assert ubm["solar:1422:supply"].licence is licence
    assert ubm["solar:plant:sensor:ac_power"].licence is None
    assert "solar:plant:set" not in ubm


def test_loading_again_changes_no_entity(db: Any) -> None:
    load.load_system(db, SYSTEMS["1422"])
    before = fingerprint(db)
    assert load.load_system(db, SYSTEMS["1422"]).done == "kept"
    assert fingerprint(db) == before


def test_a_database_from_before_gets_entities(db: Any) -> None:
    """What was loaded earlier, and when is not known, is said so; the figures are not computed again."""
    load.load_system(db, SYSTEMS["1422"])
    root = db.root()
    del root["entities"]
    db.transaction_manager.commit()
    assert store.system_ids(root) == ["1422"]  # readers find it by its path
    assert store.report(root, "1422") is not None
    told = load.load_system(db, SYSTEMS["1422"])
    assert told.done == "described"
    assert "made their entities" in str(told)
    ubm = ubm_of(db)
    (ingestion,) = ubm.search(type="ingestion")
    assert (ingestion.state, ingestion.rows, ingestion.start) == ("delivered", 15207, None)
    assert ingestion.trail[-1].why == movements.AFTERWARDS
    assert len(ubm.search(type="analysis")) == 5
    assert len(orders.of_plant(root, "1422")) == 2
    assert load.load_system(db, SYSTEMS["1422"]).done == "kept"


def test_appending_to_a_database_from_before_works(db: Any) -> None:
    load_weak(db)
    del db.root()["entities"]
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(2, "2015-07-31", level=0.5))
    assert states(movements.ingestions(db.root(), "plant")) == ["delivered", "started"]


def test_appended_rows_go_on_one_ingestion(db: Any) -> None:
    ubm = load_weak(db)
    load.update(db, "plant", plants.frame(2, "2015-07-31", level=0.5))
    load.update(db, "plant", plants.frame(3, "2015-08-02", level=0.5))
    _, later = movements.ingestions(db.root(), "plant")
    assert (later.state, later.rows, later.tag) == ("started", 5 * 24, "solar:plant")
    analyses = ubm.search(type="analysis", relation={"causality": later})
    assert [(each.state, each.rounds) for each in analyses] == [("stopped", 2)] * 5
    load.store_system(db, plants.PLANT, WEAK)  # other rows in their place: what was open ends
    assert states(movements.ingestions(db.root(), "plant")) == ["delivered"] * 3
    assert set(states(ubm.search(type="analysis"))) == {"delivered"}


def test_what_people_changed_stays(db: Any) -> None:
    ubm = load_weak(db)
    acme = ubm.create("organisation", title="Acme")
    ubm["solar:plant"].set(title="The roof", owner=acme)
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(2, "2015-07-31", level=0.5))
    assert (ubm["solar:plant"].title, ubm["solar:plant"].owner) == ("The roof", acme)
    load.store_system(db, replace(plants.PLANT, name="Other"), WEAK)  # described anew
    assert (ubm["solar:plant"].title, ubm["solar:plant"].owner) == ("Other", acme)


def test_another_array_is_carried_then(db: Any) -> None:
    ubm = load_weak(db)
    fewer = plants.plant(columns=plants.PLANT.columns[:2])
    load.store_system(db, fewer, WEAK[["ac_power", "poa_irradiance"]])
    assert ubm["solar:plant:sensor:ac_power"].array.dtype.names == ("time", "ac_power", "poa_irradiance")
    assert store.measurements(db.root(), "plant") is db.root()["solar/plant/measurements"]


def test_arrays_are_found_where_their_entities_have_them(db: Any) -> None:
    """Not by a path: a plant whose arrays moved is shown, analysed and extended."""
    load_weak(db)
    root = db.root()
    before = store.frame_of(root, "plant")
    root["elsewhere/rows"] = root["solar/plant/measurements"]
    del root["solar/plant/measurements"]
    db.transaction_manager.commit()
    assert store.system_ids(root) == ["plant"]
    pd.testing.assert_frame_equal(store.frame_of(root, "plant"), before)
    assert store.report(root, "plant") is not None
    store.append(root, "plant", plants.frame(1, "2015-07-31", level=0.5))
    store.refresh(root, "plant")
    assert len(root["elsewhere/rows"]) == 61 * 24


@pytest.mark.parametrize("name", ["roof-7", "Dach 7", "a:b", "100 %=1", "Ünïcode"])
def test_any_id_can_be_a_reference(db: Any, name: str) -> None:
    store.write(db.root(), plants.plant(id=name), plants.frame(2))
    assert store.system_ids(db.root()) == [name]
    assert list(entities.plants(db.root())) == [name]
    assert names.system_id(names.plant(name)) == name


def test_a_unit_that_nobody_knows_is_no_obstacle(db: Any) -> None:
    columns = (*plants.PLANT.columns, Column("dust", "D", "spoons per table"))
    store.write(db.root(), plants.plant(columns=columns), plants.frame(2).assign(dust=1.0))
    dust = entities.sensors(ubm_of(db)["solar:plant"])["dust"]
    assert (dust.unit, dust.state) == (None, "draft")


def test_figures_can_be_made_by_an_activity(db: Any) -> None:
    """The operations are real: what a transformation would call gives the same result."""
    ubm = load_weak(db)
    analysis = ubm.search(type="analysis", relation={"operation": "solar-operation:performance"})[0]
    store.append(db.root(), "plant", plants.frame(30, "2015-07-31", level=0.9))
    assert not store.is_current(db.root(), "plant")
    result = analysis.operation.callable()(analysis)
    assert result.startswith("0.62")
    assert store.is_current(db.root(), "plant")
    with pytest.raises(UnknownSystemError, match="let its items be the sensors of one"):
        operations.solar_quality(ubm.create("analysis"))


# -- maintenance


def test_a_suggestion_is_planned_with_cost_and_saving(db: Any) -> None:
    ubm = load_weak(db)
    (order,) = ubm.search(type="maintenance_order")
    found = db.root()["solar/plant/analysis/summary"]["suggestions"][0]
    assert (order.title, order.state, order.kind, order.priority) == (found["what"], "planned", "inspection", "normal")
    assert str(order.expected_cost) == "300.00 USD"
    assert float(order.expected_saving.amount) == pytest.approx(found["money"], abs=0.006)
    assert "at first an assumption" in order.description
    assert "an assumed tariff of 0.12 USD/kWh" in order.description
    assert order.causality[0].operation.reference == "solar-operation:maintenance"
    assert "assumption" in order.resource.description
    shown = words.orders(store.report(db.root(), "plant"))  # type: ignore[arg-type]
    assert shown[0][0] == "Planned"
    assert "Expected to cost 300 USD and to save" in shown[0][3]
    figures = {each.label: each.hint for each in fleet.key_figures([store.report(db.root(), "plant")])}  # type: ignore[list-item]
    assert figures["Need somebody now"] == "1 more need planning; 1 order is open"
    assert figures["At stake a year"].endswith("orders cost 300 USD, assumed")


def test_orders_follow_the_figures_until_they_are_confirmed(db: Any) -> None:
    ubm = load_weak(db)
    (order,) = ubm.search(type="maintenance_order")
    before = order.expected_saving
    load.update(db, "plant", plants.frame(5, "2015-07-31", level=0.4))
    assert order.expected_saving.amount > before.amount
    order.do("confirm")
    db.transaction_manager.commit()
    kept = order.expected_saving
    load.update(db, "plant", plants.frame(5, "2015-08-05", level=0.4))
    assert order.expected_saving == kept
    assert len(ubm.search(type="maintenance_order")) == 1


def test_an_order_goes_with_its_suggestion_and_comes_back(db: Any) -> None:
    ubm = load_weak(db)
    load.store_system(db, plants.PLANT, plants.frame(60))
    (order,) = ubm.search(type="maintenance_order")
    assert (order.state, order.trail[-1].why) == ("cancelled", orders.GONE)
    assert orders.of_plant(db.root(), "plant") == ()
    load.store_system(db, plants.PLANT, WEAK)
    assert sorted(states(ubm.search(type="maintenance_order"))) == ["cancelled", "planned"]


def test_what_was_declined_is_not_planned_again(db: Any) -> None:
    ubm = load_weak(db)
    (order,) = ubm.search(type="maintenance_order")
    order.do("cancel", why="too expensive")
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(5, "2015-07-31", level=0.4))
    assert states(ubm.search(type="maintenance_order")) == ["cancelled"]


def test_the_price_of_a_service_is_the_managers(db: Any) -> None:
    ubm = load_weak(db)
    ubm["solar-service:inspection"].base_price = "120.00 USD"
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(2, "2015-07-31", level=0.5))
    (order,) = ubm.search(type="maintenance_order")
    assert str(order.expected_cost) == "120.00 USD"
    ubm["solar-service:inspection"].base_price = "100.00 EUR"  # not to be compared with dollars
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(2, "2015-08-02", level=0.5))
    assert order.expected_cost is None


def repaired(db: Any, days: int) -> Any:
    """The weak plant after its strings were repaired on the last day of July, and so many days later."""
    order = load_weak(db).search(type="maintenance_order")[0]
    order.set(start="2015-07-30T12:00:00Z", stop="2015-07-30T15:00:00Z", actual_cost="280.00 USD")
    for transition in ("confirm", "start", "stop"):
        order.do(transition)
    db.transaction_manager.commit()
    load.update(db, "plant", plants.frame(days, "2015-07-31"))
    return order


def test_what_an_order_saved_is_measured(db: Any) -> None:
    """The synthetic plant gives 0.85 instead of 0.5 of what it should: 0.35 of the expected energy is gained."""
    order = repaired(db, 60)
    saved = orders.settle(db.root(), order)
    daily = store.report(db.root(), "plant").daily  # type: ignore[union-attr]
    gained = 0.35 * daily["expected"]["2015-07-31":].sum()
    assert float(saved.amount) == pytest.approx(0.12 * gained, rel=0.01)
    assert (order.state, order.actual_saving) == ("delivered", saved)
    assert "assumed tariff 0.12 USD/kWh" in order.trail[-1].why
    (shown,) = orders.of_plant(db.root(), "plant")
    assert not shown.is_open
    assert "It cost 280 USD, saved" in words.actual(shown)
    assert "worse than expected" in words.actual(shown)


def test_too_few_days_settle_nothing(db: Any) -> None:
    order = repaired(db, 10)
    with pytest.raises(MeasurementsError, match=r"fewer than 30 days with figures before 2015-07-30 or after"):
        orders.settle(db.root(), order)
    assert order.actual_saving is None


def test_settling_needs_the_actual_cost(db: Any) -> None:
    order = repaired(db, 60)
    order.actual_cost = None
    with pytest.raises(TransitionError, match="actual_cost"):
        orders.settle(db.root(), order)


def test_a_year_after_its_end_work_is_planned_again(db: Any) -> None:
    """Not at once: the figures of the whole life still tell of what was repaired."""
    ubm = load_weak(db)
    (order,) = ubm.search(type="maintenance_order")
    found = analyse(plants.PLANT, WEAK)
    order.set(start="2015-07-01T12:00:00Z", stop="2015-07-01T15:00:00Z", actual_cost="1 USD", actual_saving="1 USD")
    for transition in ("confirm", "start", "stop", "deliver"):
        order.do(transition)
    (plant, analysis), figures = (ubm["solar:plant"], order.causality[0]), summary(found, "")
    orders.plan(plant, analysis, figures)
    assert len(ubm.search(type="maintenance_order")) == 1
    orders.plan(plant, analysis, {**figures, "end": "2016-07-03T00:00:00+00:00"})
    assert sorted(states(ubm.search(type="maintenance_order"))) == ["delivered", "planned"]


def test_energy_gained_counts_days_out_and_no_missing_hours() -> None:
    days = pd.date_range("2020-01-01", periods=100, freq="D", tz="UTC")
    daily = pd.DataFrame({"expected": 10.0, "performance": 0.8, "energy": 8.0, "out": False}, index=days)
    daily.loc[days[:25], ["performance", "energy", "out"]] = [float("nan"), 0.0, True]
    at = pd.Timestamp("2020-02-20", tz="UTC")  # 50 days before, half of them out; 49 after
    assert orders.energy_gained(daily, at, at) == pytest.approx(49 * 10 * (0.8 - 0.4))
    assert orders.energy_gained(daily, days[10], days[10]) is None
