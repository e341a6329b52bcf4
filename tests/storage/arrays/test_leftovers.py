"""What killed processes leave in a database's folder is removed by the next writer; what living ones make is not."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.storage.arrays.conftest import open_folder
from tests.storage.database.children import Child, children
from wendelin.storage.arrays import leftovers
from wendelin.storage.arrays.leftovers import new_file, remove_leftovers

SPILLS = """
import os, transaction, wendelin
os.environ["WENDELIN_MEMORY_BUDGET"] = "2MB"
connection = wendelin.connect("local://{folder}/db")
root = connection.root()
"""

WRITE = "root['{name}'] = wendelin.ZBigArray((1 << 20,), 'i8'); root['{name}'][:] = {value}"


@pytest.fixture(autouse=True)
def detector() -> None:
    """Nothing here has to do with the way of finding written pages."""


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("segment-*")) | set(folder.rglob(".owner-*"))


def spilling(child: Child, home: Path, name: str, value: int) -> set[Path]:
    before = files(home)
    child.do(SPILLS.format(folder=home))
    child.do(WRITE.format(name=name, value=value))
    return files(home) - before


def test_the_next_writer_removes_what_a_killed_one_left(wendelin_home: Path) -> None:
    with children(3) as (killed, alive, next_one):
        for child in (killed, alive):
            child.do(SPILLS.format(folder=wendelin_home))
            child.do("root._p_activate(); transaction.commit()")
        left = spilling(killed, wendelin_home, "killed", 1)
        kept = spilling(alive, wendelin_home, "alive", 2)
        assert len(left) >= 2
        assert len(kept) >= 2
        killed.kill_group()
        assert left <= files(wendelin_home)
        spilling(next_one, wendelin_home, "next", 3)
        assert not left & files(wendelin_home)
        assert kept <= files(wendelin_home)
        for child in (alive, next_one):
            child.do("transaction.commit()")
        assert next_one.do("", "[int(root[name][:].sum()) >> 20 for name in ('alive', 'next')]") == [2, 3]
        for child in (alive, next_one):
            child.do("transaction.abort(); connection.close()")
            child.end()
    assert files(wendelin_home) == set()


def test_an_owner_ends_with_the_last_of_its_files(tmp_path: Path) -> None:
    made = [new_file(str(tmp_path)) for _ in range(2)]
    assert len(list(tmp_path.glob(".owner-*"))) == 1
    remove_leftovers(str(tmp_path))
    assert len(files(tmp_path)) == 3
    for found in made:
        os.close(found[0])
    del found
    made.pop()
    gc.collect()
    assert len(list(tmp_path.glob(".owner-*"))) == 1
    made.clear()
    gc.collect()
    assert list(tmp_path.glob(".owner-*")) == []


def test_a_forked_child_leaves_its_parents_files_and_has_its_own_owner(tmp_path: Path) -> None:
    fd, path = new_file(str(tmp_path))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            own = new_file(str(tmp_path))[1].owner
            status = 0 if own is not path.owner and os.path.exists(path) else 2  # noqa: PTH110
        finally:
            os._exit(status)  # as if it was killed
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(files(tmp_path)) == 4
    remove_leftovers(str(tmp_path))
    assert {path for path in files(tmp_path) if path.name.startswith("segment-")} == {Path(path)}
    os.close(fd)


def test_nothing_is_removed_where_locks_of_other_machines_do_not_show(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ".owner-dead").touch()
    (tmp_path / "segment-dead-1").touch()
    monkeypatch.setattr(leftovers, "is_remote", lambda folder: True)
    remove_leftovers(str(tmp_path))
    assert len(files(tmp_path)) == 2
    monkeypatch.undo()
    remove_leftovers(str(tmp_path))
    assert files(tmp_path) == set()


def test_a_server_that_starts_removes_what_was_being_sent_to_a_killed_one(tmp_path: Path) -> None:
    open_folder(tmp_path / "db").close()
    sent, spilled = (tmp_path / "db" / "blobs" / "tmp" / name for name in ("tmpab1_xyz2", "segment-1-2"))
    for path in (sent, spilled):
        path.touch()
    open_folder(tmp_path / "db").close()
    assert not sent.exists()
    assert spilled.exists(), "a client of a shared folder may be at work"
