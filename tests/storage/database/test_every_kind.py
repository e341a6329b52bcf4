"""What all kinds of databases promise beside the contract of storages (see tests/storage/test_contract.py)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.POSException import ReadOnlyError

import wendelin
from tests.storage.database.children import Failed, children
from tests.storage.database.servers import PostgresqlServer, postgresql_server, zeo_server
from wendelin.storage.database import TransactionInfo, last_transactions, past, watch
from wendelin.storage.errors import UnavailableError
from wendelin.storage.pickling import dumps, loads

KINDS = [
    "local",
    "file",
    pytest.param("sqlite", marks=pytest.mark.slow),
    pytest.param("zeo-socket", marks=pytest.mark.slow),
    pytest.param("zeo-tcp", marks=pytest.mark.slow),
    pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql]),
]
SHARED = [kind for kind in KINDS if kind != "file"]


@pytest.fixture(scope="module", autouse=True)
def postgresql(tools: dict[str, str | None]) -> Iterator[PostgresqlServer | None]:
    """One for the module, set up before the tests' own fixtures, which end what a test starts."""
    if tools.get("postgres_bin") is None:
        yield None
        return
    with postgresql_server(tools["postgres_bin"]) as server:
        yield server


@pytest.fixture
def url(kind: str, wendelin_home: Path, postgresql: PostgresqlServer | None) -> Iterator[str]:
    """A fresh database of each kind."""
    if kind in ("local", "file", "sqlite"):
        yield f"{kind}://{wendelin_home}/plant"
    elif kind == "postgresql":
        assert postgresql is not None
        name = f"db{postgresql.psql('SELECT count(*) FROM pg_database')}"
        postgresql.psql(f"CREATE DATABASE {name}")
        yield postgresql.url(name)
    else:
        with zeo_server(wendelin_home / "z", tcp=kind == "zeo-tcp") as zeo:
            yield zeo.url


@pytest.fixture
def conn(url: str) -> Iterator[Any]:
    connection = wendelin.connect(url)
    yield connection
    transaction.abort()
    connection.close()


@pytest.mark.parametrize("kind", KINDS)
def test_read_only_is_enforced_by_the_storage(url: str, conn: Any) -> None:
    conn.root()["x"] = wendelin.ZBigArray((4,), "f8")
    transaction.commit()
    manager = transaction.TransactionManager()
    reader = wendelin.connect(url, read_only=True, transaction_manager=manager)
    assert reader.read_only
    assert reader.isReadOnly()
    assert not conn.read_only
    assert reader.db() is not conn.db()
    with pytest.raises((ValueError, ReadOnlyError)):
        reader.root()["x"][0] = 1
    manager.abort()
    reader.root()["y"] = 1
    with pytest.raises(ReadOnlyError):
        manager.commit()
    manager.abort()
    reader.close()
    transaction.begin()
    assert list(conn.root()) == ["x"]


@pytest.mark.parametrize("kind", SHARED)
def test_a_reader_follows_the_writer(url: str, conn: Any) -> None:
    conn.root()["x"] = wendelin.ZBigArray((4,), "f8")
    transaction.commit()
    manager = transaction.TransactionManager()
    reader = wendelin.connect(url, read_only=True, transaction_manager=manager)
    view = reader.root()["x"][...]
    conn.root()["x"][1] = 5
    transaction.commit()
    assert view[1] == 0
    manager.begin()
    assert view[1] == 5
    manager.abort()
    reader.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "local"])
