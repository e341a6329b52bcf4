"""``python -m wendelin.notebooks.solar.load``: the five systems into a database, with their figures.

* One transaction a system: a reader sees a system with its measurements and the figures computed from them, or not
  at all. Stopping in the middle leaves the systems that were finished.
* Running it again changes nothing: a file that was loaded already is known by its digest, rows appended since then
  stay, figures of older formulas are computed anew; a database that was loaded before there were entities gets them.
* Your own plants: `store_system` (whole), `update` (later rows). Both commit.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import pandas as pd
import transaction
from tqdm import tqdm
from ZODB.POSException import ConflictError

import wendelin
from wendelin.notebooks.solar import store
from wendelin.notebooks.solar.analysis import Analysis
from wendelin.notebooks.solar.errors import UnknownSystemError
from wendelin.notebooks.solar.readings import digest, read_parquet, to_records
from wendelin.notebooks.solar.systems import SYSTEMS, System
from wendelin.storage.errors import WendelinError

DATA: Final = Path(__file__).resolve().parent / "data"
ATTEMPTS: Final = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """What was done with one system: `done` is "loaded", "analysed", "described" or "kept"."""

    system: System
    done: str
    rows: int
    seconds: float

    def __str__(self) -> str:
        words = {
            "loaded": f"loaded {self.rows} rows and analysed them",
            "analysed": f"{self.rows} rows were there, analysed them anew",
            "described": f"{self.rows} rows and their figures were there, made their entities",
            "kept": f"{self.rows} rows and their figures were there already",
        }
        return f"system {self.system.id}, {self.system.place}: {words[self.done]} ({self.seconds:.1f} s)"


def load_system(connection: Any, system: System, folder: Path = DATA, *, force: bool = False) -> Loaded:
    """Bring `system` from its file in `folder` into the database of `connection` and commit; idempotent.

    `force` puts the file in place of whatever is stored, rows appended since included.

    Raises
    ------
    FileNotFoundError, MeasurementsError
        The file is not there or cannot be used (see `readings.read_parquet`); nothing was changed.
    """
    started = time.perf_counter()
    frame = read_parquet(folder / system.file, system)
    fingerprint = digest(to_records(frame, system))

    def change() -> tuple[str, int]:
        root = connection.root()
        done = "kept"
        if force or not _holds(root, system, fingerprint):
            store.write(root, system, frame, source=system.file)
            done = "loaded"
        if done == "loaded" or not store.is_current(root, system.id):
            store.refresh(root, system.id)
            done = "loaded" if done == "loaded" else "analysed"
        elif store.describe(root, system.id):
            done = "described"
        return done, len(store.measurements(root, system.id))

    done, rows = _committed(connection, f"solar: system {system.id}, {system.place}", change)
    return Loaded(system, done, rows, time.perf_counter() - started)


def store_system(connection: Any, system: System, frame: pd.DataFrame, *, source: str = "") -> Analysis:
    """Put your own `system` and its `frame` (see `readings`) into the database, analyse, and commit.

    An earlier system of the same id is replaced. In the Wendelin kernel call `store.write` and `store.refresh`.
    """

    def change() -> Analysis:
        store.write(connection.root(), system, frame, source=source)
        return store.refresh(connection.root(), system.id)

    return _committed(connection, f"solar: system {system.id}, {system.place}", change)


def update(connection: Any, system_id: str, frame: pd.DataFrame) -> Analysis:
    """Append later rows to `system_id`, analyse all its rows again, and commit both in one transaction.

    Dashboards that are open show the new figures within seconds. In the Wendelin kernel, whose cells are transactions,
    call `store.append` and `store.refresh` with the `root` of the notebook instead: the cell commits.

    Raises
    ------
    MeasurementsError, UnknownSystemError, NothingLoadedError
        The rows are not later than those stored, or there is no such system; nothing was changed.
    """

    def change() -> Analysis:
        store.append(connection.root(), system_id, frame)
        return store.refresh(connection.root(), system_id)

    return _committed(connection, f"solar: {len(frame)} new rows of system {system_id}", change)


def load(
    url: str | None = None, systems: Iterable[str] = (), folder: Path = DATA, *, force: bool = False
) -> Iterator[Loaded]:
    """Load `systems` (ids, none: all five) into the database `url`, one after the other, telling each when it is in.

    Raises
    ------
    UnknownSystemError
        An id that is not one of the five; nothing was loaded.
    """
    chosen = _chosen(systems)
    # Its own transactions: a caller may be in the middle of one, as a cell of the Wendelin kernel always is.
    connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    try:
        for system in chosen:
            yield load_system(connection, system, folder, force=force)
    finally:
        connection.transaction_manager.abort()
        connection.close()


def _chosen(ids: Iterable[str]) -> list[System]:
    wanted = list(ids) or list(SYSTEMS)
    unknown = [name for name in wanted if name not in SYSTEMS]
    if unknown:
        raise UnknownSystemError(f"no system {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    return [SYSTEMS[name] for name in wanted]


def _holds(root: store.Root, system: System, fingerprint: str) -> bool:
    """Whether the stored rows began as this very file, with the system described as it is now."""
    home = f"solar/{system.id}"
    if f"{home}/source" not in root or f"{home}/measurements" not in root:
        return False
    same_file = root[f"{home}/source"]["digest"] == fingerprint
    return bool(same_file and root[f"{home}/system"] == system.to_dict())


def _committed(connection: Any, note: str, change: Callable[[], T]) -> T:
    """Run `change` in a transaction of its own; another process in the way is waited out by trying again."""
    manager = connection.transaction_manager
    for attempt in range(ATTEMPTS):
        manager.begin()
        try:
            result = change()
            manager.get().note(note)
            manager.commit()
            return result
        except ConflictError:
            manager.abort()
            if attempt == ATTEMPTS - 1:
                raise
        except BaseException:
            manager.abort()
            raise
    raise AssertionError("unreachable")


@click.command()
@click.option("--url", help="Database; none: $WENDELIN_DB, else your own.")
@click.option("--system", "systems", multiple=True, help=f"One of {', '.join(SYSTEMS)}; may be given again. None: all.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=DATA, help="Where the Parquet files are."
)
@click.option("--force", is_flag=True, help="Replace what is stored, rows appended since included.")
def main(url: str | None, systems: tuple[str, ...], folder: Path, force: bool) -> None:
    """Load five real photovoltaic systems (PVDAQ, NREL, CC BY 4.0) and analyse them."""
    try:
        total = len(_chosen(systems))
        show = _bar if sys.stderr.isatty() else _lines
        show(load(url, systems, folder, force=force), total)
    except (WendelinError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _bar(results: Iterator[Loaded], total: int) -> None:
    with tqdm(total=total, unit="system", desc="solar") as bar:
        for result in results:
            bar.write(str(result), file=sys.stderr)
            bar.update()


def _lines(results: Iterator[Loaded], total: int) -> None:
    """Whole lines for a log: no terminal, no carriage returns."""
    for number, result in enumerate(results, start=1):
        click.echo(f"[{number}/{total}] {result}", err=True)


if __name__ == "__main__":
    main()
