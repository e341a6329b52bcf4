"""`python -m wendelin.notebooks.solar.load`: idempotent, one transaction a system, plain words."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transaction
from click.testing import CliRunner

import wendelin
from tests.notebooks import plants
from wendelin.notebooks.solar import load, report, store
from wendelin.notebooks.solar.errors import MeasurementsError, UnknownSystemError
from wendelin.notebooks.solar.load import DATA, load_system
from wendelin.notebooks.solar.systems import SYSTEMS
from wendelin.storage.database import last_transactions

SMALL = SYSTEMS["1422"]


def notes(db: Any) -> list[str]:
    return [each.note for each in last_transactions(db) if each.note.startswith("solar")]


def test_loading_twice_changes_nothing(db: Any) -> None:
    first = load_system(db, SMALL)
    again = load_system(db, SMALL)
    assert (first.done, again.done) == ("loaded", "kept")
    assert first.rows == again.rows == 15207
    assert notes(db) == ["solar: system 1422, Burlington, Vermont"]
    assert "15207 rows and their figures were there already" in str(again)


def test_what_was_loaded_is_analysed(db: Any) -> None:
    load_system(db, SMALL)
    found = store.report(db.root(), "1422")
    assert found is not None
    assert found.summary["degradation"]["rate"] is None
    assert found.summary["performance"] == pytest.approx(0.97, abs=0.02)


def test_rows_appended_since_are_kept(db: Any) -> None:
    load_system(db, SMALL)
    frame = store.frame_of(db.root(), "1422")
    later = frame.tail(48).set_axis(frame.index[-48:] + pd.Timedelta(days=2))
    load.update(db, "1422", later)
    assert load_system(db, SMALL).done == "kept"
    assert store.end(db.root(), "1422") == later.index[-1]
    assert load_system(db, SMALL, force=True).done == "loaded"
    assert store.end(db.root(), "1422") == frame.index[-1]


def test_old_figures_are_computed_anew_without_loading(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load_system(db, SMALL)
    home = "solar/1422/analysis/summary"
    db.root()[home] = {**db.root()[home], "version": report.VERSION - 1}
    db.transaction_manager.commit()
    assert load_system(db, SMALL).done == "analysed"
    assert db.root()[home]["version"] == report.VERSION


def test_another_file_replaces_the_rows(db: Any, tmp_path: Path) -> None:
    load_system(db, SMALL)
    pd.read_parquet(DATA / SMALL.file).head(1000).to_parquet(tmp_path / SMALL.file)
    assert load_system(db, SMALL, tmp_path).rows == 1000


def test_an_update_is_one_transaction(db: Any) -> None:
    load.store_system(db, plants.PLANT, plants.frame(40), source="by hand")
    load.update(db, "plant", plants.frame(2, "2015-07-11"))
    assert notes(db) == ["solar: 48 new rows of system plant", "solar: system plant, Nowhere"]
    assert store.is_current(db.root(), "plant")


def test_a_refused_update_changes_nothing(db: Any) -> None:
    load.store_system(db, plants.PLANT, plants.frame(40))
    with pytest.raises(MeasurementsError, match="pass only later rows"):
        load.update(db, "plant", plants.frame(40))
    assert store.is_current(db.root(), "plant")
    assert len(notes(db)) == 1


def test_somebody_in_the_way_is_waited_out(db: Any) -> None:
    """Another transaction commits to the same system between our reading and our commit: we try again."""
    load.store_system(db, plants.PLANT, plants.frame(40))
    other = wendelin.connect(db.url, transaction_manager=transaction.TransactionManager())
    attempts = []

    def change() -> int:
        attempts.append(1)
        store.append(db.root(), "plant", plants.frame(2, f"2015-07-{10 + len(attempts):02}").tail(24))
        if len(attempts) == 1:
            load.store_system(other, plants.PLANT, plants.frame(41))
        return len(db.root()["solar/plant/measurements"])

    assert load._committed(db, "solar: twice", change) == 42 * 24
    assert len(attempts) == 2
    other.close()


def test_an_unknown_system_loads_nothing(db: Any) -> None:
    with pytest.raises(UnknownSystemError, match="no system 5; there are 4, 1278"):
        list(load.load(db.url, ["5", "1422"]))
    assert store.system_ids(db.root()) == []


def test_a_folder_without_the_files_names_the_option(db: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--folder"):
        load_system(db, SMALL, tmp_path)


def test_a_file_with_other_columns_is_refused_and_named(db: Any, tmp_path: Path) -> None:
    shutil.copy(DATA / SYSTEMS["4"].file, tmp_path / SMALL.file)
    with pytest.raises(MeasurementsError, match=r"^sys_1422_downsampled\.parquet lacks dc_power_inv1"):
        load_system(db, SMALL, tmp_path)
    assert store.system_ids(db.root()) == []


def test_the_command_speaks_in_whole_lines_without_a_terminal(tmp_path: Path) -> None:
    """What `make run` shows in a log: no carriage returns."""
    run = CliRunner().invoke(load.main, ["--url", f"file://{tmp_path}/db", "--system", "1422"])
    assert run.exit_code == 0, run.output
    assert "[1/1] system 1422, Burlington, Vermont: loaded 15207 rows" in run.stderr
    assert "\r" not in run.stderr


def test_the_command_explains_what_went_wrong(tmp_path: Path) -> None:
    run = CliRunner().invoke(load.main, ["--url", f"file://{tmp_path}/db", "--system", "99"])
    assert run.exit_code == 1
    assert "Error: no system 99; there are 4, 1278, 1300, 1403, 1422" in run.output
    assert "Traceback" not in run.output


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    load._bar(iter([load.Loaded(SMALL, "kept", 3, 0.1)]), 1)
    shown = capsys.readouterr().err
    assert "1/1" in shown
    assert "system 1422, Burlington, Vermont: 3 rows" in shown