def test_an_empty_database_has_nothing_to_read(url: str) -> None:
    with pytest.raises(UnavailableError, match=r"to read; .*wendelin\.connect\('"):
        wendelin.connect(url, read_only=True)
    # The failed attempt leaves nothing locked or half made.
    wendelin.connect(url).close()
    reader = wendelin.connect(url, read_only=True)
    assert list(reader.root()) == []
    reader.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_transactions_are_told_newest_first(conn: Any) -> None:
    start = datetime.now(UTC) - timedelta(seconds=5)
    for n in range(5):
        conn.root()["n"] = n
        transaction.get().note(f"grüße {n}")
        if n == 4:
            transaction.get().setUser("ada")
        transaction.commit()
    found = last_transactions(conn, 3)
    assert [info.note for info in found] == ["grüße 4", "grüße 3", "grüße 2"]
    assert found[0].user.split() in (["ada"], ["/", "ada"])
    assert [len(info.tid) for info in found] == [8, 8, 8]
    assert found[0].tid > found[1].tid > found[2].tid
    assert start < found[2].time < found[0].time <= datetime.now(UTC) + timedelta(seconds=5)
    assert all(info.size is None or info.size > 50 for info in found)
    assert isinstance(found[0], TransactionInfo)
    assert "'grüße 4'" in repr(found[0])
    assert "UTC" in repr(found[0])
    assert len(last_transactions(conn)) == 6  # with the one that made the root
    assert last_transactions(conn, 0) == []
    with pytest.raises(ValueError, match="n is -1"):
        last_transactions(conn, -1)


@pytest.mark.parametrize("kind", SHARED)
def test_a_watcher_hears_commits_of_other_processes(url: str, conn: Any) -> None:
    conn.root()["x"] = 0
    transaction.commit()
    heard = threading.Event()
    stop = watch(conn.db(), heard.set)
    with children() as [child]:
        child.do(f"import wendelin, transaction; c = wendelin.connect({url!r})")
        for n in (1, 2):
            heard.clear()
            child.do(f"transaction.begin(); c.root()['x'] = {n}; transaction.commit()")
            assert heard.wait(60)
            transaction.begin()
            assert conn.root()["x"] == n
        stop()
        heard.clear()
        child.do("c.root()['x'] = 3; transaction.commit()")
        transaction.begin()
        assert conn.root()["x"] == 3
        assert not heard.is_set()
    stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_watcher_hears_commits_of_its_own_process(url: str, conn: Any) -> None:
    heard = threading.Event()
    stop = watch(conn.db(), heard.set)
    other = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    other.root()["x"] = 0
    other.transaction_manager.commit()
    assert heard.wait(60)
    heard.clear()
    conn.sync()
    conn.root()["x"] = 1
    transaction.commit()
    assert heard.wait(60)
    other.close()
    stop()


@pytest.mark.parametrize("kind", ["local", "file"])
def test_a_failing_watcher_harms_nothing(url: str, conn: Any, caplog: pytest.LogCaptureFixture) -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("a watcher's own mistake")

    stop = watch(conn.db(), fail)
    with contextlib.closing(wendelin.connect(url, transaction_manager=transaction.TransactionManager())) as other:
        other.root()["x"] = 1
        other.transaction_manager.commit()
        assert failed.wait(60)
    conn.sync()
    assert conn.root()["x"] == 1
    assert "a callback of watch() failed" in caplog.text
    stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_is_sent_by_reference(kind: str, url: str, conn: Any) -> None:
    """Another process opens the state that was sent, also when it knew the database before."""
    array = conn.root()["a"] = wendelin.ZBigArray((1000, 8), "f8")
    with children() as [child]:
        child.do("import os, pickle")
        data = b""
        for number in range(3):
            array[:] = np.arange(8000).reshape(1000, 8) + number
            transaction.commit()
            data = dumps([array[::2], array])
            assert len(data) < 1000
            array[:] = -1
            transaction.commit()
            child.do(f"data = bytes.fromhex({data.hex()!r})")
            if kind == "postgresql" and number == 0:
                with pytest.raises(Failed, match=r"carries no password: set \$PGPASSWORD"):
                    child.do("pickle.loads(data)")
                child.do(f"os.environ['PGPASSWORD'] = {PostgresqlServer.password!r}")
            child.do("view, array = pickle.loads(data)")
            assert (
                child.do("", "[view[:3, 0].tolist(), array[0:6:2, 0].tolist()]")
                == [[number + n for n in (0, 16, 32)]] * 2
            )
        assert child.end() == 0
    assert loads(data)[0][1, 1] == 19  # the password is known here
    past.forget()
