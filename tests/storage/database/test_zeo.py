"""ZEO servers that somebody else runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import transaction
from ZEO.Exceptions import ClientDisconnected

import wendelin
from tests.storage.database.children import children
from tests.storage.database.servers import fill, free_port, small_disk, zeo_server
from wendelin.storage.database import paths, watch
from wendelin.storage.errors import ServerGoneError, StorageFullError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("tcp", [True, False])
def test_a_killed_and_restarted_server_serves_the_same_connection(tcp: bool, wendelin_home: Path) -> None:
    with zeo_server(wendelin_home / "z", tcp=tcp) as server:
        connection = wendelin.connect(server.url + "?wait_timeout=2")
        connection.root()["a"] = wendelin.ZBigArray((10,), "f8")
        transaction.commit()
        view = connection.root()["a"][...]
        server.kill()
        with pytest.raises(ServerGoneError, match=r"does not answer: waited 2 s .*Connection refused") as caught:
            transaction.begin()
        assert isinstance(caught.value, ClientDisconnected)
        assert "Check that a ZEO server listens at" in str(caught.value)
        server.start()
        transaction.begin()
        view[3] = 5
        transaction.commit()
        with children() as [child]:
            child.do(f"import wendelin; c = wendelin.connect({server.url!r})")
            assert child.do("", "float(c.root()['a'][3])") == 5
        connection.close()


def test_a_watcher_hears_that_the_server_is_back(wendelin_home: Path) -> None:
    with zeo_server(wendelin_home / "z") as server:
        connection = wendelin.connect(server.url)
        heard = threading.Event()
        stop = watch(connection.db(), heard.set)
        server.kill()
        server.start()
        assert heard.wait(60)
        stop()
        connection.close()


def test_blobs_come_over_the_wire_into_a_cache_of_this_machine(wendelin_home: Path) -> None:
    with zeo_server(wendelin_home / "z", tcp=True) as server, children() as [child]:
        cache = wendelin_home / "theirs"
        child.do(f"import wendelin, transaction; c = wendelin.connect('{server.url}?blob_dir={cache}')")
        child.do("c.root()['a'] = wendelin.ZBigArray((3_000_000,), 'u1'); c.root()['a'][:] = 7; transaction.commit()")
        connection = wendelin.connect(server.url)
        assert connection.root()["a"][...].sum() == 21_000_000
        ours = paths.cache_folder(server.url) / "blobs"
        assert sum(file.stat().st_size for file in ours.rglob("*.blob")) >= 3_000_000
        assert sum(file.stat().st_size for file in cache.rglob("*.blob")) >= 3_000_000
        assert ours.stat().st_mode & 0o777 == 0o700
        connection.close()


def test_a_shared_folder_of_blobs_needs_no_copy(wendelin_home: Path) -> None:
    with zeo_server(wendelin_home / "z") as server:
        url = f"{server.url}?shared_blob_dir={server.folder}/blobs"
        connection = wendelin.connect(url)
        assert connection.url == url
        connection.root()["a"] = wendelin.ZBigArray((3_000_000,), "u1")
        connection.root()["a"][:] = 7
        transaction.commit()
        assert not (wendelin_home / "cache").exists()
        assert sum(file.stat().st_size for file in server.folder.rglob("*.blob")) >= 3_000_000
        connection.close()


@pytest.mark.parametrize("place", ["127.0.0.1:{port}", "{folder}/no.sock"])
def test_no_server_says_what_was_tried(place: str, wendelin_home: Path) -> None:
    url = "zeo://" + place.format(port=free_port(), folder=wendelin_home)
    with pytest.raises(ServerGoneError, match=r"waited 1 s \(.*(refused|No such file).*Check that a ZEO server"):
        wendelin.connect(f"{url}?wait_timeout=1")


def test_a_server_without_that_storage_is_told_from_no_server(wendelin_home: Path) -> None:
    with (
        zeo_server(wendelin_home / "z") as server,
        pytest.raises(ServerGoneError, match=r"accepts connections but not as this storage.*storage 'main'"),
    ):
        wendelin.connect(server.url + "?storage=main&wait_timeout=1")


def test_a_servers_full_disk_is_told_as_such(wendelin_home: Path) -> None:
    with small_disk(wendelin_home / "disk", megabytes=16) as disk, zeo_server(disk) as server:
        connection = wendelin.connect(server.url)
        connection.root()["x"] = 1
        transaction.commit()
        ballast = fill(disk, leave=64 << 10)
        connection.root()["x"] = os.urandom(1 << 20)
        with pytest.raises(StorageFullError, match="no room on the server's disk"):
            transaction.commit()
        transaction.abort()
        ballast.unlink()
        connection.root()["x"] = 2
        transaction.commit()
        connection.close()
