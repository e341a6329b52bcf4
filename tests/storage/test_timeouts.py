"""A client that stops between vote and finish, or whose machine is gone, frees the others within the time-out."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.storage.database.children import Child, Failed, children
from tests.storage.database.servers import PostgresqlServer, free_port, postgresql_server, wait_until
from wendelin.storage.database import ondemand, paths
from wendelin.storage.database.server import TRANSACTION_TIMEOUT
from wendelin.storage.database.sqlstorage import CommitLockedError, holder
from wendelin.storage.errors import DatabaseURLError, ServerGoneError

pytestmark = pytest.mark.slow

OPEN = """
import os, signal, transaction, wendelin
class Halt:
    "A data manager that votes last, and then does what it is told."
    transaction_manager = transaction.manager
    tpc_begin = commit = tpc_finish = tpc_abort = abort = lambda self, txn: None
    sortKey = lambda self: "~"
    def __init__(self, do): self.do = do
    def tpc_vote(self, txn): self.do()
def stop(): os.kill(os.getpid(), signal.SIGSTOP)
def wait():
    print("voted", file=wire, flush=True)
    input()
"""
CHANGE = "r['theirs'] = 1; r['a'][:] = 9; r['a'].append([9] * 100_000); "


@contextmanager
def server(folder: Path, seconds: float, port: int | None = None) -> Iterator[str]:
    """The server of `local://folder` with a time-out of its own."""
    paths.private_folder(folder)
    command = [sys.executable, "-m", ondemand.MODULE, "--folder", str(folder)]
    if port:
        command += ["--listen", f"127.0.0.1:{port}"]
    environment = {**os.environ, "WENDELIN_TRANSACTION_TIMEOUT": str(seconds)}
    with ondemand.log_file(folder).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        wait_until(lambda: ondemand.find(folder), "the server")
        yield f"local://{folder}"
    finally:
        process.terminate()
        process.wait()


def stopped(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def made(url: str) -> Any:
    """A connection to a fresh database with an array of several megabytes in it."""
    connection = wendelin.connect(url)
    root = connection.root()
    root["a"] = wendelin.ZBigArray((1_000_000,), "i8")
    root["a"][:] = 1
    transaction.commit()
    return connection


POSTGRESQL = [pytest.param(name, marks=pytest.mark.postgresql) for name in ("postgresql", "postgresql-shared")]


@pytest.fixture(scope="module", autouse=True)
def postgresql(tools: dict[str, str | None]) -> Iterator[PostgresqlServer | None]:
    """One for the module, set up before the tests' own fixtures, which end what a test starts."""
    if tools.get("postgres_bin") is None:
        yield None
        return
    with postgresql_server(tools["postgres_bin"]) as found:
        yield found


def emptied(postgresql: PostgresqlServer | None) -> PostgresqlServer:
    """The server, with a fresh database `plant`."""
    assert postgresql is not None
    postgresql.psql("DROP DATABASE IF EXISTS plant (FORCE)")
    postgresql.psql("CREATE DATABASE plant")
    return postgresql


@pytest.fixture
def url(kind: str, wendelin_home: Path, postgresql: PostgresqlServer | None) -> Iterator[str]:
    """A database that frees the others after a second."""
    if kind.startswith("postgresql"):
        shared = f"&shared_blob_dir={wendelin_home}/blobs" if kind.endswith("shared") else ""
        yield emptied(postgresql).url("plant", parameters=f"?transaction_timeout=1{shared}")
        return
    port = free_port()
    with server(wendelin_home / "plant", 1, port) as local:
        yield local if kind == "local" else f"zeo://127.0.0.1:{port}"


@pytest.mark.parametrize("kind", ["local", "tcp", *POSTGRESQL])
def test_a_client_stopped_between_vote_and_finish_frees_the_others(url: str) -> None:
    connection = made(url)
    with children() as [child]:
        child.do(OPEN + f"c = wendelin.connect({url!r}); r = c.root()")
        child.send(CHANGE + "transaction.get().join(Halt(stop)); transaction.commit()")
        wait_until(lambda: stopped(child), "the stopped client")
        transaction.begin()
        connection.root()["ours"] = 1
        connection.root()["a"][:10] = 2
        transaction.commit()
        os.kill(child.pid, signal.SIGCONT)
        with pytest.raises(Failed, match=r"(?s)ServerGone.*may have succeeded or not: look before you repeat it"):
            child.receive()
        transaction.begin()
        assert list(connection.root()) == ["a", "ours"]
        view = connection.root()["a"][...]
        assert (len(view), view[:10].sum(), view[10:].sum()) == (1_000_000, 20, 999_990)
        # The connection of the client that was stopped shows what is there, and works.
        child.do("transaction.abort(); transaction.begin()")
        assert child.do("", "[sorted(r), len(r['a'][...]), int(r['a'][...].sum())]") == [
            ["a", "ours"],
            1_000_000,
            1_000_010,
        ]
        child.do(CHANGE + "transaction.commit()")
        transaction.begin()
        assert connection.root()["theirs"] == 1
        assert connection.root()["a"][...].sum() == 9 * 1_100_000
    connection.close()


