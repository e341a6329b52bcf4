"""kill -9 at any moment of a commit, and power failures, leave what was acknowledged, whole.

Dozens of kills here; thousands in the long tier: `python3 bootstrap.py test --long`, or, with a seed of one's own,
`python -m tests.torture local --rounds 1000 --seed 7`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.torture.crash import SABOTAGES, torture
from tests.torture.powerloss import Recorder, lose_unsynced
from wendelin.storage.database.durable import Directories
from wendelin.storage.database.files import FolderStorage
from wendelin.storage.errors import ResourceError

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["local", "wire", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_writers_leave_the_last_committed_state(tmp_path: Path, seed: int) -> None:
    log = torture(tmp_path, rounds=40, seed=seed)
    assert not log.violations, log
    assert len(log.rounds) == 40
    assert log.inside_commit >= 1 / 3, log
    assert {"flush", "store"} <= {r.phase for r in log.rounds}
    assert log.rounds[-1].acknowledged > 3


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_torture_notices_when_a_part_of_the_commit_is_taken_out(tmp_path: Path, sabotage: str) -> None:
    assert torture(tmp_path, rounds=100, seed=1, sabotage=sabotage).violations


def cluster(tmp_path: Path, *arguments: str, patience: float = 200) -> dict[str, Any]:
    """Run the torture of several processes, in an interpreter of its own, whose forks have no threads to lose."""
    log = tmp_path / "log.json"
    command = [sys.executable, "-m", "tests.torture", *arguments, "--json", str(log)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=patience, check=False)
    assert log.exists(), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(log.read_text())
    violations = [kill for kill in found["kills"] if kill["violation"]]
    assert done.returncode == bool(violations)
    return found | {"violations": violations, "text": done.stdout}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_several_processes_are_killed_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path, kind: str) -> None:
    found = cluster(tmp_path, kind, "--rounds", "25", "--seed", "1")
    assert not found["violations"], found["text"]
    assert len(found["kills"]) == 25
    assert found["inside_commit"] >= 1 / 3, found["text"]
    victims = {kill["victim"].partition("-")[0] for kill in found["kills"]}
    assert {"writer", "appender"} <= victims, found["text"]
    assert "server" in victims or kind == "sqlite", found["text"]
    assert "power" in victims or kind == "postgresql", found["text"]
    assert not any(reason.startswith("unexpected") for reason in found["reasons"]), found["text"]
    assert found["conflicts"]["appender-0"] == found["conflicts"]["appender-1"] == 0, found["text"]
    assert all(found["acknowledged"][name] > 3 for name in ("writer-0", "writer-1", "appender-0", "appender-1"))


CONFLICT = """
import sys
from pathlib import Path
import transaction
from ZODB.POSException import ConflictError
from tests.torture import refusals
from wendelin import ZBigArray
from wendelin.storage.database.connection import DB
from wendelin.storage.database.durable import DurableFileStorage
place = Path(sys.argv[1])
refusals.install(place)
db = DB(DurableFileStorage(str(place / "Data.fs"), blob_dir=str(place / "blobs")))
db.open().root()["a"] = ZBigArray((1000,), "i8")
transaction.commit()
managers = [transaction.TransactionManager() for _ in range(2)]
arrays = [db.open(manager).root()["a"] for manager in managers]
for array in arrays:
    array[7] = 1
managers[0].commit()
try:
    managers[1].commit()
except ConflictError as error:
    for after_a_kill in (False, True):
        print(*refusals.reasons(place, [refusals.told(error, after_a_kill=after_a_kill)]))
