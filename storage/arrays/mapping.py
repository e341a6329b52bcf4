"""Runs become mappings, and not too many of them: a process may have some 65,000 (`vm.max_map_count`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ZODB.blob import Blob

from wendelin.storage.arrays.addresses import Reservation, mappings_allowed
from wendelin.storage.arrays.local import LocalFiles
from wendelin.storage.arrays.remote import Place
from wendelin.storage.arrays.runs import PAGE, Interval, Run, clip, meets
from wendelin.storage.arrays.segments import Draft

#: Runs from which on a request looks whether the process has too many mappings.
_MANY = 64

#: Pages from which on a run is mapped from where it lies, however scattered its neighbours are.
_LONG = 2048

#: Where pages are noted as soon as they are mapped, so that whoever is refused midway knows how far that went.
Laid = list[Interval] | None


def too_many(runs: list[Run], taken: Callable[[], int]) -> bool:
    """Whether mapping `runs` one by one would take more than arrays may have; `taken()` is what they have."""
    return len(runs) > _MANY and 2 * len(runs) + taken() > mappings_allowed()


def lay(addresses: Reservation, files: LocalFiles, runs: list[Run], named: dict[int, Any], laid: Laid = None) -> None:
    """Map runs where they belong, each segment opened once."""
    by_segment: dict[int, list[Run]] = {}
    for run in runs:
        by_segment.setdefault(run[2], []).append(run)
    files.bring(named[number] for number in by_segment)
    for number, some in by_segment.items():
        for place in files.places(number, named[number], some, named):
            _lay_place(addresses, place, laid)


def lay_together(
    addresses: Reservation,
    files: LocalFiles,
    runs: list[Run],
    named: dict[int, Any],
    shown: list[Run],
    written: list[Interval],
    laid: Laid = None,
) -> list[Run]:
    """Map runs that have only holes between them at once; returns what is left to be mapped as it lies.

    `shown` is all that is stored thereabouts; what is mapped already is mapped anew with its neighbours. Pages that
    were `written` are neither holes nor may they be mapped anew. Runs that lie as far from each other in one file take
    no copy, for that file has holes there too; others are gathered in a file.
    """
    alone: list[Run] = []
    asked = {run[0] for run in runs}
    around = clip(shown, runs[0][0], runs[-1][0] + runs[-1][1])
    clean = [run for run in around if run[0] in asked or not meets(written, run[0], run[0] + run[1])]
    for some in _stretches(clean, around, written):
        if len(some) == 1 and some[0][0] not in asked:
            continue
        start, end = some[0][0], some[-1][0] + some[-1][1]
        in_one_file = isinstance(named[some[0][2]], Draft | Blob)
        if len({(run[2], run[3] - run[0]) for run in some}) == 1 and (len(some) == 1 or in_one_file):
            alone.append((start, end - start, *some[0][2:]))
        else:
            _lay_place(addresses, files.together(some, named), laid)
    return alone


def _stretches(runs: list[Run], shown: list[Run], written: list[Interval]) -> list[list[Run]]:
    out = [[runs[0]]]
    for run in runs[1:]:
        before = out[-1][-1]
        lo, hi = before[0] + before[1], run[0]
        short = before[1] < _LONG and run[1] < _LONG
        if short and (lo == hi or not (clip(shown, lo, hi) or meets(written, lo, hi))):
            out[-1].append(run)
        else:
            out.append([run])
    return out


def _lay_place(addresses: Reservation, place: Place, laid: Laid) -> None:
    start, length, fd, page = place
    addresses.map_file(start * PAGE, length * PAGE, fd, page * PAGE)
    if laid is not None:
        laid.append((start, start + length))
