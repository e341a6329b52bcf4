"""The figures of a run as tables in Markdown: medians, and how many times Wendelin's time each store takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.benchmarks.peers import TITLES
from tests.benchmarks.peers.turns import Figures

#: The store that the others are divided by.
OURS = "local"


@dataclass
class Run:
    """All figures of one run: by operation and store; bytes on disk by (kind, store); ageing by operation."""

    nbytes: int
    peers: list[str]
    absent: dict[str, str]
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    disk: dict[tuple[str, str], int] = field(default_factory=dict)
    aged: dict[str, dict[str, float]] = field(default_factory=dict)
    aged_errors: dict[str, str] = field(default_factory=dict)

    def of(self, operation: str, peer: str) -> Figures:
        return self.figures.get(operation, {}).get(peer) or Figures(error=self.absent.get(peer, "not measured"))

    def seconds(self, operation: str, peer: str, label: str = "") -> list[float]:
        """By turn; empty where the store has no such figure."""
        label = label or operation
        return [turn[label] for turn in self.of(operation, peer).turns if label in turn]

    def median(self, operation: str, peer: str, label: str = "") -> float | None:
        found = self.seconds(operation, peer, label)
        return statistics.median(found) if found else None

    def ratio(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> float | None:
        """Median over the turns of one's seconds divided by the other's; each is operation, store, label."""
        pairs = list(zip(self.seconds(*one), self.seconds(*other), strict=False))
        return statistics.median(a / b for a, b in pairs) if pairs else None


@dataclass(frozen=True)
class Column:
    title: str
    operation: str
    label: str
    show: Callable[[float], str]


def columns(nbytes: int) -> dict[str, list[Column]]:
    """Tables by title, each with its columns."""

    def speed(seconds: float) -> str:
        return f"{nbytes / 1e9 / seconds:.2f} GB/s"

    def ms(seconds: float) -> str:
        return f"{1e3 * seconds:.2f} ms"

    def us(seconds: float) -> str:
        return f"{1e6 * seconds:,.0f} µs" if seconds >= 1e-4 else f"{1e6 * seconds:.3g} µs"

    return {
        "Reading": [
            Column("warm scan", "scan", "scan", speed),
            Column("cold scan", "cold", "cold", speed),
            Column("one element", "read", "read", us),
            Column("… of a view", "read", "view", us),
            Column("open, first MiB", "opening", "open", ms),
        ],
        "Writing, durable": [
            Column("one value", "update", "update", ms),
            Column("1 MiB at random", "block", "block", ms),
            Column("append 10 k", "append", "append", ms),
            Column("the whole array", "fill", "fill", speed),
            Column("… the commit of it", "fill", "commit", speed),
        ],
    }


def tables(run: Run) -> str:
    """All tables of the stores."""
    parts = []
    for title, shown in columns(run.nbytes).items():
        rows = [[TITLES[peer], *(cell(run, peer, column) for column in shown)] for peer in run.peers]
        if title.startswith("Writing"):
            rows += unsynced(run, shown)
        parts.append(f"### {title}\n\n{table([title.split(',')[0].lower(), *(c.title for c in shown)], rows)}")
    parts += [f"### Space\n\n{space(run)}", f"### Peak memory, MiB\n\n{peak(run)}", absent(run)]
    return "\n\n".join(part for part in parts if part)


def cell(run: Run, peer: str, column: Column) -> str:
    """The median, and how many times our time it is."""
    value = run.median(column.operation, peer, column.label)
    if value is None:
        return "failed" if run.of(column.operation, peer).error else "–"
    ratio = run.ratio((column.operation, peer, column.label), (column.operation, OURS, column.label))
    return column.show(value) + (f" · {ratio:.3g}×" if ratio and peer != OURS else "")


def unsynced(run: Run, shown: list[Column]) -> list[list[str]]:
    """What the stores that sync nothing themselves take without the syncs that were added."""
    rows = []
    for peer in run.peers:
        if peer not in ("zarr", "icechunk"):
            continue
        row = [f"{TITLES[peer]}, not durable"]
        for column in shown:
            value = run.median(column.operation, peer, f"{column.label} unsynced")
            row.append("–" if value is None else column.show(value))
        rows.append(row)
    return rows


def space(run: Run) -> str:
    """Bytes on disk."""
    payload = {"bulk": run.nbytes, "append": run.disk.get(("payload", "append"), 0)}
    rows = []
    for peer in run.peers:
        row = [TITLES[peer]]
        for kind, wanted in payload.items():
            found = run.disk.get((kind, peer))
            row += (
                ["–", "–"] if not found or not wanted else [f"{found:,}", f"{100 * (found - wanted) / wanted:+.3g} %"]
            )
        rows.append(row)
    head = ["bytes on disk", "written at once", "above the values", "after the appends", "above the values"]
    return table(head, rows)


def peak(run: Run) -> str:
    """Highest anonymous memory (its own) and highest resident memory (with mapped files), by operation."""
    shown = [name for name in run.figures if name != "memory"]
    rows = []
    for peer in run.peers:
        row = [TITLES[peer]]
        for name in shown:
            figures = run.of(name, peer)
            row.append("–" if not figures.resident else f"{figures.anonymous >> 20} / {figures.resident >> 20}")
        rows.append(row)
    return table(["own / resident", *shown], rows)


def absent(run: Run) -> str:
    """Stores that are not there, and operations that failed, each with its reason."""
    lines = [f"- {TITLES[peer]} was not measured: {reason}" for peer, reason in run.absent.items()]
    lines += [
        f"- {TITLES[peer]} failed at `{name}`: {figures.error}"
        for name, found in run.figures.items()
        for peer, figures in found.items()
        if figures.error
    ]
    return "\n".join(lines)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)
