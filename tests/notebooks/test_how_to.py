"""The how-to page: its code runs, and what it says of the formulas is what the modules do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks import plants
from wendelin.kernel.ubm import LazyEntities
from wendelin.notebooks.solar import degradation, orders, performance, quality, store
from wendelin.notebooks.solar.flags import BRIGHT
from wendelin.notebooks.solar.maintenance import Assumptions

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "solar.md").read_text()


def test_a_plant_of_ones_own_is_loaded_and_extended(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of the page, one after the other."""
    columns = {"ac_power": "meter_kw", "poa_irradiance": "sensor", "module_temperature": "back_of_module"}
    table = plants.frame(60).rename(columns=columns).tz_localize(None)
    (table * [6e-3, 1.0, 1.0]).to_parquet(tmp_path / "roof7.parquet")
    monkeypatch.chdir(tmp_path)
    own, more, maintain = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"db": db, "later_rows": plants.frame(3, "2015-07-31"), "ubm": LazyEntities(db)}
    exec(own, names)
    power = store.frame_of(db.root(), "roof-7")["ac_power"]
    assert power.max() == pytest.approx(6 * plants.frame(60)["ac_power"].max())
    exec(more, names)
    assert store.end(db.root(), "roof-7").day == 2
    assert store.is_current(db.root(), "roof-7")
    exec(maintain, names)
    done = names["ubm"].search(type="maintenance_order", state="stopped")
    assert [str(order.actual_cost) for order in done] == ["135 USD"] * len(done) != []


@pytest.mark.parametrize(
    "said",
    [
        f"more than {quality.DAYLIGHT_ELEVATION:.0f}° up",
        f"more than {BRIGHT:.0f} W/m²",
        f"{performance.LIGHT[0]:.0f}…{performance.LIGHT[1]:.0f} W/m²",
        f"less than {100 * performance.OUTAGE_SHARE:.0f} % of what was expected",
        f"blocks of {degradation.BLOCK}, {degradation.DRAWS} draws",
        f"{degradation.MIN_DAYS} valid days, and {degradation.MIN_PAIRS} pairs",
        f"assumed tariff** of {Assumptions().tariff} {Assumptions().currency}/kWh",
        f"{orders.ASSUMED_VISIT.replace('.00', '')} for a technician's visit",
    ],
)
def test_the_page_says_what_the_modules_do(said: str) -> None:
    assert said in PAGE
