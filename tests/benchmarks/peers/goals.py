"""The goals that this project set itself before it measured, each with its figure of the run and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass

from tests.benchmarks.peers import TITLES, TRANSACTIONAL
from tests.benchmarks.peers.tables import OURS, Run, table


@dataclass(frozen=True)
class Goal:
    """A figure and its bound; `figure` None: not measured, and `told` says why."""

    what: str
    bound: str
    figure: float | None
    limit: float
    told: str
    at_least: bool = True

    def row(self) -> list[str]:
        if self.figure is None:
            return [
                self.what,
                self.bound,
                self.told,
                "**failed**" if self.told.startswith("failed") else "not measured",
            ]
        met = self.figure >= self.limit if self.at_least else self.figure <= self.limit
        return [self.what, self.bound, self.told, "met" if met else "**missed**"]


def goals(run: Run) -> str:
    """The table of all goals."""
    found = [scan(run), bulk(run), *faster(run), *plain(run), view(run), metadata(run)]
    found += [*aged(run, "age_appends", "appends"), *aged(run, "age_pages", "one-page updates")]
    found += [first_slice(run, "age_sparse", 20), first_slice(run, "age_scattered", 100)]
    return table(["goal", "asked", "figure", ""], [goal.row() for goal in found])


def scan(run: Run) -> Goal:
    ratio = run.ratio(("scan", "memmap", "scan"), ("scan", OURS, "scan"))
    return Goal("warm scan against np.memmap", "≥ 0.98", ratio, 0.98, two(ratio))


def bulk(run: Run) -> Goal:
    """The commit of an array that is written already; raw is writing the same bytes to a file and syncing it."""
    ratio = run.ratio(("fill", "bare", "fill"), ("fill", OURS, "commit"))
    whole = run.ratio(("fill", "bare", "fill"), ("fill", OURS, "fill"))
    raw = run.median("fill", "bare", "fill")
    told = two(ratio)
    if raw and whole:
        told += f" (with the copy into the array: {whole:.2f}; this disk: {run.nbytes / 1e9 / raw:.2f} GB/s)"
    return Goal("commit of the whole array against raw write + fsync", "≥ 0.95 below 1 GB/s", ratio, 0.95, told)


def faster(run: Run) -> list[Goal]:
    """One-value update and append against the fastest store with transactions, all of which work in this process."""
    asked = (("one-value update", "update", 3.0), ("append of 10 k", "append", 2.0))
    return [_faster(run, ours, *goal) for goal in asked for ours in ("local", "file")]


def _faster(run: Run, ours: str, what: str, operation: str, limit: float) -> Goal:
    ratios = {
        peer: ratio
        for peer in TRANSACTIONAL
        if (ratio := run.ratio((operation, peer, operation), (operation, ours, operation))) is not None
    }
    parts = [f"{TITLES[peer]} {ratio:.2f}×" for peer, ratio in sorted(ratios.items(), key=lambda pair: pair[1])]
    bare = run.ratio((operation, "icechunk", f"{operation} unsynced"), (operation, ours, operation))
    parts += [f"icechunk without any fsync {bare:.2f}×"] if bare else []
    told = "; ".join(parts) or "no store with transactions here"
    what = f"{what}, `{ours}://`, faster than the fastest store with transactions"
    return Goal(what, f"≥ {limit:g}×", min(ratios.values(), default=None), limit, told)


def plain(run: Run) -> list[Goal]:
    found = []
    for peer in ("local", "file"):
        ratio = run.ratio(("update", peer, "update"), ("update", peer, "plain"))
        what = f"one-value update against a plain ZODB commit, `{peer}://`"
        found.append(Goal(what, "≤ 1.5×", ratio, 1.5, two(ratio, "×"), at_least=False))
    return found


def view(run: Run) -> Goal:
    ratio = run.ratio(("read", OURS, "view"), ("read", "memmap", "view"))
    return Goal("one element of a view against np.memmap", "≤ 2×", ratio, 2.0, two(ratio, "×"), at_least=False)


def metadata(run: Run) -> Goal:
    stored = run.disk.get(("bulk", "file"))
    share = 100 * (stored - run.nbytes) / run.nbytes if stored else None
    told = "not measured" if share is None else f"{share:.4f} %"
    return Goal("bytes on disk above the values, written at once", "≤ 0.02 %", share, 0.02, told, at_least=False)


def aged(run: Run, operation: str, what: str) -> list[Goal]:
    """Size and scan of an aged array, defragmented, against one written at once."""
    figures = run.aged.get(operation)
    found = []
    for label, kind in (("size on disk", "bytes"), ("scan", "scan")):
        ratio, told = None, run.aged_errors.get(operation, "left out")
        if figures:
            before = _beside(figures, "aged", "bulk", kind)
            told = f"before: {before:.2f}×; there is no defragmentation yet"
            if f"tidy {kind}" in figures:
                ratio = _beside(figures, "tidy", "bulk tidy", kind)
                maps = f"{figures['aged mappings']:.0f} → {figures['tidy mappings']:.0f} mappings of files"
                told = f"{ratio:.2f}× (before: {before:.2f}×, {maps}; {figures['commits']:,.0f} commits)"
        title = f"{label} after {what}, defragmented, against written at once"
        found.append(Goal(title, "≤ 1.3×", ratio, 1.3, told, at_least=False))
    return found


def _beside(figures: dict[str, float], old: str, new: str, kind: str) -> float:
    """How much more an old array takes than one written at once; scans took turns, so their ratios count."""
    return figures[f"{old} ratio"] if kind == "scan" else figures[f"{old} bytes"] / figures[f"{new} bytes"]


def first_slice(run: Run, operation: str, limit: float) -> Goal:
    what = {"age_sparse": "array of 1 TiB", "age_scattered": "array of scattered one-page blocks"}[operation]
    figures = run.aged.get(operation)
    if not figures:
        return Goal(
            f"{what}: open and read 1 MiB", f"≤ {limit:g} ms", None, limit, run.aged_errors.get(operation, "left out")
        )
    took = 1e3 * figures["first slice"]
    return Goal(f"{what}: open and read 1 MiB", f"≤ {limit:g} ms", took, limit, f"{took:.1f} ms", at_least=False)


def two(value: float | None, unit: str = "") -> str:
    return "not measured" if value is None else f"{value:.2f}{unit}"
