"""Types of other distributions, with them and without; what a server needs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from zope.interface import Interface, classImplements

from wendelin.storage.errors import MissingPackageError, NoEntityError
from wendelin.storage.ubm import items, registry

_MODULE = """
from wendelin import Entity
from wendelin.storage.ubm.fields import Power
from wendelin.storage.ubm.items import Asset
from wendelin.storage.ubm.relation import Relation

class Boiler(Asset):
    '''A boiler.'''
    type, prefix = "boiler", "BOI"
    class Fields(Asset.Fields):
        heat: Power | None = None
    feeds = Relation("boiler", "plant", many=True)

class Impostor(Asset):
    type, prefix = "plant", "PLA"
"""

_ENTRY_POINTS = """
[wendelin.entities]
boiler = wendelin_test_boilers:Boiler
plant = wendelin_test_boilers:Impostor
kettle = wendelin_test_boilers:Kettle
spoon = wendelin_test_spoons:Spoon
number = os:getpid
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution, as pip leaves it in site-packages: a module and its metadata."""
    site = tmp_path / "site"
    info = site / "wendelin_test_boilers-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "wendelin_test_boilers.py").write_text(_MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wendelin-test-boilers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    registry.forget()
    yield site
    sys.modules.pop("wendelin_test_boilers", None)
    registry.forget()


def test_a_distribution_adds_a_type(distribution: Path, ubm: Any, conn: Any) -> None:
    assert "boiler" in registry.types()
    boiler = ubm.create("boiler", reference="B1", heat="20 kW", latitude=48.0)
    boiler.feeds = [boiler, ubm.create("plant")]
    ubm.create("sensor", asset=boiler)  # for a boiler is an asset
    transaction.commit()
    conn.cacheMinimize()
    assert ubm.search(type="boiler") == [boiler]
    assert str(boiler.heat) == "20 kW"
    assert type(boiler).__module__ == "wendelin_test_boilers"
    assert type(boiler).schema()["properties"]["heat"]
    boiler.feeds = []
    assert registry.types()["plant"].__name__ == "Plant", "ours are not replaced"


def test_a_class_that_has_interfaces_can_be_derived_from(distribution: Path) -> None:
    """Somebody asked zope.interface what the class provides, which leaves a name that subclasses do not have."""
    classImplements(items.Asset, Interface)
    assert "__provides__" in dir(items.Asset)
    registry.forget()
    sys.modules.pop("wendelin_test_boilers", None)
    assert "boiler" in registry.types()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kettle", "the type 'kettle' cannot be loaded: AttributeError"),
        ("spoon", "the type 'spoon' cannot be loaded: ModuleNotFoundError"),
        ("number", "os:getpid is no subclass of wendelin's Entity"),
    ],
)
def test_a_broken_entry_point_takes_nothing_along(distribution: Path, name: str, message: str) -> None:
    assert name not in registry.types()
    assert "boiler" in registry.types()
    with pytest.raises(NoEntityError, match=message):
        registry.type_named(name)


def test_entities_of_a_package_that_is_gone(
    distribution: Path, ubm: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ubm.create("boiler", reference="B1", title="Old boiler")
    ubm.create("plant", reference="P")
    transaction.commit()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(distribution)])
    sys.modules.pop("wendelin_test_boilers")
    importlib.invalidate_caches()
    registry.forget()
    other._v_manager.begin()
    with pytest.raises(MissingPackageError, match=r"'B1' is a wendelin_test_boilers.Boiler: install the package"):
        other["B1"]
    assert [each.reference for each in other] == ["P"]
    assert {row["reference"] for row in other.rows()} == {"B1", "P"}
    assert [each.reference for each in other.search()] == ["P"]


def test_a_server_resolves_conflicts_without_pydantic_and_pint() -> None:
    code = """
import sys
for name in ("pydantic", "pint", "numpy", "IPython"):
    sys.modules[name] = None
import wendelin
for name in ("NameTable", "Trail", "TrailPage"):
    assert getattr(wendelin, name).__module__ == "wendelin"
wendelin.Quantity(1, "kW"), wendelin.Money
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
