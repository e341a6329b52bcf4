"""The plant manager's dashboard: the fleet, and one system over its whole life.

- It only reads: a read-only connection with a transaction manager of its own, used in the kernel's event loop alone.
- A commit of any process wakes it (`watch`); then it reads again. Figures that are older than their measurements are
  computed here, in a thread, on a copy of the rows, while the page shows what it had and says so.
- Nothing on the page fetches from outside: BokehJS comes with the notebook, the widgets' modules with the kernel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, Final

import ipywidgets
import transaction
from jupyter_bokeh.widgets import BokehModel

import wendelin
from wendelin.notebooks.solar import fleet, orders, plots, store, words
from wendelin.notebooks.solar.dates import day, month
from wendelin.notebooks.solar.readings import digest
from wendelin.notebooks.solar.report import Report
from wendelin.notebooks.solar.systems import ATTRIBUTION
from wendelin.storage.database import watch
from wendelin.storage.errors import WendelinError
from wendelin.widgets import cards
from wendelin.widgets.loop import here, is_running
from wendelin.widgets.status import StatusTile
from wendelin.widgets.table import ChoiceTable

log = logging.getLogger(__name__)

TITLE: Final = "Solar fleet"
SMALL_PRINT: Final = (
    f"{ATTRIBUTION}; hourly means by PV-Copilot. All dates are UTC.",
    "Performance: energy / energy expected from the rated power, the irradiance and the modules' temperature "
    "(PVWatts v5), on usable daylight hours. Degradation: RdTools' year-on-year median with a block bootstrap.",
)


class Dashboard:
    """The dashboard; `widget` is the page, and a cell that ends with the dashboard shows it.

    `url`: the database, None as in `wendelin.connect`. Call `close()` when done with it outside of Voilà. In a kernel
    it follows every commit; in a plain program, which has no event loop to come back to, call `refresh()` for that.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._live = is_running()
        self._schedule = here()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="wendelin solar")
        self._connection: Any = None
        self._tile: StatusTile | None = None
        self._stop_watching: Callable[[], None] | None = None
        self._waiting = False
        self._closed = False
        self.reports: dict[str, Report] = {}
        self._computed: dict[str, Report] = {}
        self._problems: dict[str, tuple[str, str]] = {}
        self._running: dict[str, str] = {}
        self._shown: Report | None = None
        self._header = cards.block("")
        self._message = cards.block(cards.busy("Reading the database"))
        self._table = ChoiceTable(fleet.COLUMNS)
        self._table.observe(lambda change: self._show_detail(), "chosen")
        self._figures = cards.block("")
        self._detail = ipywidgets.VBox([])
        self._fleet = ipywidgets.VBox([])
        self._corner = ipywidgets.VBox([])
        self.widget = self._page()
        self.open()

    def _page(self) -> ipywidgets.VBox:
        top = ipywidgets.GridBox([self._header, self._corner])
        top.add_class("wendelin-top")
        page = ipywidgets.VBox(
            [
                ipywidgets.HTML(cards.style(), layout=ipywidgets.Layout(display="none")),
                top,
                self._message,
                self._fleet,
                self._detail,
                cards.block(cards.footer(SMALL_PRINT)),
            ]
        )
        page.add_class("wendelin-dashboard")
        return page

    def open(self) -> None:
        """Connect and show; a database that cannot be reached is said on the page, with a button to try again."""
        self._show_header()
        try:
            self._connection = wendelin.connect(
                self._url, read_only=True, transaction_manager=transaction.TransactionManager()
            )
        except (WendelinError, OSError) as error:
            self._show_unreachable(error)
            return
        self._tile = StatusTile(self._connection, limit=3)
        self._corner.children = [self._tile]
        if self._live:
            self._stop_watching = watch(self._connection.db(), self._heard)
        self.refresh()

    def close(self) -> None:
        """Let go of the database and of the threads. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        if self._stop_watching is not None:
            self._stop_watching()
        if self._tile is not None:
            self._tile.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._connection is not None:
            self._connection.transaction_manager.abort()
            self._connection.close()

    def refresh(self) -> None:
        """Read what is committed now and show it."""
        self._waiting = False
        if self._closed:
            return
        try:
            self._read()
        except (WendelinError, OSError) as error:
            kept = "Below is the last that was known." if self.reports else ""
            self._message.value = cards.notice("The database does not answer", f"{error}. {kept}", "bad")
            return
        self._show_header()
        if not self.reports and not self._problems and not self._running:
            self._show_empty()
            return
        self._message.value = self._busy_line()
        self._show_fleet()

    # -- reading

    def _heard(self) -> None:
        """In the storage's thread, after a commit."""
        if not self._waiting:
            self._waiting = True
            self._schedule(self.refresh)

    def _read(self) -> None:
        """Fill `reports` from one snapshot; start computing where the stored figures are stale."""
        self._connection.transaction_manager.abort()
        self._connection.transaction_manager.begin()
        root = self._connection.root()
        known = store.system_ids(root)
        for gone in set(self.reports) - set(known):
            del self.reports[gone]
        for system_id in known:
            stored = store.report(root, system_id)
            if stored is not None:
                self.reports[system_id] = stored
                self._problems.pop(system_id, None)
            else:
                self._compute(root, system_id)
                if system_id in self.reports:
                    planned = orders.of_plant(root, system_id)
                    self.reports[system_id] = replace(self.reports[system_id], orders=planned)

    def _compute(self, root: Any, system_id: str) -> None:
        records = store.measurements(root, system_id)[:].copy()
        now = digest(records)
        done = self._computed.get(system_id)
        if done is not None and done.summary["digest"] == now:
            self.reports[system_id] = done
            return
        if self._running.get(system_id) == now or self._problems.get(system_id, ("", ""))[0] == now:
            return
        self._running[system_id] = now
        future = self._pool.submit(store.compute, store.system_of(root, system_id), records)
        if not self._live:
            wait([future])
            self._keep(system_id, now, future)
            return
        future.add_done_callback(lambda f: self._schedule(lambda: self._arrived(system_id, now, f)))

    def _arrived(self, system_id: str, fingerprint: str, future: Future[Report]) -> None:
        """The figures of rows with this fingerprint are there; newer rows may have come meanwhile."""
        if not self._closed and not future.cancelled():
            self._keep(system_id, fingerprint, future)
            self.refresh()

    def _keep(self, system_id: str, fingerprint: str, future: Future[Report]) -> None:
        if self._running.get(system_id) == fingerprint:
            del self._running[system_id]
        error = future.exception()
        if error is not None:
            log.error("system %s cannot be analysed", system_id, exc_info=error)
            said = str(error) if isinstance(error, WendelinError) else f"the analysis failed ({type(error).__name__})"
            self._problems[system_id] = (fingerprint, said)
            self.reports.pop(system_id, None)
        else:
            self._problems.pop(system_id, None)
            self._computed[system_id] = self.reports[system_id] = future.result()

    # -- showing

    def _show_header(self) -> None:
        until = fleet.data_until(self.reports)
        lines = [f"Data until {day(until)}"] if until is not None else []
        self._header.value = cards.header(TITLE, lines) + self._key_figures()

    def _key_figures(self) -> str:
        return cards.figures(fleet.key_figures(list(self.reports.values()))) if self.reports else ""

    def _busy_line(self) -> str:
        if not self._running:
            return ""
        names = ", ".join(sorted(self._running))
        return cards.busy(f"New measurements of system {names}: computing its figures; below are the earlier ones")

    def _show_empty(self) -> None:
        self._fleet.children = []
        self._set_detail([])
        self._message.value = cards.notice(
            "No solar data in this database yet",
            "Load the five example systems; this page will show them by itself:",
            "watch",
            store.HOW_TO_LOAD,
        )

    def _show_unreachable(self, error: Exception) -> None:
        self._message.value = cards.notice("The database cannot be opened", str(error), "bad")
        again = ipywidgets.Button(description="Try again")

        def clicked(_button: Any) -> None:
            self._fleet.children = []
            self.open()

        again.on_click(clicked)
        self._fleet.children = [again]

    def _show_fleet(self) -> None:
        order = [*self.reports, *(name for name in self._problems if name not in self.reports)]
        rows = [
            fleet.row(self.reports[name]) if name in self.reports else fleet.broken_row(name, self._problems[name][1])
            for name in sorted(order, key=lambda name: (len(name), name))
        ]
        if not self._fleet.children:
            title = cards.section("The fleet", "Choose a system to see its whole life.")
            self._fleet.children = [cards.block(title), self._table]
        self._table.fill(rows)
        if not self._table.chosen and rows:
            self._table.chosen = rows[0].id
        self._show_detail()

    def _show_detail(self) -> None:
        report = self.reports.get(self._table.chosen)
        if report is None:
            self._shown = None
            self._set_detail([])
        elif self._shown is None or not _same(self._shown, report):
            self._shown = report
            self._set_detail(detail(report))

    def _set_detail(self, children: list[Any]) -> None:
        """Replace the detail; what was there is taken off the kernel too, else each click would leave its plots."""
        before = self._detail.children
        self._detail.children = children
        for child in before:
            close_all(child)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.widget)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        until = fleet.data_until(self.reports)
        said = f"data until {day(until)}" if until is not None else "no data"
        return f"<Dashboard of {len(self.reports)} systems, {said}>"


