"""A real PostgreSQL behind RelStorage."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import transaction
from ZODB.POSException import StorageError

import wendelin
from tests.storage.database.servers import PostgresqlServer, free_port, postgresql_server
from wendelin.storage.errors import MissingPackageError, ServerGoneError

pytestmark = [pytest.mark.slow, pytest.mark.postgresql, pytest.mark.usefixtures("wendelin_home")]


@pytest.fixture(scope="module")
def server(tools: dict[str, str | None]) -> Iterator[PostgresqlServer]:
    with postgresql_server(tools["postgres_bin"]) as found:
        found.psql("CREATE DATABASE plant")
        yield found


def test_a_socket_folder_is_a_parameter(server: PostgresqlServer) -> None:
    tcp = server.url("plant")
    by_socket = tcp.replace(f"127.0.0.1:{server.port}", f":{server.port}") + f"?host={server.sockets}"
    connection = wendelin.connect(by_socket)
    connection.root()["x"] = 1
    transaction.commit()
    connection.close()
    connection = wendelin.connect(tcp)
    assert connection.root()["x"] == 1
    connection.close()


def test_the_password_is_nowhere_to_be_seen(server: PostgresqlServer) -> None:
    connection = wendelin.connect(server.url("plant"))
    storage = connection.db().storage
    assert connection.url == f"postgresql://wendelin@127.0.0.1:{server.port}/plant"
    shown = [
        connection.url,
        repr(connection),
        repr(connection.db()),
        storage.getName(),
        repr(storage),
        storage.sortKey(),
    ]
    assert not [text for text in shown if "geheim" in str(text)]
    connection.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "geheim-wrong"}, "password authentication failed"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
        ({"port": True}, "refused"),
    ],
)
def test_what_postgresql_refuses_is_told_without_the_password(
    change: dict[str, str], reason: str, server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url(change.get("database", "plant"), password=change.get("password"))
    if "port" in change:
        url = url.replace(str(server.port), str(free_port()))
    with pytest.raises(ServerGoneError, match=reason) as caught:
        wendelin.connect(url)
    assert "Check host, port, user, password and database" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "geheim" not in caplog.text
    assert caught.value.__cause__ is None


def test_blobs_go_to_a_shared_folder_or_into_the_database(server: PostgresqlServer, tmp_path: Path) -> None:
    for name, parameters in (("inside", f"?blob_dir={tmp_path}/cache"), ("shared", f"?shared_blob_dir={tmp_path}/all")):
        server.psql(f"CREATE DATABASE {name}")
        connection = wendelin.connect(server.url(name, parameters=parameters))
        connection.root()["a"] = wendelin.ZBigArray((3_000_000,), "u1")
        connection.root()["a"][:] = 7
        transaction.commit()
        connection.close()
    assert int(server.psql("SELECT count(*) FROM blob_chunk", "inside")) > 0
    assert int(server.psql("SELECT count(*) FROM blob_chunk", "shared")) == 0
    assert sum(file.stat().st_size for file in (tmp_path / "all").rglob("*.blob")) >= 3_000_000


def test_a_restarted_postgresql_serves_the_same_connection(server: PostgresqlServer) -> None:
    connection = wendelin.connect(server.url("plant"))
    connection.root()["x"] = 1
    transaction.commit()
    server.kill()
    server.start()
    # RelStorage notices the lost connection by an error, and reconnects for the next transaction.
    for _ in range(5):
        with contextlib.suppress(psycopg2.Error, StorageError):
            transaction.begin()
            connection.root()["x"] = 2
            transaction.commit()
            break
        transaction.abort()
    transaction.begin()
    assert connection.root()["x"] == 2
    connection.close()


def test_a_missing_package_comes_with_the_install_sentence(server: PostgresqlServer) -> None:
    code = (
        "import sys; sys.modules['relstorage'] = sys.modules['relstorage.options'] = None\n"
        "import wendelin\n"
        f"try: wendelin.connect({server.url('plant')!r})\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(MissingPackageError.__name__)
    assert "needs the package relstorage" in done.stdout
    assert "pip install 'wendelin-workbench[postgresql]'" in done.stdout
    assert "geheim" not in done.stdout
