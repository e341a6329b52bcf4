"""A client's cache of blobs: what killed clients and power failures left in it is not trusted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import transaction

import wendelin
from tests.storage.database.children import Child, children
from tests.storage.database.servers import ZeoServer, wait_until, zeo_server
from wendelin.storage.database import blobcache
from wendelin.storage.database.blobcache import take_over

MIB = 1 << 20
RIGHT = "bool((c.root()['a'][:] == np.arange(3 << 20) % 251).all())"

CONNECT = "import wendelin, transaction; c = wendelin.connect('{url}?blob_dir={cache}')"

SLOW = """
import time
from wendelin.storage.database.client import ZeoStorage
received = ZeoStorage.receiveBlobChunk
def half(*arguments):
    received(*arguments)
    time.sleep(1000)
ZeoStorage.receiveBlobChunk = half
"""


@pytest.fixture
def server(wendelin_home: Path) -> Iterator[ZeoServer]:
    """With an array of three megabytes in it."""
    with zeo_server(wendelin_home / "z") as found:
        connection = wendelin.connect(f"{found.url}?blob_dir={wendelin_home}/first")
        connection.root()["a"] = wendelin.ZBigArray((3 * MIB,), "u1")
        connection.root()["a"][:] = np.arange(3 * MIB) % 251
        transaction.commit()
        connection.close()
        yield found


@pytest.fixture
def cache(wendelin_home: Path) -> Path:
    return wendelin_home / "cache-of-blobs"


def unfinished(cache: Path) -> list[Path]:
    return [path for path in cache.glob("*/*.dl") if path.stat().st_size]


def killed_in_the_middle(child: Child, server: ZeoServer, cache: Path) -> None:
    child.do(SLOW)
    child.do(CONNECT.format(url=server.url, cache=cache))
    child.send("", "int(c.root()['a'][:].sum())")
    wait_until(lambda: unfinished(cache), "the download to begin")


def test_a_download_that_was_killed_is_begun_anew(server: ZeoServer, cache: Path) -> None:
    """By a client that runs already; with ZEO's own the bytes would come behind those of the dead one."""
    with children(2) as (first, second):
        second.do(CONNECT.format(url=server.url, cache=cache))
        killed_in_the_middle(first, server, cache)
        first.kill_group()
        assert unfinished(cache)
        assert second.do("import numpy as np", RIGHT)
        assert not unfinished(cache)


def test_who_opens_the_cache_removes_what_dead_clients_left_only(server: ZeoServer, cache: Path) -> None:
    with children(3) as (first, second, third):
        killed_in_the_middle(first, server, cache)
        second.do(CONNECT.format(url=server.url, cache=cache))
        assert unfinished(cache), "who downloads it lives"
        first.kill_group()
        third.do(CONNECT.format(url=server.url, cache=cache))
        assert not list(cache.glob("*/*.dl"))


@pytest.mark.parametrize("left", [0, MIB, 3 * MIB])
def test_after_a_restart_of_the_machine_blobs_come_anew(
    server: ZeoServer, cache: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """A power failure may leave zeros, fewer bytes, or none, of what was not synced."""
    connection = wendelin.connect(f"{server.url}?blob_dir={cache}")
    assert (connection.root()["a"][:] == np.arange(3 * MIB) % 251).all()
    connection.close()
    for blob in cache.glob("*/*.blob"):
        blob.chmod(0o600)
        blob.write_bytes(bytes(left))
    monkeypatch.setattr(blobcache, "boot_id", lambda: b"the next start of this machine".ljust(36))
    connection = wendelin.connect(f"{server.url}?blob_dir={cache}")
    assert (connection.root()["a"][:] == np.arange(3 * MIB) % 251).all()
    kept = list(cache.glob("*/*.blob"))
    connection.close()
    connection = wendelin.connect(f"{server.url}?blob_dir={cache}")
    assert list(cache.glob("*/*.blob")) == kept != []
    connection.close()


def test_a_folder_of_blobs_that_is_no_cache_is_left_alone(tmp_path: Path) -> None:
    """Somebody named the server's own folder, and forgot to say that it is shared."""
    (tmp_path / ".layout").write_text("bushy")
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "3.blob").write_bytes(b"x")
    (tmp_path / "12" / "3.blob.dl").write_bytes(b"x")
    take_over(tmp_path)
    assert sorted(path.name for path in (tmp_path / "12").iterdir()) == ["3.blob", "3.blob.dl"]