def detail(report: Report) -> list[Any]:
    """The widgets that show one system over its whole life."""
    system, summary = report.system, report.summary
    span = f"{month(report.begin)} to {month(report.end)}"
    title = cards.section(f"{system.name}, {system.place}", f"PVDAQ system {system.id}, {span}. {system.note}")
    age = cards.section("Performance and ageing", words.ageing_verdict(report))
    quality = cards.section(
        "Quality of the measurements",
        f"{words.quality(report)[2]}; {summary['days_out']} days without output in sunshine. "
        "Darker boxes: more hours of that month.",
    )
    advice = cards.section("What to do") + cards.advice(words.suggestions(report))
    if report.orders:
        advice += cards.section("Maintenance orders", words.ORDERS_REST_ON) + cards.advice(words.orders(report))
    grid = ipywidgets.GridBox([Plot(plot) for plot in (plots.yearly(report), plots.slopes(report)) if plot is not None])
    grid.add_class("wendelin-plots")
    return [
        cards.block(title + advice),
        cards.block(age),
        Plot(plots.life(report)),
        grid,
        cards.block(quality),
        Plot(plots.timeline(report)),
    ]


def close_all(widget: Any) -> None:
    """Close a widget and all within it, layouts and styles included: ipywidgets keeps those for ever otherwise."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()
    for part in (getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(part, ipywidgets.Widget):
            part.close()


class Plot(BokehModel):
    """A Bokeh figure as a widget that can be closed: jupyter_bokeh 4.1 fails when one is deleted after `close()`."""

    is_gone = False

    def close(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            super().close()


def _same(shown: Report, report: Report) -> bool:
    same = shown.system.id == report.system.id and shown.summary["digest"] == report.summary["digest"]
    return bool(same and shown.orders == report.orders)