"""


def test_the_torture_says_why_a_transaction_conflicted_and_tells_what_is_no_fault(tmp_path: Path) -> None:
    """ZODB tells the client only which object it was; only a process after a kill may conflict with its own block."""
    command = [sys.executable, "-c", CONFLICT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    unexpected, admitted = done.stdout.splitlines()
    assert unexpected.startswith("unexpected: ")
    assert "both transactions wrote the same block" in unexpected
    assert admitted == "a commit of its own, whose end it did not see, was stored meanwhile"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sabotage"),
    [
        ("local", "fsync"),
        ("local", "directory fsync"),
        ("local", "vote"),
        ("wire", "fsync"),
        ("wire", "directory fsync"),
        ("sqlite", "fsync"),
        ("sqlite", "directory fsync"),
        pytest.param("postgresql", "fsync", marks=pytest.mark.postgresql),
    ],
)
def test_the_cluster_notices_when_a_part_of_the_commit_is_taken_out(tmp_path: Path, kind: str, sabotage: str) -> None:
    assert cluster(tmp_path, kind, "--rounds", "60", "--seed", "1", "--sabotage", sabotage)["violations"]


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [11, 12])
def test_a_thousand_kills(tmp_path: Path, kind: str, seed: int) -> None:
    found = cluster(tmp_path, kind, "--rounds", "1000", "--seed", str(seed), patience=7000)
    assert not found["violations"], found["text"]
    assert len(found["kills"]) == 1000
    assert found["inside_commit"] >= 1 / 3


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_killed_writers(tmp_path: Path) -> None:
    log = torture(tmp_path, rounds=1000, seed=13)
    assert not log.violations, log


IN_A_FRESH_PROCESS = """
import sys
from pathlib import Path
import ZODB.FileStorage
from tests.torture.powerloss import Recorder
from wendelin.storage.database.files import FolderStorage, open_folder
place = Path(sys.argv[1])
Recorder(place / "journal").install()
"""


def in_a_fresh_process(place: Path, code: str) -> None:
    """Run code whose syncs are noted, and which ends as a killed process does."""
    command = [sys.executable, "-c", IN_A_FRESH_PROCESS + code + "\nimport os; os._exit(0)", str(place)]
    subprocess.run(command, cwd=ROOT, check=True)


def test_a_new_database_survives_a_power_failure_with_its_first_commit(tmp_path: Path) -> None:
    """The folder, those above it that were made with it, and what ZODB makes in it."""
    state = tmp_path / "state"
    state.mkdir()
    in_a_fresh_process(tmp_path, "open_folder(place / 'state/new/deep/plant', with_root=True)")
    lose_unsynced(state, tmp_path / "journal")
    folder = state / "new" / "deep" / "plant"
    assert (folder / "blobs" / ".layout").read_text() == "bushy"
    storage = FolderStorage(folder)
    assert storage.lastTransaction() != bytes(8)
    storage.close()


@pytest.mark.parametrize("moment", ["at its end", "before its renames are on the disk"])
def test_packing_survives_a_power_failure(tmp_path: Path, moment: str) -> None:
    """ZODB syncs neither the packed file nor the directory in which it takes the place of the old one."""
    state = tmp_path / "state"
    state.mkdir()
    stop = "FolderStorage._initIndex = lambda *_: os._exit(0)" if moment.startswith("before") else ""
    in_a_fresh_process(
        tmp_path,
        "import os, time, transaction\n"
        "from wendelin.storage.database.connection import DB\n"
        "db = DB(open_folder(place / 'state/plant', with_root=True))\n"
        "root = db.open().root()\n"
        "for n in range(5):\n"
        "    root['n'] = n\n"
        "    transaction.commit()\n"
        f"{stop}\n"
        "db.pack(time.time() + 1)\n",
    )
    lose_unsynced(state, tmp_path / "journal")
    in_a_fresh_process(
        tmp_path,
        "from wendelin.storage.database.connection import DB\n"
        "assert DB(open_folder(place / 'state/plant')).open().root()['n'] == 4",
    )


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_kill_between_the_renames_of_packing_loses_nothing(tmp_path: Path, killed_at: int) -> None:
    """ZODB takes what is left for a new database, and removes all blobs."""
    code = (
        "import os, time, transaction, wendelin\n"
        "from wendelin.storage.database.connection import DB\n"
        "db = DB(open_folder(place / 'plant', with_root=True))\n"
        "root = db.open().root()\n"
        "root['a'] = wendelin.ZBigArray((100_000,), 'i8')\n"
        "for n in range(5):\n"
        "    root['a'][:] = n\n"
        "    transaction.commit()\n"
        "left, rename = [KILLED_AT], os.rename\n"
        "def kill(*names):\n"
        "    left[0] -= 'Data.fs' in str(names[0])\n"
        "    left[0] or os.kill(os.getpid(), 9)\n"
        "    rename(*names)\n"
        "os.rename = kill\n"
        "db.pack(time.time() + 1)\n"
    ).replace("KILLED_AT", str(killed_at))
    with pytest.raises(subprocess.CalledProcessError, match="SIGKILL"):
        in_a_fresh_process(tmp_path, code)
    folder = tmp_path / "plant"
    assert (folder / "Data.fs").exists() == (killed_at != 2)
    # The third is that of the new index: the old one, of positions in the file that was packed, is gone.
    assert not (folder / "Data.fs.index").exists()
    connection = wendelin.connect(f"file://{folder}")
    array = connection.root()["a"]
    assert array[:].min() == array[:].max() == 4
    connection.db().pack()
    assert array[:].min() == 4
    connection.close()


def test_blobs_whose_database_is_gone_are_not_removed(tmp_path: Path) -> None:
    connection = wendelin.connect(f"file://{tmp_path}/plant")
    connection.root()["a"] = wendelin.ZBigArray((100_000,), "i8")
    connection.root()["a"][:] = 4
    transaction.commit()
    connection.close()
    data = tmp_path / "plant" / "Data.fs"
    data.rename(tmp_path / "backup")
    with pytest.raises(ResourceError, match=r"Data\.fs' is missing, but .*holds the arrays .*backup"):
        wendelin.connect(f"file://{tmp_path}/plant")
    (tmp_path / "backup").rename(data)
    connection = wendelin.connect(f"file://{tmp_path}/plant")
    assert connection.root()["a"][:].sum() == 400_000
    connection.close()


def test_directories_that_others_made_are_synced_too(tmp_path: Path) -> None:
    """With a shared folder of blobs, a client makes the directory and the server has to sync it, up to the root."""
    root = tmp_path / "blobs"
    folder = root / "a" / "b" / "c"
    folder.mkdir(parents=True)
    recorder = Recorder(tmp_path / "journal")
    directories = Directories(root)
    synced: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wendelin.storage.database.durable.sync_directory", lambda path: synced.append(path.name))
        directories.sync(folder)
        assert synced == ["c", "b", "a", "blobs"]
    del recorder


def test_what_was_moved_and_not_synced_is_back_where_it_was(tmp_path: Path) -> None:
    """The model itself: a name that no sync saw is lost, a move that no sync saw is undone."""
    state, journal = tmp_path / "state", tmp_path / "journal"
    state.mkdir()
    (state / "old").write_text("old")
    recorder = Recorder(journal)
    recorder.note_all(state)
    (state / "old").rename(state / "moved")
    (state / "new").write_text("new")
    (state / "grown").write_text("x")
    assert sorted(lose_unsynced(state, journal)) == [
        f"entry {state}/grown",
        f"entry {state}/moved",
        f"entry {state}/new",
        f"move of {state}/old to moved",
    ]
    assert [path.name for path in state.iterdir()] == ["old"]
    assert (state / "old").read_text() == "old"
