"""Backups: incremental, of every kind of database, whole after a kill, restored as any kind, never over anything."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import transaction
from click.testing import CliRunner, Result

import wendelin
from tests.storage.database.servers import postgresql_server
from tests.storage.integrity.conftest import everything, fill, flip
from wendelin.storage.cli import main
from wendelin.storage.database.status import stop
from wendelin.storage.errors import NameTakenError, SourceError
from wendelin.storage.integrity.backup import backup
from wendelin.storage.integrity.restore import restore
from wendelin.storage.integrity.verify import verify


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["db", *words])


def contents(url: str) -> dict[str, bytes]:
    conn = wendelin.connect(url, read_only=True)
    try:
        return everything(conn)
    finally:
        conn.close()


def change(url: str, value: int) -> None:
    conn = wendelin.connect(url)
    conn.root()["plant/power"][:100] = value
    conn.root()["turn new"] = value
    transaction.commit()
    conn.close()


@pytest.mark.parametrize("kind", ["file", "local", "sqlite"])
def test_a_backup_is_brought_up_to_date_and_restored_as_another_kind(tmp_path: Path, kind: str) -> None:
    url, copies = f"{kind}://{tmp_path}/db", tmp_path / "copies"
    fill(url, turns=3)
    try:
        first = run("backup", str(copies), url, "--verify")
        assert first.exit_code == 0, first.output
        assert "is sound" in first.output
        change(url, 7)
        done = backup(copies, url)
        assert done.transactions == 1
        assert backup(copies, url).transactions == 0
        wanted = contents(url)
        assert contents(f"file://{copies}") == wanted
        for other in {"file", "sqlite", "local"} - {kind}:
            target = f"{other}://{tmp_path}/{other}-again"
            assert run("restore", str(copies), target).exit_code == 0
            assert contents(target) == wanted
            assert verify(target).damages == []
            change(target, 8)
            stop(target) if other == "local" else None
    finally:
        stop(url) if kind == "local" else None


@pytest.mark.slow
@pytest.mark.postgresql
def test_postgresql_is_backed_up_verified_and_restored(tmp_path: Path, tools: dict[str, str | None]) -> None:
    copies = tmp_path / "copies"
    fill(f"file://{tmp_path}/db", turns=2)
    backup(copies, f"file://{tmp_path}/db")
    with postgresql_server(tools["postgres_bin"]) as server:
        for name, parameters in (("wire", ""), ("shared", f"?shared_blob_dir={tmp_path}/blobs")):
            server.psql(f"CREATE DATABASE {name}")
            url = server.url(name, parameters=parameters)
            restore(copies, url)
            assert contents(url) == contents(f"file://{tmp_path}/db")
            report = verify(url)
            assert report.damages == []
            assert report.blobs > 3
            server.psql(
                "UPDATE object_state SET state = set_bit(state, 77, 1 - get_bit(state, 77)) WHERE zoid = 0", name
            )
            damages = verify(url).damages
            assert {damage.problem for damage in damages} == {"a record is damaged"}
            assert any("'/' itself" in damage.of for damage in damages)


def test_a_killed_backup_leaves_a_sound_one_and_goes_on(tmp_path: Path) -> None:
    url, copies = f"file://{tmp_path}/db", tmp_path / "copies"
    fill(url)
    code = """
import os, signal, sys
from pathlib import Path
from wendelin.storage.integrity.{module} import {name}
seen = 0
def progress(done, total):
    global seen
    seen += 1
    if seen == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
{name}(Path({folder!r}), {url!r}, progress=progress)
"""
    for at in (9, 14, 17):
        words = {"module": "backup", "name": "backup", "at": at, "folder": str(copies), "url": url}
        done = subprocess.run([sys.executable, "-c", code.format(**words)], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert verify(f"file://{copies}").damages == []
    backup(copies, url)
    assert contents(f"file://{copies}") == contents(url)
    assert not list((copies / "blobs/tmp").glob("copied-*"))
    target = f"sqlite://{tmp_path}/again"
    for at in (9, 20):
        words = {"module": "restore", "name": "restore", "at": at, "folder": str(copies), "url": target}
        done = subprocess.run([sys.executable, "-c", code.format(**words)], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    restore(copies, target)
    assert contents(target) == contents(url)


def test_what_is_packed_away_stays_in_the_backup(tmp_path: Path) -> None:
    url, copies = f"file://{tmp_path}/db", tmp_path / "copies"
    fill(url, turns=2)
    before = backup(copies, url)
    conn = wendelin.connect(url)
    conn.db().pack()
    conn.close()
    change(url, 3)
    assert backup(copies, url).transactions == 1
    assert contents(f"file://{copies}") == contents(url)
    assert verify(f"file://{copies}").transactions == before.transactions + 1


def test_a_backup_while_others_commit_is_one_state(tmp_path: Path) -> None:
    url, copies = f"file://{tmp_path}/db", tmp_path / "copies"
    fill(url, turns=2)
    conn = wendelin.connect(url)
    count = 0

    def commit_more(done: int, total: int | None) -> None:
        nonlocal count
        count += 1
        conn.root()["plant/power"][count] = count
        transaction.commit()

    backup(copies, url, progress=commit_more)
    conn.close()
    assert count > 10
    assert verify(f"file://{copies}").damages == []
    backup(copies, url)
    assert contents(f"file://{copies}") == contents(url)


def test_nothing_is_overwritten_and_others_backups_are_refused(tmp_path: Path) -> None:
    url, copies = f"file://{tmp_path}/db", tmp_path / "copies"
    fill(url, turns=1)
    fill(f"file://{tmp_path}/other", turns=1)
    backup(copies, url)
    with pytest.raises(NameTakenError, match="nothing is overwritten"):
        restore(copies, f"file://{tmp_path}/other")
    with pytest.raises(SourceError, match="another one"):
        backup(copies, f"file://{tmp_path}/other")
    with pytest.raises(SourceError, match="no backup"):
        backup(tmp_path / "other", url)
    with pytest.raises(SourceError, match="itself"):
        backup(tmp_path / "db", url)
    with pytest.raises(SourceError, match="no backup"):
        restore(tmp_path / "db", f"file://{tmp_path}/new")
    assert run("restore", str(copies), f"file://{tmp_path}/other").exit_code == 2


def test_a_damaged_blob_is_told(tmp_path: Path) -> None:
    url, copies = f"file://{tmp_path}/db", tmp_path / "copies"
    fill(url, turns=1)
    flip(min((tmp_path / "db/blobs").rglob("*.blob")), 100, 1)
    done = run("backup", str(copies), url)
    assert done.exit_code == 3
    assert "a blob is damaged" in done.output
