"""Every storage that Wendelin opens, and any other of ZODB's, keeps the contract."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from ZEO.ClientStorage import ClientStorage
from ZODB.FileStorage import FileStorage

from tests.storage.database.servers import PostgresqlServer, ZeoServer, postgresql_server, zeo_server
from wendelin.storage.database import ondemand
from wendelin.storage.database.connection import DB
from wendelin.testing import Opener, StorageContract

Folder = pytest.TempPathFactory


class TestFileStorage(StorageContract):
    several_processes = False

    def make_url(self) -> str:
        return f"file://{self.folder}/plant"


@pytest.mark.slow
class TestLocal(StorageContract):
    """A server that starts on demand."""

    def make_url(self) -> str:
        folder = self.folder / "plant"
        self.enter_context(_stopping(folder))
        return f"local://{folder}"


@contextlib.contextmanager
def _stopping(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        ondemand.stop(folder)


@pytest.fixture(scope="class")
def zeo(short: Path) -> Iterator[ZeoServer]:
    with zeo_server(short, tcp=True) as server:
        yield server


@pytest.fixture(scope="class")
def short() -> Iterator[Path]:
    """A folder for sockets."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.slow
class TestZeoWithOneFolderOfBlobs(StorageContract):
    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, zeo: ZeoServer) -> None:
        cls.url = f"{zeo.url}?shared_blob_dir={zeo.folder}/blobs"

    url: str

    def make_url(self) -> str:
        return self.url


@pytest.mark.slow
class TestZeoWithBlobsOverTheWire(StorageContract):
    url: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, zeo: ZeoServer) -> None:
        cls.url = zeo.url

    def make_url(self) -> str:
        return self.url


@pytest.mark.slow
class TestSqlite(StorageContract):
    def make_url(self) -> str:
        return f"sqlite://{self.folder}/plant"


@pytest.fixture(scope="module")
def postgresql(tools: dict[str, str | None]) -> Iterator[PostgresqlServer]:
    with postgresql_server(tools["postgres_bin"]) as server:
        yield server


@pytest.mark.slow
@pytest.mark.postgresql
class TestPostgresqlWithOneFolderOfBlobs(StorageContract):
    url: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, postgresql: PostgresqlServer, short: Path) -> None:
        postgresql.psql("CREATE DATABASE shared")
        cls.url = postgresql.url("shared", parameters=f"?shared_blob_dir={short}/blobs")

    def make_url(self) -> str:
        return self.url


@pytest.mark.slow
@pytest.mark.postgresql
class TestPostgresqlWithBlobsInTheDatabase(StorageContract):
    url: str

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, postgresql: PostgresqlServer, short: Path) -> None:
        postgresql.psql("CREATE DATABASE inside")
        cls.url = postgresql.url("inside", parameters=f"?blob_dir={short}/cache")

    def make_url(self) -> str:
        return self.url


@pytest.mark.slow
class TestFileStorageWithoutBlobs(StorageContract):
    several_processes = False
    blobs = False

    def make_opener(self) -> Opener:
        return functools.partial(_open_file, str(self.folder / "Data.fs"))


def _open_file(path: str, *, read_only: bool = False) -> DB:
    return DB(FileStorage(path, read_only=read_only))


@pytest.mark.slow
class TestZeoWithoutBlobs(StorageContract):
    """As NEO: objects only, over the wire."""

    blobs = False
    address: tuple[str, int]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def server(cls, short: Path) -> Iterator[None]:
        with zeo_server(short, tcp=True, blobs=False) as server:
            assert isinstance(server.address, tuple)
            cls.address = server.address
            yield

    def make_opener(self) -> Opener:
        return functools.partial(_open_zeo, self.address)


def _open_zeo(address: tuple[str, int], *, read_only: bool = False) -> DB:
    return DB(ClientStorage(address, read_only=read_only, server_sync=True))