class Hole:
    """A proxy between a client and its server that can swallow everything: a cable that was pulled."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.pulled = threading.Event()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._ends += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.pulled.is_set():
                    target.sendall(data)
            if not self.pulled.is_set():
                target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            end.close()


@pytest.mark.parametrize("kind", ["tcp", POSTGRESQL[0]])
def test_a_machine_that_vanished_frees_the_others(
    kind: str, wendelin_home: Path, postgresql: PostgresqlServer | None
) -> None:
    """Nothing comes through any more, in either direction, and no connection ends."""
    with ExitStack() as stack:
        if kind == "tcp":
            port = free_port()
            url = stack.enter_context(server(wendelin_home / "plant", 1, port))
            hole = Hole(port)
            theirs = f"zeo://{hole.address}?wait_timeout=1"
        else:
            postgres = emptied(postgresql)
            url = postgres.url("plant", parameters="?transaction_timeout=1")
            hole = Hole(postgres.port)
            theirs = url.replace(f"127.0.0.1:{postgres.port}", hole.address)
        stack.callback(hole.close)
        connection = made(url)
        with children() as [child]:
            child.do(OPEN + f"c = wendelin.connect({theirs!r}); r = c.root()")
            child.send(CHANGE + "transaction.get().join(Halt(stop)); transaction.commit()")
            wait_until(lambda: stopped(child), "the client that voted")
            hole.pulled.set()
            os.kill(child.pid, signal.SIGCONT)
            transaction.begin()
            connection.root()["ours"] = 1
            transaction.commit()
            transaction.begin()
            assert list(connection.root()) == ["a", "ours"]
            assert connection.root()["a"][...].sum() == 1_000_000
        connection.close()


@pytest.mark.parametrize("kind", ["local", POSTGRESQL[0]])
def test_a_transaction_that_thinks_for_longer_than_the_time_out_is_not_cut(url: str) -> None:
    """The time-out is for commits: what was loaded, added and written before one may take as long as its user likes."""
    connection = made(url)
    other = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    root = connection.root()
    root["b"] = wendelin.ZBigArray((1000,), "f8")
    connection.add(root["b"])  # with a number from the server already
    root["a"][:10] = 5
    threading.Event().wait(2.5)
    other.root()["ours"] = 1
    other.transaction_manager.commit()
    transaction.commit()
    assert sorted(root) == ["a", "b", "ours"]
    assert root["a"][:20].sum() == 60
    other.close()
    connection.close()


def test_a_stopped_process_that_holds_sqlite_is_named_and_its_death_frees_the_others(wendelin_home: Path) -> None:
    url = f"sqlite://{wendelin_home}/plant?transaction_timeout=0.5"
    connection = made(url)
    assert connection.url == url
    with children() as [child]:
        child.do(OPEN + f"c = wendelin.connect({url!r}); r = c.root()")
        child.send(CHANGE + "transaction.get().join(Halt(stop)); transaction.commit()")
        wait_until(lambda: stopped(child), "the stopped client")
        transaction.begin()
        assert list(connection.root()) == ["a"]  # readers are not held up
        connection.root()["ours"] = 1
        connection.root()["a"][:10] = 2
        named = rf"waited 0\.5 s to commit to sqlite:.*process \({child.pid}, which is stopped\).*kill -9"
        with pytest.raises(CommitLockedError, match=named):
            transaction.commit()
        transaction.abort()
        assert connection.root()["a"][...].sum() == 1_000_000
        child.kill_group()
        connection.root()["ours"] = 1
        connection.root()["a"][:10] = 2
        transaction.commit()
        assert list(connection.root()) == ["a", "ours"]
        assert connection.root()["a"][...].sum() == 1_000_010
    connection.close()


def test_a_continued_process_that_held_sqlite_commits(wendelin_home: Path) -> None:
    url = f"sqlite://{wendelin_home}/plant?transaction_timeout=0.5"
    connection = made(url)
    with children() as [child]:
        child.do(OPEN + f"c = wendelin.connect({url!r}); r = c.root()")
        child.send(CHANGE + "transaction.get().join(Halt(stop)); transaction.commit()")
        wait_until(lambda: stopped(child), "the stopped client")
        os.kill(child.pid, signal.SIGCONT)
        child.receive()
        transaction.begin()
        assert connection.root()["a"][...].sum() == 9 * 1_100_000
    connection.close()


def test_who_holds_a_lock_is_unknown_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") == ""


def test_the_time_out_has_a_default_and_is_part_of_the_name(wendelin_home: Path) -> None:
    assert TRANSACTION_TIMEOUT == 30
    parse = wendelin.storage.database.urls.parse
    for plain in ("postgresql://ada@host/plant", "sqlite:///srv/plant"):
        assert parse(plain).transaction_timeout == 30  # type: ignore[union-attr]
        assert parse(f"{plain}?transaction_timeout=5.5").url == f"{plain}?transaction_timeout=5.5"
        with pytest.raises(DatabaseURLError, match="transaction_timeout=soon is no number of seconds"):
            parse(f"{plain}?transaction_timeout=soon")


@pytest.mark.parametrize("wrong", ["0", "soon", "nan"])
def test_a_wrong_time_out_is_told_by_the_one_who_starts_the_server(
    wrong: str, wendelin_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WENDELIN_TRANSACTION_TIMEOUT", wrong)
    with pytest.raises(ServerGoneError, match=r"(?s)could not start.*argument --timeout"):
        wendelin.connect(f"local://{wendelin_home}/plant")
