"""Verifying, backing up and restoring every kind of storage; bits are flipped in each kind's own files."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from ZODB.FileStorage import FileStorage

import wendelin
from tests.storage.database.servers import zeo_server
from tests.storage.integrity.conftest import everything, fill, flip
from wendelin.storage.integrity.backup import backup
from wendelin.storage.integrity.restore import restore
from wendelin.storage.integrity.verify import verify


def contents(url: str) -> dict[str, bytes]:
    conn = wendelin.connect(url, read_only=True)
    try:
        return everything(conn)
    finally:
        conn.close()


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["", "?shared_blob_dir={}/blobs"])
def test_a_zeo_server(tmp_path: Path, parameters: str) -> None:
    """Restored into an empty server, verified over the wire, and a blob of the server's is damaged."""
    fill(f"file://{tmp_path}/db", turns=2)
    backup(tmp_path / "copies", f"file://{tmp_path}/db")
    with tempfile.TemporaryDirectory(prefix="w-") as short, zeo_server(Path(short)) as server:
        url = server.url + parameters.format(server.folder)
        restore(tmp_path / "copies", url)
        assert contents(url) == contents(f"file://{tmp_path}/db")
        report = verify(url)
        assert report.damages == []
        assert report.blobs > 3
        with closing(FileStorage(f"{server.folder}/Data.fs", read_only=True)) as file:  # reads it from end to end
            assert len(file) == len(file._index) > 5
        assert backup(tmp_path / "again", url).transactions > 5
        assert verify(f"file://{tmp_path}/again").damages == []
        blob = max((Path(server.folder) / "blobs").rglob("*.blob"), key=lambda path: path.stat().st_size)
        flip(blob, blob.stat().st_size // 2, 2)
        damages = verify(url).damages
        assert len(damages) == 1, "\n".join(map(str, damages))
        (damage,) = damages
        assert damage.problem == "a blob is damaged"
        found = ("array 'plant/power': rows", "plant/flags", "earlier state", "no name of an array leads to")
        assert any(words in damage.of for words in found)
        flip(blob, blob.stat().st_size // 2, 2)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # RelStorage leaves connections open to what it cannot read
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # which shows as one of these
def test_a_flipped_bit_of_sqlite_is_found_or_changes_nothing(tmp_path: Path) -> None:
    """Unused room in its pages has no meaning, so nothing can be said of it."""
    url = f"sqlite://{tmp_path}/db"
    fill(url, turns=2)
    wanted = contents(url)
    file = tmp_path / "db/main.sqlite3"
    rng = np.random.default_rng(3)
    found = 0
    for at in rng.integers(100, file.stat().st_size, 25).tolist():
        bit = int(rng.integers(0, 8))
        flip(file, at, bit)
        if verify(url, restart=True).damages:
            found += 1
        else:
            assert contents(url) == wanted, at
        flip(file, at, bit)
    assert found > 3
    assert verify(url).damages == []
