"""The main figures of a run as bars, in an SVG that stands on its own ground in light and in dark."""

from __future__ import annotations

from html import escape

from tests.benchmarks.peers import TITLES
from tests.benchmarks.peers.tables import Column, Run, columns

#: Operation (its first figure), title, and which end is the better one.
PANELS = (
    ("scan", "Sum of all values, warm", "more is better"),
    ("cold", "Sum of all values, cold", "more is better"),
    ("read", "Read one element, A[i]", "less is better"),
    ("update", "Write one value, durable", "less is better"),
    ("append", "Append 10 k values, durable", "less is better"),
    ("fill", "Write the whole array, durable", "more is better"),
)
ACROSS, WIDTH, BAR, TOP, NAMES = 2, 500, 24, 74, 168
STYLE = """
.ground{fill:#ffffff}.title{fill:#1d232b;font-weight:600}.name,.value{fill:#333b45}.hint{fill:#5c6672}
.other{fill:#a9b4c0}.limit{fill:none;stroke:#7d8894;stroke-dasharray:3 2}.ours{fill:#5a3fa0}.axis{stroke:#c9d0d8}
@media (prefers-color-scheme: dark){
.ground{fill:#161a1f}.title{fill:#eef1f4}.name,.value{fill:#d5dae0}.hint{fill:#9aa5b1}
.other{fill:#56616d}.limit{stroke:#8b96a2}.ours{fill:#a48be8}.axis{stroke:#3a434d}}
"""


def picture(run: Run) -> dict[str, str]:
    """SVG by file name; nothing where nothing was measured."""
    shown = {(c.operation, c.label): c for part in columns(run.nbytes).values() for c in part}
    panels = [
        drawn for name, title, hint in PANELS if (drawn := panel(run, shown[name, name], title, hint)) is not None
    ]
    if not panels:
        return {}
    height = max(bottom for bottom, _ in panels)
    rows = -(-len(panels) // ACROSS)
    size = f"0 0 {ACROSS * WIDTH + 24} {rows * height + 24}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="system-ui, sans-serif" font-size="13" '
        'role="img" aria-labelledby="t">',
        '<title id="t">Array stores side by side: the main figures of the tables as bars</title>',
        f"<style>{STYLE}</style>",
        '<rect class="ground" width="100%" height="100%" rx="12"/>',
    ]
    for number, (_, body) in enumerate(panels):
        x, y = 12 + number % ACROSS * WIDTH, 12 + number // ACROSS * height
        parts.append(f'<g transform="translate({x} {y})">\n{body}\n</g>')
    return {"bench-storage.svg": "\n".join([*parts, "</svg>"]) + "\n"}


def panel(run: Run, column: Column, title: str, hint: str) -> tuple[int, str] | None:
    """One figure of all stores, as bars from zero: its height and its SVG."""
    found = {
        peer: value for peer in run.peers if (value := run.median(column.operation, peer, column.label)) is not None
    }
    if not found:
        return None
    lengths = {peer: 1 / value if hint.startswith("more") else value for peer, value in found.items()}
    longest = max(lengths.values())
    room = WIDTH - NAMES - 110
    lines = [
        f'<text class="title" x="12" y="30" font-size="16">{escape(title)}</text>',
        f'<text class="hint" x="12" y="50">{hint}</text>',
    ]
    for row, peer in enumerate(found):
        y, length = TOP + row * BAR, max(1.5, room * lengths[peer] / longest)
        kind = {"local": "ours", "file": "ours", "bare": "limit"}.get(peer, "other")
        name = escape(TITLES[peer].replace("`", ""))
        lines += [
            f'<text class="name" x="{NAMES - 8}" y="{y + 13}" text-anchor="end">{name}</text>',
            f'<rect class="{kind}" x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR - 7}" rx="2"/>',
            f'<text class="value" x="{NAMES + length + 7:.1f}" y="{y + 13}">{escape(column.show(found[peer]))}</text>',
        ]
    bottom = TOP + len(run.peers) * BAR + 20
    end = TOP + len(found) * BAR - 3
    lines.append(f'<line class="axis" x1="{NAMES - 0.5}" y1="{TOP - 5}" x2="{NAMES - 0.5}" y2="{end}"/>')
    return bottom, "\n".join(lines)
