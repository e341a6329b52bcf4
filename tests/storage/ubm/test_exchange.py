"""Import and export: what comes out goes in again, and each wrong line is told."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wendelin.storage.errors import ExchangeError
from wendelin.storage.ubm import exchange
from wendelin.storage.ubm.entities import Entities
from wendelin.storage.ubm.exchange import as_row, load, read_csv, read_json, write_csv, write_json


def _fill(ubm: Any) -> None:
    acme = ubm.create("organisation", reference="ACME", title='Acme; "Solar"\nand more')
    roof = ubm.create("plant", reference="ROOF", owner=acme, peak_power="12.3 kW", keywords=["a", "b"], latitude=48.5)
    roof.do("validate")
    sensors = [ubm.create("sensor", reference=f"S{n}", asset=roof, unit="W", sampling_rate="1/min") for n in range(2)]
    feed = ubm.create("supply", reference="FEED", items=sensors, start="2026-01-01T00:00:00Z", interval="1 h")
    ubm.create("device_configuration", reference="CFG", settings={"x": [1, "zwei", None], "y": True})
    ubm.create("maintenance_order", reference="M", asset=roof, path=feed, expected_cost="10.50 EUR")
    ubm.create("turbine", reference="T", offshore=True, blades=2)
    ubm.create("array", reference="A", columns=["x;y", "z"])


@pytest.mark.parametrize("form", ["json", "csv"])
def test_what_is_exported_can_be_imported(ubm: Any, form: str) -> None:
    _fill(ubm)
    write, read = {"json": (write_json, read_json), "csv": (write_csv, read_csv)}[form]
    rows = sorted((as_row(each) for each in ubm), key=lambda row: str(row["reference"]))
    text = "".join(write(sorted(ubm, key=lambda each: str(each.reference), reverse=True)))
    other = Entities()
    done = load(other, read(text))
    assert len(done.created) == len(rows)
    assert sorted((as_row(each) for each in other), key=lambda row: str(row["reference"])) == rows
    assert other["ROOF"].state == "validated"
    assert [entry.why for entry in other["ROOF"].trail] == ["", "imported"]
    assert [each.reference for each in other["FEED"].items] == ["S0", "S1"]
    again = load(other, read(text), update=True)
    assert (len(again.created), len(again.changed)) == (0, len(rows))
    assert sorted((as_row(each) for each in other), key=lambda row: str(row["reference"])) == rows
    with pytest.raises(ExchangeError, match=f"{len(rows)} lines cannot be imported"):
        load(other, read(text))


def test_nothing_is_exported_well(ubm: Any) -> None:
    assert read_json("".join(write_json([]))) == []
    assert read_csv("".join(write_csv([]))) == []


def test_wrong_lines_are_told_by_number_and_all_at_once(ubm: Any) -> None:
    text = """type,reference,title,peak_power,owner
