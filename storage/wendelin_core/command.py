"""What `wendelin db import-wendelin-core` shows."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import click

from wendelin.storage.arrays.layout import human
from wendelin.storage.wendelin_core.transfer import Summary, import_database


def run(source: str, url: str | None, *, into: str, dry_run: bool) -> None:
    """Import, with a progress bar on a terminal, and tell what came and what did not."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def start(found: Summary) -> None:
            if sys.stderr.isatty():
                bar = click.progressbar(length=found.blocks, label="blocks", show_pos=True, file=sys.stderr)
                bars.append(stack.enter_context(bar))

        def move(blocks: int) -> None:
            for bar in bars:
                bar.update(blocks)

        found = import_database(source, url, into=into, dry_run=dry_run, started=start, progress=move)
    for line in lines(found, into, dry_run=dry_run):
        click.echo(line)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def lines(found: Summary, into: str, *, dry_run: bool) -> list[str]:
    """The summary: a table of arrays, then what else there was."""
    prefix = f"{into}/" if into else ""
    rows = [("array", "shape", "dtype", "order", "size", "stored blocks")]
    for array in found.arrays:
        nbytes = array.dtype.itemsize
        for length in array.shape:
            nbytes *= length
        shape, dtype = str(array.shape), str(array.dtype)
        rows.append((prefix + array.path, shape, dtype, array.order, human(nbytes), f"{array.blocks:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    counts = found.counts
    done = "would copy" if dry_run else "copied, going on where an earlier run stopped," if found.resumed else "copied"
    what = [
        _counted(counts["array"], "array"),
        _counted(counts["value"], "plain value"),
        _counted(counts["folder"], "folder"),
        f"{_counted(counts['alias'], 'second name')} of these",
    ]
    return [*(table if found.arrays else []), f"{done} {', '.join(what)} from {found.source}"]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
