"""The dashboard without a browser: what it shows, and that commits of other processes change it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transaction
from bokeh.models import ColumnDataSource

import wendelin
from tests.notebooks import plants
from wendelin.notebooks.solar import fleet, load, plots, store, words
from wendelin.notebooks.solar.dashboard import Dashboard
from wendelin.widgets.status import StatusTile

ELSEWHERE = """
import wendelin
from tests.notebooks import plants
from wendelin.notebooks.solar import load, store
import transaction
db = wendelin.connect(transaction_manager=transaction.TransactionManager())
{change}
db.transaction_manager.commit()
db.close()
"""


async def elsewhere(change: str) -> None:
    """Run `change` in a process of its own, with the connection `db`."""
    await program("-c", ELSEWHERE.format(change=change))


async def program(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=Path(__file__).parents[2])
    assert await process.wait() == 0


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Let the event loop run until it happened, as a kernel does between cells."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        await asyncio.sleep(0.05)


def live(scenario: Callable[[Dashboard], Coroutine[Any, Any, None]]) -> None:
    """Play `scenario` with a dashboard on the default database, in an event loop."""

    async def play() -> None:
        board = Dashboard()
        try:
            await scenario(board)
        finally:
            board.close()

    asyncio.run(play())


@pytest.fixture
def filled(wendelin_home: Path) -> None:
    """The default database with one plant of forty days."""
    db = wendelin.connect(transaction_manager=transaction.TransactionManager())
    load.store_system(db, plants.PLANT, plants.frame(40))
    db.close()


@pytest.mark.usefixtures("wendelin_home")
def test_an_empty_database_says_what_to_run() -> None:
    async def scenario(board: Dashboard) -> None:
        assert "No solar data" in board._message.value
        assert "python -m wendelin.notebooks.solar.load" in board._message.value
        assert repr(board) == "<Dashboard of 0 systems, no data>"

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_system_is_shown_with_all_its_parts() -> None:
    async def scenario(board: Dashboard) -> None:
        assert "Data until 10 July 2015" in board._header.value
        assert "Plant | 10.0 | 0.1 | 0.85 | no rate yet | good | Nothing to do" in repr(board._table)
        assert board._table.chosen == "plant"
        assert isinstance(board._tile, StatusTile)
        shown = "".join(getattr(child, "value", "") for child in board._detail.children)
        assert "cannot be told yet: valid data span" in shown
        assert "Nothing to do" in shown
        assert repr(board) == "<Dashboard of 1 systems, data until 10 July 2015>"

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_maintenance_orders_appear_and_follow_what_is_done() -> None:
    """Planned by an update elsewhere, confirmed there by hand: the page shows both, with cost and saving."""

    async def scenario(board: Dashboard) -> None:
        def shown() -> str:
            return "".join(getattr(child, "value", "") for child in board._detail.children)

        assert "Maintenance orders" not in shown()
        await elsewhere("load.store_system(db, plants.PLANT, plants.frame(60, level=0.5))")
        await until(lambda: "Expected to cost 300 USD and to save" in shown())
        assert "assumptions until yours are set" in shown()
        await elsewhere('wendelin.entities(db).search(type="maintenance_order")[0].do("confirm")')
        await until(lambda: ">Confirmed<" in shown())

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_database_from_before_entities_is_shown() -> None:
    """A reader makes none: it finds plants and arrays by their paths."""

    async def scenario(board: Dashboard) -> None:
        await elsewhere('del db.root()["entities"]')
        await elsewhere('store.write(db.root(), plants.PLANT, plants.frame(41)); del db.root()["entities"]')
        await until(lambda: "Data until 11 July 2015" in board._header.value)
        assert board.reports["plant"].orders == ()

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_the_database_cannot_be_written_from_it() -> None:
    async def scenario(board: Dashboard) -> None:
        assert board._connection.read_only

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_an_update_elsewhere_appears() -> None:
    async def scenario(board: Dashboard) -> None:
        before = board.reports["plant"].summary
        await elsewhere('load.update(db, "plant", plants.frame(3, "2015-07-11", level=0.4))')
        await until(lambda: "Data until 13 July 2015" in board._header.value)
        after = board.reports["plant"].summary
        assert after["performance"] < before["performance"]
        assert not board.reports["plant"].stale

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_raw_rows_committed_elsewhere_are_analysed_here() -> None:
    """Somebody appends measurements and knows nothing of figures: a reader may not write, so it computes for itself."""

    async def scenario(board: Dashboard) -> None:
        await elsewhere('store.append(db.root(), "plant", plants.frame(3, "2015-07-11", level=0.4))')
        await until(lambda: "Data until 13 July 2015" in board._header.value)
        assert board.reports["plant"].stale
        assert board.reports["plant"].summary["performance"] < plants.LEVEL - 0.02
        await until(lambda: board._message.value == "")

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_correction_of_stored_values_appears() -> None:
    async def scenario(board: Dashboard) -> None:
        await elsewhere('db.root()["solar/plant/measurements"]["ac_power"][:] *= 0.9')
        await until(lambda: board.reports["plant"].summary["performance"] < 0.77)

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_new_system_appears_and_the_choice_stays() -> None:
    async def scenario(board: Dashboard) -> None:
        await elsewhere('load.store_system(db, plants.plant(id="2", name="Second"), plants.frame(5))')
        await until(lambda: len(board.reports) == 2)
        assert board._table.chosen == "plant"
        board._table.chosen = "2"
        assert board._shown is not None
        assert board._shown.system.name == "Second"

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_system_that_is_deleted_disappears() -> None:
    async def scenario(board: Dashboard) -> None:
        await elsewhere('del db.root()["solar/plant"]')
        await until(lambda: not board.reports)
        assert "No solar data" in board._message.value

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_measurements_that_cannot_be_analysed_are_named_not_hidden() -> None:
    async def scenario(board: Dashboard) -> None:
        await elsewhere('db.root()["solar/plant/measurements"]["time"][5] = 0')
        await until(lambda: "goes back in time" in repr(board._table.rows))
        assert board.reports == {}
        await elsewhere("load.store_system(db, plants.PLANT, plants.frame(5))")
        await until(lambda: "plant" in board.reports)

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_a_stopped_server_is_said_and_the_figures_stay() -> None:
    async def scenario(board: Dashboard) -> None:
        tile = board._tile
        assert tile is not None
        await program("-m", "wendelin.storage.cli", "db", "stop")
        await until(lambda: tile.state == "disconnected")
        assert "Data until 10 July 2015" in board._header.value
        await program("-m", "wendelin.storage.cli", "db", "start")
        await until(lambda: tile.state == "connected")
        await elsewhere('load.update(db, "plant", plants.frame(3, "2015-07-11"))')
        await until(lambda: "Data until 13 July 2015" in board._header.value)

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_without_an_event_loop_it_reads_again_when_asked() -> None:
    """A plain program: nothing happens behind its back."""
    board = Dashboard()
    db = wendelin.connect(transaction_manager=transaction.TransactionManager())
    load.store_system(db, plants.PLANT, plants.frame(43))
    store.append(db.root(), "plant", plants.frame(1, "2015-07-14"))
    db.transaction_manager.commit()
    db.close()
    assert board.reports["plant"].summary["rows"] == 40 * 24
    board.refresh()
    assert board.reports["plant"].summary["rows"] == 44 * 24
    board.close()


def test_a_database_that_cannot_be_opened_is_said(wendelin_home: Path) -> None:
    board = Dashboard("nonsense://somewhere")
    assert "cannot be opened" in board._message.value
    assert "nonsense" in board._message.value
    assert board._fleet.children[0].description == "Try again"
    board.close()


@pytest.mark.usefixtures("filled")
def test_closing_leaves_no_thread() -> None:
    before = set(threading.enumerate())  # of other tests of this process

    async def scenario(board: Dashboard) -> None:
        assert any(thread.name == "wendelin observer" for thread in threading.enumerate())
        board.close()
        new = set(threading.enumerate()) - before
        left = [thread.name for thread in new if thread.name.startswith("wendelin")]
        assert left == []

    live(scenario)


@pytest.mark.usefixtures("filled")
def test_choosing_often_leaves_no_widgets() -> None:
    """Each choice makes new plots; the old ones are closed, or a page that is open for weeks would eat its kernel."""

    async def scenario(board: Dashboard) -> None:
        from ipywidgets.widgets.widget import _instances

        await elsewhere('load.store_system(db, plants.plant(id="2"), plants.frame(5))')
        await until(lambda: len(board.reports) == 2)
        board._table.chosen = "2"
        board._table.chosen = "plant"
        before = len(_instances)
        for _ in range(5):
            board._table.chosen = "2"
            board._table.chosen = "plant"
        assert len(_instances) == before

    live(scenario)


def report_of(frame: pd.DataFrame) -> Any:
    from wendelin.notebooks.solar import readings

    return store.compute(plants.PLANT, readings.to_records(frame, plants.PLANT))


def test_plots_are_made_of_whatever_there_is() -> None:
    """A year, a day, and nothing but missing values."""
    for frame in (plants.frame(365), plants.frame(1), plants.frame(3) * float("nan")):
        found = report_of(frame)
        assert plots.life(found) is not None
        assert plots.yearly(found) is not None
        assert plots.timeline(found) is not None
        assert plots.slopes(found) is None
        assert fleet.row(found).cells["degradation"].text == "no rate yet"


def test_plots_of_an_ageing_plant_show_its_trend() -> None:
    found = report_of(plants.frame(3 * 365, rate=-1.0, noise=0.01))
    assert plots.slopes(found) is not None
    names = {name for source in plots.life(found).select({"type": ColumnDataSource}) for name in source.data}
    assert {"trend", "lower", "upper"} <= names
    assert "loses" in words.ageing_verdict(found)


def test_words_have_units_and_real_minus_signs() -> None:
    assert words.signed(-0.491) == "−0.49"
    assert words.energy(1570.9) == "1,571 kWh"
    assert words.energy(252_401) == "252.4 MWh"
    assert words.energy(None) == "unknown"
    assert words.percent(0.884) == "88 %"
    assert words.money(None, "USD") == ""


def test_money_is_never_shown_without_its_assumption() -> None:
    worth = words.worth({"energy": 1000.0, "money": 120.0}, {"tariff": 0.12, "currency": "USD"})
    assert worth == "Worth about 1,000 kWh or 120 USD a year (assumed tariff 0.12 USD/kWh)"
    figure = fleet.at_stake([report_of(plants.frame(60, level=0.6))])
    assert "assumed tariff" in figure.hint
