"""A year of a solar roof and a turbine, told once: each type of entity takes part, or this test says which does not.

All figures are invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import transaction

import wendelin
from tests.storage.activities.conftest import Worker
from wendelin import Money, Quantity, ZBigArray
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.activities.user import acting_as
from wendelin.storage.errors import RelatedError, TransitionError
from wendelin.storage.ubm import simulation
from wendelin.storage.ubm.registry import types

JANUARY, FEBRUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def worker(conn: Any) -> Iterator[Worker]:
    made = Worker(conn.url)
    yield made
    made.connection.transaction_manager.abort()
    made.connection.close()


@wendelin.operation
def daily_energy(analysis: Any, block: int = 24) -> str | None:
    """kWh a day from kW an hour, one day a round."""
    (source,), (sink,) = analysis.items, analysis.outputs
    if sink.array is None:
        sink.array = ZBigArray((0,), "f8")
    if len(source.array) - sink.processed < block:
        return f"{len(sink.array)} days"
    sink.array.append(source.array[sink.processed : sink.processed + block].sum(keepdims=True))
    sink.processed += block
    return wendelin.MORE_TO_DO


def test_from_the_organisation_to_the_outcome_of_maintenance(ubm: Any, worker: Worker) -> None:
    create = ubm.create
    # -- who: nodes
    acme = create("organisation", reference="ACME", title="Acme Solar", kind="owner", country="DE")
    maker = create("organisation", reference="MAKER", title="Modules & Co.", kind="manufacturer")
    service_firm = create("organisation", reference="CLEAN", title="Clean GmbH", kind="supplier")
    anna = create("person", title="Anna", user="anna", email="anna@example.com", organisation=acme)
    project = create("project", title="Roofs", start=JANUARY, budget="90000 EUR", customer=acme, members=[anna])
    role = create("assignment", person=anna, role="operator", project=project, source=acme, destination=anna)
    role.do("validate")

    # -- what: resources
    power = create("data_product", title="AC power, hourly", unit="kW", dtype="float64", sink="array", supplier=acme)
    energy = create("data_product", title="Energy, daily", unit="kWh", dtype="float64")
    bytes_of_log = create("data_product", title="Log of the device", sink="stream")
    summing = create("operation", title="Daily energy", function="daily_energy", parameters={"block": 24})
    summing.do("validate")
    cleaning = create("service", title="Cleaning", kind="cleaning", duration="4 h", base_price="450 EUR")
    inverter = create("component", title="Inverter", manufacturer=maker, lifetime="10 year", base_price="2100 EUR")
    tariff = create("tariff", resource=energy, price="0.0823 EUR", unit="kWh", source=acme, start=JANUARY)
    tariff.do("validate")

    # -- which: items
    site = create("asset", title="Farm", latitude=48.1, longitude=11.6, owner=acme)
    roof = create("plant", reference="ROOF-4", title="Roof 4", kind="solar", peak_power="12.3 kW", tilt="30 deg",
                  parent=site, owner=acme, project=project, manufacturer=maker, components=[inverter])  # fmt: skip
    turbine = create("turbine", title="T1", rated_power="2.3 MW", hub_height="98 m", rotor_diameter="82 m", parent=site)
    van = create("vehicle", title="Service van", kind="car", drive="electric", registration="M-AS 44", owner=acme)
    logger = create("device", title="Logger", protocol="modbus", asset=roof, serial_number="4711")
    create("device_configuration", device=logger, start=JANUARY, settings={"interval": 3600}).do("validate")
    licence = create("licence", title="Open", spdx="CC-BY-4.0", licensor=acme)
    licence.do("validate")
    meter = create("sensor", reference="ROOF-4-AC", quantity="ac_power", unit="kW", sampling_rate="1/h", minimum=0,
                   asset=roof, device=logger, licence=licence, project=project)  # fmt: skip
    meter.do("validate")
    create("sensor", title="Wind", unit="m/s", asset=turbine)
    measured = create("array", title="AC power", unit="kW", sampling_rate="1/h", sensor=meter, resource=power)
    measured.array = ZBigArray((0,), "f8")
    raw = create("stream", title="Bytes of the logger", resource=bytes_of_log, array=ZBigArray((0,), "u1"))
    raw.array.append(np.frombuffer(b"0;1;2", "u1"))
    meter.array = measured.array  # the same array, carried by both

    # -- by which rule: paths
    feed = create(
        "supply",
        title="AC power of roof 4",
        tag="roof4.ac",
        interval="24 h",
        source=acme,
        project=project,
        resource=power,
        device=logger,
        asset=roof,
        items=[measured],
        licence=licence,
        destination=acme,
    )
    with pytest.raises(TransitionError, match="plan needs the state validated or default: do\\('validate'\\) first"):
        feed.plan(JANUARY, FEBRUARY)
    feed.do("validate", why="the logger is there")
    rule = create("transformation", title="Energy", inputs=[power], outputs=[energy], operation=summing)
    rule.do("validate")
    upkeep = create("supply", title="Cleaning twice a year", interval="26 week", source=service_firm, destination=acme,
                    resource=cleaning, asset=roof, expected_cost="450 EUR", expected_saving="600 EUR")  # fmt: skip
    upkeep.do("validate")
    transaction.commit()

    # -- planned movements
    planned = feed.plan(JANUARY, JANUARY + timedelta(days=3))
    assert [each.state for each in planned] == ["planned"] * 3
    assert planned[1].start == JANUARY + timedelta(days=1)
    assert planned[1].resource is power
    assert feed.plan(JANUARY, JANUARY + timedelta(days=4))[0].start == JANUARY + timedelta(days=3), "only the new one"
    transaction.commit()

    # -- data come
    ingestion = simulation.ingestion_for(ubm, "roof4.ac")
    assert simulation.ingestion_for(ubm, "roof4.ac") is ingestion
    assert simulation.ingestion_for(ubm, "unknown") is None
    assert ingestion.state == "started"
    assert ingestion.items == (measured,)
    measured.array.append(np.full(5 * 24 + 3, 2.0))
    ingestion.arrived(5 * 24 + 3)
    transaction.commit()
    assert not list(queue_of(conn_of(ubm)) or ()), "the transformation waits for the delivery"
    ingestion.do("stop")
    ingestion.do("deliver", why="complete")
    ingestion_analyses = ubm.search(type="analysis")
    transaction.commit()

    # -- an activity runs the operation, a round each, exactly once
    (analysis,) = ingestion_analyses
    assert analysis.state == "started"
    assert analysis.causality == (ingestion,)
    with acting_as("root"):
        worker.work()
    transaction.begin()
    assert analysis.state == "delivered"
    assert analysis.rounds == 6
    assert analysis.result == "5 days"
    (sink,) = analysis.outputs
    assert sink.resource is energy
    np.testing.assert_array_equal(sink.array[:], [48.0] * 5)
    worker.work()
    transaction.begin()
    assert len(sink.array) == 5
    assert [entry.to_state for entry in analysis.trail if entry.to_state][-2:] == ["stopped", "delivered"]

    # -- what it is worth, and who gets it
    order = create("data_order", source=acme, destination=anna, resource=energy, items=[sink], purpose="report",
                   licence=licence, quantity=float(sink.array[:].sum()), unit="kWh", causality=[analysis])  # fmt: skip
    order.price = tariff.amount(Quantity(order.quantity, order.unit))
    assert order.price == Money.parse("19.752 EUR") == tariff.amount(Quantity(0.24, "MWh"))
    label = create("data_set", title="Energy of January", items=[sink], licence=licence, version="1")
    label.do("validate")
    for step in ("plan", "confirm", "start", "stop", "deliver"):
        order.do(step, roles=["manager"])

    # -- something is found, handled, repaired, and paid off
    soiling = create("event", title="Soiling", kind="soiling", severity="warning", asset=roof, sensor=meter,
                     start=JANUARY, data={"loss": 0.04}, causality=[analysis])  # fmt: skip
    soiling.do("validate")
    ticket = create("ticket", title="Clean roof 4", asset=roof, assignee=anna, causality=[soiling], priority="high")
    ticket.do("accept")
    (maintenance, _second) = upkeep.plan(JANUARY, JANUARY + timedelta(weeks=52))
    assert maintenance.type == "maintenance_order"
    assert maintenance.expected == Money.parse("150 EUR")
    maintenance.set(causality=[soiling], components=[inverter], items=[van], project=project)
    maintenance.do("confirm", why="worth it", roles=["manager"])
    maintenance.do("start", roles=["operator"])
    maintenance.do("stop", roles=["operator"])
    with pytest.raises(TransitionError, match="deliver needs actual_cost and actual_saving"):
        maintenance.do("deliver")
    assert maintenance.describe()["outcome"] is None
    maintenance.set(actual_cost="480 EUR", actual_saving="700 EUR")
    maintenance.do("deliver", roles=["operator"])
    assert maintenance.actual == Money.parse("220 EUR")
    assert maintenance.outcome == Money.parse("70 EUR")
    assert maintenance.describe()["outcome"] == "70 EUR"
    ticket.set(resolution="cleaned")
    ticket.do("resolve")
    ticket.do("close")
    report = create("document", title="Report of the cleaning", kind="report", about=[maintenance, roof], language="en")
    report.attach("photo.jpg", b"\xff\xd8")
    report.do("validate")
    transaction.commit()

    # -- all of it is found, and nothing that others point to can go
    assert ubm.search(relation={"asset": roof}, type="sensor") == [meter]
    assert {each.type for each in ubm.search(relation={"causality": analysis})} == {"event", "data_order"}
    assert ubm.search(text="cleaning", type="document") == [report]
    with pytest.raises(RelatedError):
        ubm.delete(roof)
    assert {each.type for each in ubm} == {*types()}, "each type takes part"


def conn_of(ubm: Any) -> Any:
    return ubm._p_jar


@pytest.mark.parametrize("tag", ["roof4.ac", "dach süd", "--", "a*", "x_y"])
def test_data_find_the_supply_of_their_tag_or_the_default_one(ubm: Any, tag: str) -> None:
    product = ubm.create("data_product")
    for name in (f"{tag}.more", tag, "other"):
        ubm.create("supply", reference=f"S{len(ubm)}", tag=name, resource=product, description="x " * 30_000).do(
            "validate"
        )
    ubm.create("supply", reference="OLD", tag=tag, resource=product, stop=JANUARY).do("validate")
    assert simulation.ingestion_for(ubm, "unknown") is None
    ubm.create("supply", reference="ELSE", resource=product).do("make_default")
    ingestion = simulation.ingestion_for(ubm, tag)
    assert ingestion.path.tag == ingestion.tag == tag
    assert ingestion.path.reference != "OLD"
    assert simulation.ingestion_for(ubm, tag) is ingestion
    unknown = simulation.ingestion_for(ubm, "unknown")
    assert unknown.path.reference == "ELSE"
    assert unknown.tag == "unknown"


def test_an_analysis_follows_an_ingestion_that_goes_on(ubm: Any, worker: Worker) -> None:
    """With the trigger `started` it looks at what came so far, and is delivered when the ingestion has ended."""
    power, energy = ubm.create("data_product", sink="array"), ubm.create("data_product", sink="array")
    summing = ubm.create("operation", function="daily_energy")
    summing.do("validate")
    rule = ubm.create("transformation", inputs=[power], outputs=[energy], operation=summing, trigger="started")
    rule.do("validate")
    feed = ubm.create("supply", resource=power)
    feed.do("make_default", why="takes what nobody else does")
    transaction.commit()
    ingestion = simulation.ingestion_for(ubm, "whatever")
    assert ingestion.path is feed
    (source,) = ingestion.items
    assert source.resource is power
    source.array = ZBigArray((0,), "f8")
    transaction.commit()
    (analysis,) = ubm.search(type="analysis")
    for day in range(1, 4):
        source.array.append(np.full(24, float(day)))
        ingestion.arrived(24)
        ingestion.arrived(0)  # asked for twice, and done once
        transaction.commit()
        worker.work()
        transaction.begin()
        assert analysis.state == "started"
        np.testing.assert_array_equal(analysis.outputs[0].array[:], np.arange(1, day + 1) * 24.0)
    ingestion.do("stop")
    ingestion.do("deliver")
    transaction.commit()
    worker.work()
    transaction.begin()
    assert analysis.state == "delivered"
    assert len(ubm.search(type="analysis")) == 1


def test_a_cancelled_analysis_does_nothing_and_a_failed_one_says_so(ubm: Any, worker: Worker, conn: Any) -> None:
    @wendelin.operation
    def fails(analysis: Any) -> None:
        analysis.note("half done")
        raise ValueError("no sun")

    product = ubm.create("data_product")
    done = ubm.create("operation", function="fails")
    done.do("validate")
    rule = ubm.create("transformation", inputs=[product], operation=done)
    rule.do("validate")
    transaction.commit()
    movements = []
    for _ in range(2):
        ingestion = ubm.create("ingestion", resource=product)
        for step in ("confirm", "start", "stop", "deliver"):
            ingestion.do(step)
        movements.append(ingestion)
    cancelled = ubm.search(type="analysis", relation={"causality": movements[0]})[0]
    failing = ubm.search(type="analysis", relation={"causality": movements[1]})[0]
    cancelled.do("cancel")
    transaction.commit()
    for _ in range(8):
        worker.now += 1e10
        worker.work()
        transaction.begin()
    assert [entry.kind for entry in cancelled.trail][-1] == "transition"
    assert cancelled.rounds == 0
    assert failing.state == "started"
    notes = [entry.why for entry in failing.trail if entry.kind == "note"]
    assert len(notes) == 1, "what the failed rounds wrote was taken back"
    assert "failed, wendelin activity retry" in notes[0]
    assert "ValueError: no sun" in notes[0]


def test_an_operation_is_kept_with_its_code(ubm: Any, conn: Any) -> None:
    operation = ubm.create("operation", function="not_there")
    with pytest.raises(TransitionError, match=r"no function of that name is registered; write @wendelin.operation"):
        operation.do("validate")
    transaction.abort()

    @wendelin.operation
    def from_a_notebook(analysis: Any) -> str:
        return "version 1"

    operation = ubm.create("operation", function="from_a_notebook")
    operation.do("validate")
    transaction.commit()
    assert operation.callable()(None) == "version 1"

    def another(analysis: Any) -> str:
        return "version 2"

    another.__name__ = "from_a_notebook"
    wendelin.operation(another)
    conn.cacheMinimize()
    assert operation.callable()(None) == "version 1", "what was validated stays"
    operation.keep()
    assert operation.callable()(None) == "version 2"


def test_paths_plan_within_their_time_and_never_too_much(ubm: Any) -> None:
    product = ubm.create("data_product")
    supply = ubm.create("supply", resource=product, interval="1 d", start=JANUARY, stop=JANUARY + timedelta(days=10))
    supply.do("validate")
    middle = JANUARY + timedelta(days=5, hours=6)
    planned = supply.plan(middle, FEBRUARY)
    assert [each.start for each in planned] == [JANUARY + timedelta(days=day) for day in range(6, 10)]
    planned[0].do("cancel")
    again = supply.plan(middle, FEBRUARY)
    assert [each.start for each in again] == [planned[0].start], "a cancelled one may be planned again"
    supply.interval = "1 us"
    with pytest.raises(TransitionError, match="more than 10000 movements"):
        supply.plan(JANUARY, FEBRUARY)
    supply.interval = None
    assert [each.stop for each in supply.plan(JANUARY, FEBRUARY)] == [JANUARY + timedelta(days=10)]


def test_costs_and_times_fit_together(ubm: Any) -> None:
    order = ubm.create("maintenance_order", expected_cost="100 EUR")
    with pytest.raises(ValueError, match="EUR and USD: give costs and savings in one currency"):
        order.expected_saving = "100 USD"
    order.start = FEBRUARY
    with pytest.raises(ValueError, match="is before start"):
        order.stop = JANUARY
    tariff = ubm.create("tariff", price="0.1 EUR", unit="kWh")
    with pytest.raises(ValueError, match=r"amount\(3 m\).*give a quantity in kWh"):
        tariff.amount(Quantity(3, "m"))
