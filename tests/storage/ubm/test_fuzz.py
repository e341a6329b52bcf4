"""Whatever JSON is given: it is taken, and then comes out as JSON again, or refused in words; nothing else happens."""

from __future__ import annotations

import functools
import json
from typing import Any

import hypothesis.strategies as st
import jsonschema
import pytest
from hypothesis import given, settings

from wendelin.storage.errors import FieldError, UsageError
from wendelin.storage.ubm.entities import Entities
from wendelin.storage.ubm.registry import types

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(), max_size=5),  # with surrogates, as JSON may have them
    st.from_regex(
        r"[+-]?[0-9]{1,4}(\.[0-9]{1,3})?(e[0-9]{1,9})? (kW|m|%|EUR|degC|1/s|m\*\*9{1,9}|\(\(m)", fullmatch=True
    ),
    st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-05-01T12:00:00Z", "solar", "X-1"]),
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@functools.cache
def _validator(kind: str) -> Any:
    return jsonschema.Draft202012Validator(types()[kind].schema())


@settings(max_examples=200)
@given(st.sampled_from(sorted(types())), _values, st.text(max_size=8))
def test_any_json_is_taken_or_refused(kind: str, value: Any, strange: str) -> None:
    """Each field and relation of a type, and some other name, is given the value."""
    ubm = Entities()
    ubm.create("asset", "X-1")
    for name in {*_validator(kind).schema["properties"], strange} - {"type", "reference"}:
        try:
            entity = ubm.create(kind, **{name: value})
        except UsageError:
            continue
        data = json.loads(json.dumps(entity.to_json()))
        meta = ("uid", "type", "reference", "state", "created", "modified", "creator")
        _validator(kind).validate({key: data[key] for key in data if key not in meta})
        entity.describe()
        entity._repr_html_()
        again = ubm.create(kind, **{name: data[name]})
        assert again.to_json()[name] == data[name]


@given(st.text(st.characters(), max_size=8))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    ubm = Entities()
    assert ubm.get(text) is None
    try:
        made = ubm.create("plant", text)
    except FieldError:
        assert len(ubm) == 0
    else:
        assert ubm[text] is made
        assert text.encode()


@pytest.mark.parametrize("text", ["\ud800", "", " \n", "x" * 100_001])
def test_what_is_no_text_for_people_is_refused(text: str) -> None:
    plant = Entities().create("plant")
    with pytest.raises(FieldError):
        plant.note(text)
    if text.strip():
        with pytest.raises(FieldError):
            plant.do("validate", text)
    for name in (text, "a/b"):
        with pytest.raises(FieldError):
            plant.attach(name, b"")
    assert [entry.kind for entry in plant.trail] == ["created"]
