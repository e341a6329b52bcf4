"""Entities as a user meets them: fields, relations, states, trail, arrays, how they show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import jsonschema
import numpy as np
import pytest
import transaction

import wendelin
from wendelin import Money, Quantity, ZBigArray
from wendelin.storage.activities.user import acting_as
from wendelin.storage.errors import FieldError, NoEntityError, NotAllowedError, RelatedError, TransitionError
from wendelin.storage.ubm.registry import types


@pytest.fixture
def plant(ubm: Any) -> Any:
    acme = ubm.create("organisation", reference="ACME", title="Acme Solar")
    return ubm.create("plant", reference="PLANT-4", title="Roof 4", owner=acme, peak_power="12.3 kW")


# -- fields


def test_a_field_is_read_as_it_was_stored(ubm, plant, conn):
    plant.commissioned = datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    plant.keywords = ["roof", "south"]
    transaction.commit()
    conn.cacheMinimize()
    assert plant.peak_power == Quantity(12.3, "kW")
    assert float(plant.peak_power.to("W")) == 12300
    assert plant.commissioned == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert plant.commissioned.tzinfo is UTC
    assert plant.keywords == ("roof", "south")
    assert plant.modules is None
    assert plant.time_zone == "UTC"


@pytest.mark.parametrize(
    ("kind", "field", "value", "stored"),
    [
        ("plant", "peak_power", "2.3MW", Quantity(2.3, "MW")),
        ("plant", "peak_power", 5, Quantity(5.0, "kW")),
        ("plant", "peak_power", ("7", "W"), Quantity(7.0, "W")),
        ("plant", "peak_power", {"value": 7, "unit": "W"}, Quantity(7.0, "W")),
        ("plant", "peak_power", Quantity(7, "W"), Quantity(7.0, "W")),
        ("sensor", "sampling_rate", "1/min", Quantity(1.0, "1/min")),
        ("sensor", "operating_temperature", "-40 degC", Quantity(-40.0, "degC")),
        ("sensor", "unit", "W/m**2", "W/m**2"),
        ("maintenance_order", "expected_cost", "1250.10 EUR", Money(Decimal("1250.10"), "EUR")),
        ("maintenance_order", "expected_cost", (12, "JPY"), Money(Decimal(12), "JPY")),
        ("event", "data", {"soiling": [0.1, None]}, {"soiling": [0.1, None]}),
        ("licence", "commercial_use", True, True),
    ],
)
def test_what_fields_take(ubm, kind, field, value, stored):
    entity = ubm.create(kind, **{field: value})
    assert getattr(entity, field) == stored
    again = ubm.create(kind, **{field: entity.to_json()[field]})
    assert getattr(again, field) == stored, "what to_json gives, create takes"


def test_a_quantity_of_pint_is_taken(ubm):
    from wendelin.storage.ubm.quantity import registry

    plant = ubm.create("plant", peak_power=registry().Quantity(3, "megawatt"))
    assert plant.peak_power == Quantity(3.0, "MW")


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("plant", "peak_power", "12 m", r"plant: peak_power = '12 m': 'm' is no unit of power; .* as '12.5 kW'"),
        ("plant", "peak_power", "much", r"does not begin with a number; give a number of kW"),
        ("plant", "peak_power", "1e999 kW", "not finite"),
        ("plant", "peak_power", True, "no number"),
        ("plant", "latitude", 91, r"latitude = 91: .*less than or equal to 90; give it as 48.14"),
        ("plant", "modules", -1, "greater than or equal to 0"),
        ("plant", "kind", "sun", "'solar'"),
        ("plant", "title", 5, "valid string; give a text"),
        ("plant", "commissioned", "2024-05-01T12:00", "no time zone; give it with its time zone, as '2024-05-01T12:00"),
        ("plant", "commissioned", 1714564800, "is no time"),
        ("plant", "peakpower", 5, r"plant: peakpower: plant has no such field; did you mean peak_power\?"),
        ("plant", "xyz", 5, "it has title, description"),
        ("plant", "temperature_coefficient", float("nan"), "finite"),
        ("sensor", "unit", "kQ", "no unit that pint knows.*give one as 'kW'"),
        ("sensor", "unit", "__import__('os')", "no unit"),
        ("project", "budget", "12 EURO", "no currency of ISO 4217; .* as '1250.00 EUR'"),
        ("project", "budget", (1.1, "EUR"), "no exact amount"),
        ("project", "budget", "NaN EUR", "no amount of money"),
        ("person", "email", "nobody", "give it as 'anna@example.com'"),
        ("event", "data", {"when": {1, 2}}, "data"),
        ("sensor", "array", 3, r"sensor: array = int: give a persistent array, wendelin.ZBigArray\(shape, dtype\)"),
        ("plant", "owner", "NOBODY", "no entity is named 'NOBODY'"),
        ("plant", "owner", 7, "int will not do; give organisation or person"),
        ("plant", "uid", "x", "uid cannot be set: it is made once"),
    ],
)
def test_what_does_not_fit_is_refused_at_once_and_leaves_nothing(ubm, kind, field, value, message):
    with pytest.raises(FieldError, match=message):
        ubm.create(kind, **{field: value})
    assert len(ubm) == 0
    entity = ubm.create(kind)
    before = entity.to_json()
    with pytest.raises(FieldError):
        entity.set(description="changed", **{field: value})
    if field != "xyz":
        with pytest.raises(FieldError, match=f"{kind} {entity.reference}: {field}"):
            setattr(entity, field, value)
    assert entity.to_json() == before


def test_values_within_a_field_cannot_be_changed_unnoticed(ubm):
    event = ubm.create("event", data={"a": 1}, keywords=["x"])
    with pytest.raises(TypeError):
        event.data["a"] = 2
    with pytest.raises(AttributeError):
        event.keywords.append("y")


def test_what_was_stored_under_other_rules_is_still_read(plant):
    plant._values = {**plant._values, "latitude": 200.0, "colour": "red"}
    plant._v_fields = None
    assert plant.latitude == 200.0
    assert plant.title == "Roof 4"
    plant.title = "new"
    assert (plant.title, plant.latitude, plant.unknown) == ("new", 200.0, {"colour": "red"})
    with pytest.raises(FieldError, match="latitude"):
        plant.latitude = 300.0


# -- references and finding


def test_references_are_given_or_made_unique_and_never_change(ubm, plant):
    made = [ubm.create("sensor").reference for _ in range(50)]
    assert len({*made}) == 50
    assert all(name.startswith("SEN-") and not set("ILOU") & set(name[4:]) for name in made)
    assert ubm["PLANT-4"] is ubm[plant.uid] is ubm.get(plant.uid) is plant
    assert "PLANT-4" in ubm
    assert "PLANT-5" not in ubm
    assert ubm.get("PLANT-5") is None
    with pytest.raises(FieldError, match=r"'PLANT-4'.*Roof 4.*has it; give another one, or none"):
        ubm.create("plant", reference="PLANT-4")
    with pytest.raises(FieldError, match="never changes"):
        plant.reference = "PLANT-5"
    for wrong in ("", "a b", "a/b", "x" * 101, "a?b", plant.uid):
        with pytest.raises(FieldError, match="reference"):
            ubm.create("plant", reference=wrong)
    with pytest.raises(NoEntityError, match=r"^no entity is named 'PLANT-5'; look for it with search") as caught:
        ubm["PLANT-5"]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(NoEntityError, match=r"'plnt'; did you mean 'plant'\?"):
        ubm.create("plnt")


def test_a_search_sees_what_its_own_transaction_changed(ubm, plant):
    assert ubm.search(type="plant") == [plant]
    assert ubm.search(text="roof") == [plant]
    plant.title = "Barn"
    assert ubm.search(text="roof") == []
    assert ubm.search(text="barn") == [plant]
    savepoint = transaction.savepoint()
    plant.title = "Shed"
    assert ubm.search(text="shed") == [plant]
    savepoint.rollback()
    assert ubm.search(text="shed") == []
    assert ubm.search(text="barn") == [plant]
    transaction.commit()
    assert ubm.search(text="barn") == [plant]
    ubm.delete(plant)
    assert ubm.search(type="plant") == []
    transaction.abort()
    assert ubm.search(type="plant") == [plant]


def test_what_can_be_found_by_its_words(ubm):
    event = ubm.create("event", reference="E-1", title="Dirt", keywords=["dust", "rain"], data={"cause": ["Sahara", 5]})
    event.set(start="2026-01-01T00:00:00Z", data={**event.data, "by": {"chance": "wind"}})
    words = event.catalogue_row()["words"].split()
    assert {"E-1", "event", "Dirt", "dust", "rain", "cause", "Sahara", "by", "chance", "wind"} == {*words}
    assert "12.3" in ubm.create("plant", peak_power="12.3 kW").catalogue_row()["words"]
    assert len(ubm.create("document", text="word " * 100_000).catalogue_row()["words"]) == 20_000


def test_a_deletion_that_is_rolled_back_loses_no_change(ubm, plant):
    transaction.commit()
    plant.title = "Barn"
    savepoint = transaction.savepoint()
    ubm.delete(plant)
    savepoint.rollback()
    transaction.commit()
    assert ubm.search(text="barn") == [plant]


def test_a_rollback_takes_back_what_a_search_has_told_the_catalogue(ubm, plant):
    transaction.commit()
    plant.title = "Barn"
    savepoint = transaction.savepoint()
    assert ubm.search(text="barn") == [plant]
    savepoint.rollback()
    assert ubm.search(text="barn") == [plant]
    transaction.abort()
    savepoint = transaction.savepoint()
    plant.title = "Shed"
    savepoint.rollback()
    plant.title = "Hut"
    transaction.commit()
    assert ubm.search(text="hut") == [plant]


def test_an_aborted_creation_leaves_nothing(ubm):
    ubm.create("plant", reference="P")
    transaction.abort()
    assert "P" not in ubm
    assert ubm.search() == []


def test_the_catalogue_is_made_anew(ubm, plant):
    transaction.commit()
    for row in list(ubm.catalogue.rows()):
        ubm.catalogue.unindex(row["uid"])
    assert ubm.search(type="plant") == []
    with pytest.raises(RelatedError, match="ACME has 1 pointers, the catalogue knows 0: rebuild it"):
        ubm.delete("ACME")
    assert ubm.reindex() == 2
    assert ubm.search(type="plant") == [plant]


# -- relations


def test_relations_hold_entities_references_and_uids(ubm, plant):
    acme = ubm["ACME"]
    assert plant.owner is acme
    assert acme.pointers == 1
    for value in (acme, "ACME", acme.uid, [acme]):
        plant.owner = value
        assert plant.owner is acme
        assert acme.pointers == 1
    plant.owner = None
    assert plant.owner is None
    assert acme.pointers == 0
    sensors = [ubm.create("sensor", asset=plant) for _ in range(3)]
    supply = ubm.create("supply", items=sensors)
    supply.items += (ubm.create("array"),)
    assert [each.type for each in supply.items] == ["sensor"] * 3 + ["array"]
    supply.items = supply.items[1:]
    assert [each.pointers for each in sensors] == [0, 1, 1]
    assert {*ubm.search(relation={"asset": plant})} == {*sensors}


def test_relations_check_types_by_name_supertype_and_role(ubm, plant):
    turbine, event = ubm.create("turbine"), ubm.create("event")
    sensor = ubm.create("sensor", asset=turbine)  # a turbine is an asset
    ubm.create("data_set", items=[sensor, plant])  # both are items
    with pytest.raises(FieldError, match=r"sensor .*: asset = <event .*>: event will not do; give asset"):
        sensor.asset = event
    with pytest.raises(FieldError, match="give one asset, not 2"):
        sensor.asset = [turbine, plant]
    stranger = wendelin.storage.ubm.entities.Entities().create("asset")
    with pytest.raises(FieldError, match="another database"):
        sensor.asset = stranger
    ubm.delete(event)
    with pytest.raises(FieldError, match="deleted"):
        ubm.create("document", about=[event])
    with pytest.raises(FieldError, match="was deleted: create another one"):
        event.title = "x"


def test_a_deletion_is_refused_clears_or_cascades_by_rule(ubm, plant):
    device = ubm.create("device", asset=plant)
    sensor = ubm.create("sensor", device=device, asset=plant)
    configuration = ubm.create("device_configuration", device=device)
    note = ubm.create("document", about=[configuration, plant])
    with pytest.raises(RelatedError, match=r"plant PLANT-4 cannot be deleted: .*\(asset\).* point to it; let them"):
        ubm.delete(plant)
    assert not plant.is_deleted
    assert set(ubm.delete(device)) == {device, configuration}  # cascades, clears the sensor's and the document's
    assert sensor.device is None
    assert note.about == (plant,)
    assert device.is_deleted
    assert device.reference not in ubm
    transaction.commit()
    assert ubm.search(type="device") == []
    assert plant.pointers == 2  # of the sensor and the document
    ubm.delete(sensor)
    ubm.delete("PLANT-4")
    assert note.about == ()
    assert ubm["ACME"].pointers == 0


def test_what_points_in_a_circle_or_to_itself_can_go(ubm):
    a = ubm.create("document")
    b = ubm.create("document", about=[a])
    a.about = [a, b]
    ubm.delete(a)
    assert b.about == ()
    company = ubm.create("organisation")
    company.owner = company
    ubm.delete(company)
    assert len(ubm) == 1


# -- states and trail


def test_transitions_follow_the_workflow_and_leave_a_trail(ubm, plant):
    with acting_as("anna"):
        plant.do("validate", why="commissioned")
    assert plant.state == "validated"
    entry = plant.trail[-1]
    assert (entry.who, entry.why, entry.from_state, entry.to_state) == ("anna", "commissioned", "draft", "validated")
    assert entry.when.tzinfo is UTC
    assert str(entry).endswith("anna: draft → validated (commissioned)")
    with pytest.raises(TransitionError, match="PLANT-4: validated: 'start' is not possible; from here: 'archive'"):
        plant.do("start")
    with pytest.raises(NotAllowedError, match="archive needs one of the roles admin, manager; you have analyst"):
        plant.do("archive", roles=["analyst"])
    with pytest.raises(FieldError, match="take a transition"):
        plant.state = "archived"
    plant.do("archive", roles=["analyst", "manager"])
    assert plant.transitions()[0].name == "validate"


def test_a_transition_may_need_fields(ubm, plant):
    order = ubm.create("maintenance_order", asset=plant)
    with pytest.raises(TransitionError, match="needs expected_cost and expected_saving: set expected_cost first"):
        order.do("confirm")
    sensor = ubm.create("sensor")
    with pytest.raises(TransitionError, match="validate needs unit"):
        sensor.do("validate")


@pytest.mark.parametrize("name", types())
def test_each_state_of_a_workflow_can_be_reached_and_left_as_it_says(name):
    workflow = types()[name].workflow
    reached = {workflow.initial}
    for _ in workflow.states:
        reached |= {each.target for each in workflow.transitions if reached & {*each.sources}}
    assert reached == {*workflow.states}
    assert all({*each.sources} <= {*workflow.states} and each.roles for each in workflow.transitions)


def test_notes_and_files(ubm, plant, conn):
    plant.note("inverter replaced")
    plant.attach("manual.pdf", b"%PDF", why="from the supplier")
    plant.attach("big.bin", bytes(range(256)) * 1000)
    transaction.commit()
    conn.cacheMinimize()
    assert plant.files["manual.pdf"].data == b"%PDF"
    assert plant.files["manual.pdf"].media_type == "application/pdf"
    assert plant.files["big.bin"].data == bytes(range(256)) * 1000
    plant.attach("manual.pdf", b"%PDF 2")
    assert plant.files["manual.pdf"].data == b"%PDF 2"
    plant.detach("big.bin", why="wrong one")
    assert list(plant.files) == ["manual.pdf"]
    assert [entry.kind for entry in plant.trail] == ["created", "note", "file", "file", "file", "file"]
    with pytest.raises(FieldError, match="write something"):
        plant.note(" ")
    with pytest.raises(KeyError):
        plant.detach("none")


def test_the_trail_tells_who_changed_what_once_for_a_transaction(ubm, plant, conn):
    transaction.commit()
    assert [entry.kind for entry in plant.trail] == ["created"], "what is new has no changes"
    roof = ubm.create("organisation", reference="ROOF")
    with acting_as("mara"):
        plant.set(title="x" * 400, peak_power="13 kW")
        plant.title = "Roof four"
        plant.owner = roof
        plant.keywords = ("south",)
        plant.keywords = ()
        assert ubm.search(text="four").total == 1  # what the catalogue hears before the commit is not told twice
        transaction.commit()
    conn.cacheMinimize()
    changes = {entry.name: (entry.before, entry.after) for entry in plant.trail[1:]}
    assert changes == {
        "title": ("Roof 4", "Roof four"),
        "peak_power": ("12.3 kW", "13 kW"),
        "owner": ("ACME", "ROOF"),
        "keywords": ("", "[]"),
    }
    assert {entry.who for entry in plant.trail[1:]} == {"mara"}
    assert "title: Roof 4 → Roof four" in {str(entry)[17:].partition(": ")[2] for entry in plant.trail[1:]}
    plant.description = "y" * 1000
    savepoint = transaction.savepoint()
    plant.title = "Roof five"
    savepoint.rollback()
    transaction.commit()
    assert [(entry.name, len(entry.after)) for entry in plant.trail[5:]] == [("description", 200)]
    plant.title = "Roof five"
    transaction.abort()
    transaction.begin()
    plant.note("nothing")
    transaction.commit()
    assert [entry.kind for entry in plant.trail[6:]] == ["note"]
    sensor = ubm.create("sensor", reference="S")
    transaction.commit()
    sensor.array = ZBigArray((3,), "f8")
    transaction.commit()
    assert (sensor.trail[-1].name, sensor.trail[-1].after) == ("array", "float64 (3,)")


def test_a_long_trail_stays_whole_and_in_order(plant):
    for number in range(100):
        plant.note(f"note {number}")
        if number % 7 == 0:
            transaction.commit()
    assert [entry.why for entry in plant.trail][1:] == [f"note {number}" for number in range(100)]
    assert len(plant._trail.entries) <= 40
    for count in (1, 5, 32, 70, 101, 200):
        assert plant.last_entries(count) == plant.trail[-count:]
    assert len(plant.describe()["trail"]) == 50


# -- arrays


def test_an_entity_carries_an_array_without_loading_it(ubm, plant, conn):
    array = ZBigArray((1000,), "f4")
    array[:] = np.arange(1000)
    sensor = ubm.create("sensor", asset=plant, unit="W", sampling_rate="1/min", array=array)
    transaction.commit()
    conn.cacheMinimize()
    assert sensor.unit == "W"
    assert sensor.to_json()["sampling_rate"] == "1/min"
    ubm.search(type="sensor")
    assert sensor.array._p_changed is None, "a ghost: not loaded"
    assert sensor.describe()["arrays"] == {"array": {"shape": [1000], "dtype": "float32", "order": "C", "nbytes": 4000}}
    assert sensor.array[3] == 3
    sensor.array = None
    assert sensor.describe()["arrays"] == {}


# -- as data


@pytest.mark.parametrize("name", types())
def test_each_type_has_a_schema_that_its_own_data_fit(ubm, name):
    cls = types()[name]
    schema = cls.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    entity = ubm.create(name, title="x")
    meta = {"uid", "type", "reference", "state", "created", "modified", "creator"}
    data = {key: value for key, value in entity.to_json().items() if key not in meta}
    jsonschema.validate(data, schema)
    entity.set(**data)
    assert set(schema["properties"]) == set(data)
    assert cls.prefix
    assert cls.roles
    assert cls.__module__ == "wendelin"
    assert getattr(wendelin, cls.__name__) is cls
    assert cls.__doc__


def test_prefixes_are_unique():
    prefixes = [cls.prefix for cls in types().values()]
    assert len(prefixes) == len({*prefixes})


def test_quantities_and_money_convert_and_add():
    assert Quantity(0.1, "kW").to("W") == Quantity(100.0, "W")
    assert str(Quantity(5.0, "1/min")) == "5/min"
    assert str(Quantity(25, "degC").to("K")) == "298.15 K"
    with pytest.raises(ValueError, match="does not convert"):
        Quantity(1, "kW").to("m")
    assert str(Money.parse("1.10 EUR") + Money.parse("2.20 EUR") - Money.parse("0.30 EUR")) == "3.00 EUR"
    assert Money.parse("1.10 EUR") * 3 == Money.parse("3.30 EUR")
    with pytest.raises(ValueError, match="not the same currency"):
        Money.parse("1 EUR") + Money.parse("1 USD")


# -- how it shows


def test_how_entities_show(ubm, plant):
    assert repr(plant) == "<plant PLANT-4 'Roof 4' draft>"
    assert repr(ubm).startswith("<Entities: create")
    assert {"peak_power", "owner", "do", "title"} <= {*dir(plant)}
    assert "array" in dir(ubm.create("sensor"))
    plant.title = "<script>"
    page = plant._repr_html_()
    assert "<script>" not in page
    assert "12.3 kW" in page
    assert "ACME Acme Solar" in page
    assert {*ubm._ipython_key_completions_()} == {"ACME", "PLANT-4"}
    listed = ubm.search(type="plant", limit=1)._repr_html_()
    assert "1 of 1 entities" in listed
    assert "&lt;script&gt;" in listed
    assert "3 entities" in ubm._repr_html_()
    described = plant.describe()
    assert described["relations"]["owner"][0]["reference"] == "ACME"
    assert [each["name"] for each in described["transitions"]] == ["validate", "archive"]
    assert described["trail"][0]["kind"] == "created"


def test_a_reader_makes_no_entities(conn):
    reader = wendelin.connect(conn.url, read_only=True, transaction_manager=transaction.TransactionManager())
    with pytest.raises(NoEntityError, match="open for reading only"):
        wendelin.entities(reader)
    reader.close()


def test_the_root_s_name_may_be_taken(conn):
    conn.root()["entities"] = 5
    with pytest.raises(FieldError, match="give it another name"):
        wendelin.entities(conn)


# ---- what has gone, and what was stored under other rules ------------------------------------------------------------


def test_whoever_holds_a_deleted_entity_is_told(ubm):
    plant = ubm.create("plant", reference="PLANT-9")
    ubm.delete(plant)
    with pytest.raises(NoEntityError, match="plant PLANT-9 was deleted already"):
        ubm.delete(plant)
    for write in (lambda: plant.note("x"), lambda: plant.attach("a.txt", b""), lambda: plant.detach("a.txt")):
        with pytest.raises(FieldError, match="was deleted"):
            write()


def test_what_was_deleted_takes_no_transition(ubm, plant):
    ubm.delete(plant)
    with pytest.raises(TransitionError, match="plant PLANT-4 was deleted, so 'validate' is not possible"):
        plant.do("validate")


def test_a_field_that_its_type_has_no_more_is_kept_and_blocks_nothing(ubm):
    sensor = ubm.create("sensor", title="DC power", unit="W")
    sensor._values = {**sensor._values, "colour": "red"}  # as an earlier version would have stored it
    sensor.__dict__.pop("_v_fields", None)
    sensor.title = "AC power"
    assert (sensor.title, str(sensor.unit), sensor.unknown) == ("AC power", "W", {"colour": "red"})
    assert sensor.describe()["other"] == {"colour": "red"}
    with pytest.raises(FieldError, match="no such field"):
        sensor.set(colour="blue")


def test_a_stored_value_that_breaks_a_new_rule_stays_until_it_is_set(ubm):
    sensor = ubm.create("sensor", title="DC power", unit="W")
    sensor._values = {**sensor._values, "unit": "furlongs of old"}
    sensor.__dict__.pop("_v_fields", None)
    sensor.title = "AC power"
    assert (sensor.title, sensor.unit) == ("AC power", "furlongs of old")
    with pytest.raises(FieldError, match="unit"):
        sensor.unit = "parsecs of old"
    sensor.unit = "kW"
    assert str(sensor.unit) == "kW"


# ---- what looks right and is not -------------------------------------------------------------------------------------


def test_references_that_look_the_same_are_the_same(ubm):
    plant = ubm.create("plant", reference="Zu\u0308rich-1")
    assert plant.reference == "Z\xfcrich-1"
    assert ubm["Zu\u0308rich-1"] is ubm["Z\xfcrich-1"] is plant
    with pytest.raises(FieldError, match="has it"):
        ubm.create("plant", reference="Zu\u0308rich-1")
    for wrong in (".", "..", "-", "_._"):
        with pytest.raises(FieldError, match="give letters and digits"):
            ubm.create("plant", reference=wrong)
    assert ubm.get(5) is None
    with pytest.raises(NoEntityError, match="no entity is named 5"):
        ubm[5]


def test_a_time_zone_is_one_of_the_iana_database(ubm):
    assert ubm.create("plant", time_zone="Europe/Berlin").time_zone == "Europe/Berlin"
    for wrong in ("Europe/Nowhere", "", "../../etc/passwd"):
        with pytest.raises(FieldError, match=r"time_zone = .* is no time zone; give one of the IANA database"):
            ubm.create("plant", time_zone=wrong)


def test_nothing_is_a_part_of_itself(ubm):
    top, middle, bottom = (ubm.create("asset", reference=name) for name in ("TOP", "MIDDLE", "BOTTOM"))
    middle.parent, bottom.parent = top, middle
    for ring in (top, middle, bottom):
        with pytest.raises(FieldError, match=f"asset TOP: parent = {ring.reference}: then it would be its own parent"):
            top.parent = ring
    assert top.parent is None
