"""`wendelin.connect`: which databases a process has open, and for how long."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.storage.database.children import Failed, children
from wendelin.storage.errors import DatabaseLockedError, DatabaseURLError, UnavailableError


@pytest.fixture
def url(wendelin_home: Path) -> str:
    return f"file://{wendelin_home}/plant"


def test_connections_of_a_process_share_one_database(url: str) -> None:
    first = wendelin.connect(url)
    second = wendelin.connect(url + "/", transaction_manager=transaction.TransactionManager())
    assert first is not second
    assert first.db() is second.db()
    assert first.url == second.url == url
    first.close()
    assert list(second.root()) == []
    second.close()


def test_the_last_close_closes_the_database(url: str) -> None:
    first, second = wendelin.connect(url), wendelin.connect(url)
    first.close()
    with children() as [child]:
        code = f"import wendelin, transaction; c = wendelin.connect({url!r}); c.root()['x'] = 1; transaction.commit()"
        with pytest.raises(Failed, match="DatabaseLockedError"):
            child.do(code)
        second.close()
        child.do(code + "; c.close()")
        third = wendelin.connect(url)
        assert third.root()["x"] == 1
        third.close()


def test_connections_opened_through_the_database_count_too(url: str) -> None:
    first = wendelin.connect(url)
    db = first.db()
    with db.transaction() as other:
        other.root()["x"] = 1
    first.sync()
    assert first.root()["x"] == 1
    second = db.open(transaction.TransactionManager())
    first.close()
    assert second.root()["x"] == 1
    second.close()
    wendelin.connect(url).close()


def test_a_failed_open_leaves_nothing_behind(wendelin_home: Path, url: str) -> None:
    with pytest.raises(UnavailableError):
        wendelin.connect(url, read_only=True)
    assert not (wendelin_home / "plant").exists()
    wendelin.connect(url).close()


def test_the_default_comes_from_the_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_DB", url)
    connection = wendelin.connect()
    assert connection.url == url
    connection.close()
    monkeypatch.setenv("WENDELIN_DB", "plant")
    with pytest.raises(DatabaseURLError, match="WENDELIN_DB"):
        wendelin.connect()


def test_a_connection_joins_the_manager_it_is_given(url: str) -> None:
    ours = wendelin.connect(url)
    manager = transaction.TransactionManager()
    other = wendelin.connect(url, transaction_manager=manager)
    assert ours.transaction_manager is transaction.manager.manager  # this thread's
    assert other.transaction_manager is manager
    other.root()["x"] = 1
    transaction.commit()
    ours.sync()
    assert "x" not in ours.root()
    manager.commit()
    ours.sync()
    assert ours.root()["x"] == 1
    other.close()
    ours.close()


def test_threads_open_and_close_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                manager = transaction.TransactionManager()
                connection = wendelin.connect(url, transaction_manager=manager)
                connection.root()[f"{number}/{turn}"] = 1
                manager.commit()
                connection.close()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    connection = wendelin.connect(url)
    assert sum(1 for _ in connection.root().walk()) == 120
    connection.close()


def test_importing_wendelin_and_its_connect_is_cheap() -> None:
    heavy = "'ZODB', 'ZEO', 'numpy', 'relstorage', 'BTrees'"
    code = f"import sys, wendelin; wendelin.connect; print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


class TestFile:
    """file:// is for one process."""

    def test_another_process_is_named(self, url: str) -> None:
        with children() as [child]:
            child.do(f"import wendelin; c = wendelin.connect({url!r})")
            with pytest.raises(DatabaseLockedError) as caught:
                wendelin.connect(url)
            message = str(caught.value)
            assert f"process {child.pid} (" in message
            assert "python" in message
            assert f"wendelin.connect('{url}', read_only=True)" in message
            assert f"wendelin.connect('local{url[4:]}')" in message
            assert isinstance(caught.value, ConnectionError)

    def test_a_killed_process_leaves_no_lock(self, url: str) -> None:
        with children() as [child]:
            child.do(f"import wendelin, transaction; c = wendelin.connect({url!r}); c.root()['x'] = 1")
            child.do("transaction.commit()")
            child.kill_group()
            connection = wendelin.connect(url)
            assert connection.root()["x"] == 1
            connection.close()

    def test_a_served_folder_names_its_server(self, wendelin_home: Path) -> None:
        served = wendelin.connect()
        with pytest.raises(DatabaseLockedError, match=r"served by process \d+: .*local://.*wendelin db stop"):
            wendelin.connect(f"file://{wendelin_home}/db/default")
        served.close()

    def test_reading_while_another_process_writes_shows_one_moment(self, url: str) -> None:
        with children() as [child]:
            child.do(f"import wendelin, transaction; c = wendelin.connect({url!r}); r = c.root()")
            child.do("r['x'] = 1; r['a'] = wendelin.ZBigArray((3,), 'i4'); r['a'][0] = 1; transaction.commit()")
            reader: Any = wendelin.connect(url, read_only=True)
            child.do("r['x'] = 2; r['a'][0] = 2; transaction.commit()")
            reader.sync()
            assert (reader.root()["x"], reader.root()["a"][0]) == (1, 1)
            reader.close()
            reader = wendelin.connect(url, read_only=True)
            assert (reader.root()["x"], reader.root()["a"][0]) == (2, 2)
            reader.close()
            child.do("r['x'] = 3; transaction.commit()")
            assert child.do("", "r['x']") == 3

    def test_a_file_size_limit_is_told_as_a_full_disk(self, url: str) -> None:
        """What a user without the right to mount a small disk meets with `ulimit -f`."""
        with children() as [child]:
            child.do(f"import resource, wendelin, transaction; c = wendelin.connect({url!r}); c.root()['x'] = 1")
            child.do("transaction.commit(); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))")
            with pytest.raises(Failed, match=r"StorageFullError: .*no room for the database in .*df -h"):
                child.do("c.root()['x'] = bytes(200_000); transaction.commit()")
            child.do("transaction.abort()")
            assert child.do("", "c.root()['x']") == 1
            child.do("c.root()['x'] = 2; transaction.commit(); c.close()")
        connection = wendelin.connect(url)
        assert connection.root()["x"] == 2
        connection.close()
