"""Plots of one system, for notebooks and dashboards. Bokeh; nothing is fetched from outside.

Grey that is readable on white and on black carries text and axes, and backgrounds are transparent: so one figure serves
light and dark pages, without asking the reader's browser. Series colours are distinguishable with any colour vision
(Okabe and Ito) and each also differs in shape.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter, Range1d
from bokeh.models.annotations import Band, Span
from bokeh.plotting import figure

from wendelin.notebooks.solar.flags import BY_NAME, FLAGS
from wendelin.notebooks.solar.report import Report

GREY: Final = "#7a7a7a"
BLUE: Final = "#2f8fd8"
ORANGE: Final = "#e69f00"
RED: Final = "#d55e00"
GREEN: Final = "#009e73"
DAY_MS: Final = 86_400_000


def life(report: Report) -> Any:
    """Normalized energy of each day, its monthly median, and the trend with its 95 % interval over the whole life."""
    daily = report.daily.dropna(subset=["normalized"])
    plot = _figure("Performance of each day", "energy / expected energy", x_axis_type="datetime", height=330)
    if daily.empty:
        return plot
    days = plot.scatter(
        "day", "normalized", source=ColumnDataSource(_dated(daily[["normalized", "energy"]], "day")),
        size=3, color=GREY, alpha=0.35, legend_label="a day",
    )  # fmt: skip
    months = daily["normalized"].resample("MS").median()  # NaN where nothing was: the line has a gap there
    assert isinstance(months.index, pd.DatetimeIndex)
    middle = pd.DataFrame({"normalized": months.to_numpy()}, index=months.index + pd.Timedelta(days=14))
    monthly = plot.line(
        "day", "normalized", source=ColumnDataSource(_dated(middle, "day")),
        color=BLUE, line_width=2, legend_label="median of a month",
    )  # fmt: skip
    _trend(plot, report, daily)
    # A few dull or snowy days far below must not flatten all others; they are there when one zooms out.
    low, high = np.percentile(daily["normalized"], [2, 98])
    plot.y_range = Range1d(start=max(0.0, low - 0.12), end=high + 0.12)
    when = ("Day", "@day{%e %B %Y}")
    plot.add_tools(
        _hover(days, [when, ("Performance", "@normalized{0.000}"), ("Energy", "@energy{0,0.0} kWh")]),
        _hover(monthly, [("Month", "@day{%B %Y}"), ("Median", "@normalized{0.000}")]),
    )
    return _legend_below(plot)


def _trend(plot: Any, report: Report, daily: pd.DataFrame) -> None:
    """The rate is relative to the first year's median: the line turns about the middle of that year."""
    aged = report.summary["degradation"]
    if aged["rate"] is None:
        return
    assert isinstance(daily.index, pd.DatetimeIndex)
    ends = pd.date_range(daily.index[0], daily.index[-1], periods=50)
    years = np.asarray((ends - ends[0]) / pd.Timedelta(days=365.25)) - 0.5
    lines = {name: aged["level"] * (1 + aged[name] / 100 * years) for name in ("rate", "low", "high")}
    bounds = {"lower": np.minimum(lines["low"], lines["high"]), "upper": np.maximum(lines["low"], lines["high"])}
    source = ColumnDataSource(_dated(pd.DataFrame({"trend": lines["rate"], **bounds}, index=ends), "day"))
    plot.add_layout(
        Band(base="day", lower="lower", upper="upper", source=source, fill_color=RED, fill_alpha=0.18, line_width=0)
    )
    trend = plot.line("day", "trend", source=source, color=RED, line_width=3, line_dash=[8, 3], legend_label="trend")
    said = f"{aged['rate']:+.2f} % a year, 95 % interval {aged['low']:+.2f} … {aged['high']:+.2f}"
    plot.add_tools(_hover(trend, [("Trend", said.replace("-", "−"))]))


def yearly(report: Report) -> Any:
    """Energy of each calendar year in kWh or MWh, with what belongs to its reading."""
    rows = [row for row in report.summary["years"] if row[1]]
    table = pd.DataFrame(rows, columns=["year", "energy", "performance", "days_out", "coverage"])
    mega = bool(len(table)) and table["energy"].max() >= 10_000
    unit = "MWh" if mega else "kWh"
    table["shown"] = table["energy"] / (1000 if mega else 1)
    table["year"] = table["year"].astype(str)
    for name in ("performance", "coverage"):
        table[name] = table[name].astype(float)
    plot = _figure("Energy of each year", unit, x_range=table["year"].tolist(), height=260)
    # Years of which only a part was measured are pale: low is then no finding.
    table["alpha"] = np.where(table["coverage"] >= 0.8, 0.9, 0.4)
    bars = plot.vbar(
        x="year", top="shown", width=0.7, source=_source(table), color=GREEN, alpha="alpha", line_color=None
    )
    plot.y_range.start = 0
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.add_tools(
        _hover(
            bars,
            [
                ("Year", "@year"),
                ("Energy", f"@shown{{0,0.0}} {unit}"),
                ("Performance", "@performance{0.000}"),
                ("Days without output", "@days_out{0}"),
                ("Usable daylight hours", "@coverage{0 %}"),
            ],
        )
    )
    return plot