plant,P1,fine,3 kW,
plant,P2,bad,3 m,
plant,P3,bad,,NOBODY
plnt,P4,bad,,
plant,P 5,bad,,
plant,P1,twice,,
,P7,,,
"""
    with pytest.raises(ExchangeError) as caught:
        load(ubm, read_csv(text))
    told = str(caught.value).splitlines()
    assert told[0] == "6 lines cannot be imported:"
    expected = [
        "line 3: plant: peak_power = '3 m'",
        "line 4: plant P3: owner = 'NOBODY': no entity",
        "line 5: no type of entities is named 'plnt'; did you mean 'plant'?",
        "line 6: reference = 'P 5'",
        "line 7: reference = 'P1': <plant P1 'fine' draft> has it; leave it out, or import with update",
        "line 8: type = None: say what it is",
    ]
    assert len(told) == 7
    for line, begin in zip(told[1:], expected, strict=True):
        assert line.startswith(begin)
    transaction.abort()
    done = load(ubm, read_csv(text), partial=True)
    assert [each.reference for each in done.created] == ["P1"]
    assert sorted(line for line, _ in done.errors) == [3, 4, 5, 6, 7, 8]
    assert [each.reference for each in ubm] == ["P1"]


def test_an_update_changes_only_what_the_file_says(ubm: Any) -> None:
    _fill(ubm)
    done = load(ubm, read_csv("reference,title\nROOF,New\nS0,First\n"), update=True)
    assert [each.reference for each in done.changed] == ["ROOF", "S0"]
    assert ubm["ROOF"].title == "New"
    assert ubm["ROOF"].owner.reference == "ACME"
    with pytest.raises(ExchangeError, match="is a plant, which stays one"):
        load(ubm, [(1, {"type": "turbine", "reference": "ROOF"})], update=True)
    with pytest.raises(ExchangeError, match="state = 'new': a plant is draft, validated, archived"):
        load(ubm, [(1, {"type": "plant", "state": "new"})])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"type": "plant"},\n\n {"type": }]', "line 3: no JSON"),
        ('[{"type": "plant"}\n {"type": "plant"}]', "line 2: a comma or ] is missing"),
        ('[{"type": "plant"},\n 5]', "line 2: 5 is no entity"),
        ('[{"type": "plant"}', "a comma or ] is missing"),
        ("[", "line 1: no JSON"),
        ('{"type": "plant"}\n{"type"}', "line 2: no JSON"),
        ('{"type": "plant"}\n[]', r"line 2: \[\] is no entity"),
    ],
)
def test_json_that_is_none_is_told_by_line(text: str, message: str) -> None:
    with pytest.raises(ExchangeError, match=message):
        read_json(text)


def test_lines_of_json_are_counted_right() -> None:
    assert [line for line, _ in read_json('\n[\n{"a":\n1},\n{"b": 2}\n,{"c": 3}]\n')] == [3, 5, 6]
    assert [line for line, _ in read_json('{"a": 1}\n\n{"b": 2}\n')] == [1, 3]


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n'])
def test_csv_that_is_none_is_told_by_line(text: str) -> None:
    with pytest.raises(ExchangeError, match="line 2"):
        read_csv(text)


_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {"title": _text, "keywords": st.lists(_text.filter(lambda text: text.strip() == text != ""), max_size=3)},
            optional={
                "latitude": st.floats(-90, 90),
                "modules": st.integers(0, 10**9),
                "peak_power": st.floats(0, 1e9).map(lambda value: f"{value!r} kW"),
            },
        ),
        max_size=4,
    )
)
def test_any_values_survive_both_ways(many: list[dict[str, Any]]) -> None:
    ubm = Entities()
    for number, values in enumerate(many):
        ubm.create("plant", reference=f"P{number}", **values)
    rows = sorted(map(json.dumps, map(as_row, ubm)))
    for write, read in ((write_json, read_json), (write_csv, read_csv)):
        other = Entities()
        exchange.load(other, read("".join(write(ubm))))
        assert sorted(map(json.dumps, map(as_row, other))) == rows


def test_numbers_as_references_and_deep_nesting_are_told_by_line(ubm: Any) -> None:
    with pytest.raises(ExchangeError, match="line 1: reference = 5: give letters"):
        exchange.load(ubm, exchange.read_json('[{"type": "plant", "reference": 5}]'))
    for text in ("[" * 100_000, '{"type": ' + "[" * 100_000):
        with pytest.raises(ExchangeError, match="line 1: no JSON: maximum recursion"):
            exchange.read_json(text)


@given(st.text(alphabet="'=+-@\t\n＝＋ 1aAx;[\"", max_size=12))
def test_no_cell_is_a_formula_and_each_comes_back(text: str) -> None:
    store = Entities()
    made = store.create("plant", reference="P", description=text)
    lines = "".join(write_csv([made]))
    (row,) = csv.DictReader(io.StringIO(lines, newline=""))
    cell = row.get("description", "")
    assert not cell or cell[0] not in "=+-@\t\r\n＝＋" or re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?( [a-z]+)?", cell)
    ((_, values),) = read_csv(lines)
    assert values.get("description", "") == made.description


def test_spreadsheets_may_put_a_mark_before_and_a_column_may_not_come_twice() -> None:
    assert read_csv("\ufefftype,title\nplant,Roof\n") == [(2, {"type": "plant", "title": "Roof"})]
    assert read_json('\ufeff[{"type": "plant"}]') == [(1, {"type": "plant"})]
    with pytest.raises(ExchangeError, match="line 1: the column 'title' is there twice"):
        read_csv("type,title,title\nplant,a,b\n")