def timeline(report: Report) -> Any:
    """Which findings, in which months: share of the month's daylight hours as the darkness of a box."""
    shares = report.flags.drop(columns=["usable"], errors="ignore")
    shares = shares.loc[:, shares.max() > 0.005] if len(shares) else shares
    names = [flag.name for flag in FLAGS if flag.name in shares.columns]
    titles = [BY_NAME[name].title for name in names][::-1]
    plot = _figure(
        "", "", x_axis_type="datetime", y_range=titles or ["no findings"],
        height=90 + 30 * max(2, len(titles)),
    )  # fmt: skip
    rows = [
        (
            period.start_time.timestamp() * 1000,
            period.days_in_month,
            BY_NAME[name].title,
            float(share),
            BY_NAME[name].meaning,
        )
        for name in names
        for period, share in shares[name].items()
        if isinstance(period, pd.Period) and share > 0.005
    ]
    table = pd.DataFrame(rows, columns=["month", "days", "finding", "share", "meaning"])
    table["alpha"] = 0.15 + 0.8 * table["share"]
    table["width"] = table["days"] * DAY_MS
    table["middle"] = table["month"] + table["width"] / 2
    boxes = plot.rect(
        x="middle", y="finding", width="width", height=0.75, source=_source(table),
        color=RED, alpha="alpha", line_color=None,
    )  # fmt: skip
    plot.x_range = Range1d(start=_milliseconds(report.begin), end=_milliseconds(report.end))
    plot.ygrid.grid_line_color = None
    plot.add_tools(
        _hover(
            boxes,
            [
                ("Finding", "@finding: @meaning"),
                ("Month", "@middle{%B %Y}"),
                ("Of the daylight hours", "@share{0.0 %}"),
            ],
            dates="@middle",
        )
    )
    return plot


def slopes(report: Report) -> Any:
    """How the year-on-year comparisons spread, the rate (their median) and its 95 % interval; None without a rate."""
    aged = report.summary["degradation"]
    if aged["rate"] is None or report.slopes.empty:
        return None
    values = report.slopes["slope"].to_numpy()
    low, high = np.percentile(values, [2, 98])
    counts, edges = np.histogram(values, bins=40, range=(low, high))
    table = pd.DataFrame({"count": counts, "left": edges[:-1], "right": edges[1:]})
    plot = _figure("Change of each day from year to year", "pairs of days", height=260)
    plot.xaxis.axis_label = "change (% per year)"
    bars = plot.quad(
        left="left", right="right", top="count", bottom=0, source=_source(table), color=BLUE, alpha=0.85,
        line_color=None,
    )  # fmt: skip
    plot.y_range.start = 0
    for value, dash in ((aged["rate"], "solid"), (aged["low"], "dashed"), (aged["high"], "dashed")):
        plot.add_layout(Span(location=value, dimension="height", line_color=RED, line_width=2, line_dash=dash))
    plot.add_tools(_hover(bars, [("Change", "@left{0.0} … @right{0.0} % per year"), ("Pairs of days", "@count")]))
    return plot


def _figure(title: str, y_label: str, **options: Any) -> Any:
    """A figure of the page's width. Nothing is active for dragging: a finger scrolls the page, not the plot."""
    plot: Any = figure(
        title=title,
        sizing_mode="stretch_width",
        min_width=250,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        toolbar_location="above",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.title.text_color = GREY
    plot.yaxis.axis_label = y_label
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = GREY
        axis.major_label_text_color = axis.axis_label_text_color = GREY
        axis.axis_label_text_font_style = "normal"
        axis.minor_tick_line_color = None
    for grid in plot.grid:
        grid.grid_line_color = GREY
        grid.grid_line_alpha = 0.22
    if options.get("x_axis_type") == "datetime":
        plot.xaxis.ticker.desired_num_ticks = 5
    elif "x_range" not in options:
        plot.xaxis.ticker = BasicTicker(desired_num_ticks=6)
    return plot


def _legend_below(plot: Any) -> Any:
    legend = plot.legend[0]
    plot.add_layout(legend, "below")
    legend.orientation = "horizontal"
    legend.background_fill_alpha = 0
    legend.border_line_color = None
    legend.label_text_color = GREY
    legend.padding = legend.margin = 0
    legend.spacing = 10
    return plot


def _hover(renderer: Any, tooltips: list[tuple[str, str]], dates: str = "@day") -> HoverTool:
    return HoverTool(renderers=[renderer], tooltips=tooltips, formatters={dates: "datetime"}, visible=False)


def _source(table: pd.DataFrame) -> ColumnDataSource:
    """The columns of a table. Bokeh 3.9 takes frames too, but by a call that pandas 3.1 warns of."""
    return ColumnDataSource({str(name): table[name].to_numpy() for name in table})


def _dated(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """Columns for Bokeh, with the index as naive UTC: Bokeh draws naive times as they are."""
    assert isinstance(table.index, pd.DatetimeIndex)
    return {name: table.index.tz_localize(None), **{str(column): table[column].to_numpy() for column in table}}


def _milliseconds(stamp: pd.Timestamp) -> float:
    return stamp.timestamp() * 1000
