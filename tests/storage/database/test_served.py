"""The default database: its server starts on demand, is shared, survives its starter, and comes back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction

import wendelin
from tests.storage.database.children import Child, Failed, children
from tests.storage.database.servers import fill, small_disk, wait_until
from wendelin.storage.database import ondemand, paths
from wendelin.storage.errors import (
    DatabaseLockedError,
    ForkedConnectionError,
    ResourceError,
    ServerGoneError,
    StorageFullError,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("wendelin_home")]

OPEN = "import wendelin, transaction; c = wendelin.connect(); r = c.root()"


def server() -> ondemand.Server:
    found = ondemand.find(paths.database_folder())
    assert found is not None
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: gone(pid), "the killed server")


@contextlib.contextmanager
def connected(url: str | None = None) -> Iterator[wendelin.storage.database.connection.Connection]:
    connection = wendelin.connect(url)
    yield connection
    transaction.abort()
    connection.close()


def test_the_first_connect_starts_it_and_the_second_finds_it(wendelin_home: Path) -> None:
    folder = wendelin_home / "db" / "default"
    assert ondemand.find(folder) is None
    with connected() as connection:
        assert connection.url == f"local://{folder}"
        assert not connection.read_only
        connection.root()["x"] = 1
        transaction.commit()
        first = server()
    with children() as [child]:
        assert child.do(OPEN, "r['x']") == 1
    assert server() == first


def test_files_and_socket_are_private(wendelin_home: Path) -> None:
    with connected():
        found = server()
    assert found.folder.stat().st_mode & 0o777 == 0o700
    assert found.socket.parent.stat().st_mode & 0o777 == 0o700
    assert found.socket.stat().st_mode & 0o077 == 0
    assert (found.folder / "Data.fs").stat().st_mode & 0o077 == 0
    assert len(os.fsencode(found.socket)) <= 107


def test_it_is_a_stranger_to_its_starter() -> None:
    """Kernels kill their process group, and also all their descendants."""
    with children() as [child]:
        child.do(OPEN + "; r['x'] = 1; transaction.commit()")
        found = server()
        assert parent_of(found.pid) not in (child.pid, os.getpid())
        assert os.getsid(found.pid) not in (child.pid, os.getsid(0))
        child.kill_group()
    assert server() == found
    with connected() as connection:
        assert connection.root()["x"] == 1
    assert server() == found


def test_it_keeps_no_file_of_its_starter_open(tmp_path: Path) -> None:
    mine = str(tmp_path / "mine")
    script = f"import os; f = open({mine!r}, 'w'); os.set_inheritable(f.fileno(), True); {OPEN}; c.close()"
    # Its output ends only when nobody holds the pipe any more.
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    files = Path(f"/proc/{server().pid}/fd")
    assert mine not in [str(file.readlink()) for file in files.iterdir()]
    log = str(ondemand.log_file(server().folder))
    assert [str((files / number).readlink()) for number in "012"] == ["/dev/null", log, log]
    assert Path(f"/proc/{server().pid}/cwd").readlink() == Path("/")


def test_two_processes_starting_at_once_share_one_server(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with children(2) as pair:
        for child in pair:
            child.do("import wendelin, transaction, os, wendelin.storage.database.opening")
        for turn in range(10):
            url = f"local://{wendelin_home}/db/turn{turn}"
            for child in pair:
                child.send(
                    f"c = wendelin.connect({url!r}); c.root()[str(os.getpid())] = 1; transaction.commit(); c.close()"
                )
            for child in pair:
                child.receive()
            with connected(url) as connection:
                assert sorted(connection.root()) == sorted(str(child.pid) for child in pair)
            folder = wendelin_home / "db" / f"turn{turn}"
            assert ondemand.log_file(folder).read_text().count(" serving ") == 1
            assert ondemand.stop(folder)


def test_many_threads_starting_at_once_share_one_server() -> None:
    with children() as [child]:
        code = (
            "import wendelin, threading; found = []\n"
            "def work(): c = wendelin.connect(); found.append(c); c.close()\n"
            "threads = [threading.Thread(target=work) for _ in range(8)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]"
        )
        assert child.do(code, "len(found)") == 8
    assert ondemand.log_file(server().folder).read_text().count(" serving ") == 1


def test_a_stale_socket_is_replaced() -> None:
    path = paths.socket_path(paths.database_folder())
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    with connected() as connection:
        assert list(connection.root()) == []


def test_a_killed_server_is_started_again_by_the_next_connect() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
    first = server()
    kill(first.pid)
    assert first.socket.exists()
    with connected() as connection:
        assert connection.root()["x"] == 1
    assert server().pid != first.pid


def test_open_connections_of_all_processes_survive_a_killed_server() -> None:
    with connected() as connection, children() as [child]:
        child.do(OPEN + "; r['theirs'] = 1; transaction.commit()")
        transaction.begin()
        connection.root()["ours"] = wendelin.ZBigArray((4,), "f8")
        transaction.commit()
        view = connection.root()["ours"][...]
        first = server()
        kill(first.pid)
        transaction.begin()
        view[2] = 7
        connection.root()["again"] = 1
        transaction.commit()
        assert server().pid != first.pid
        assert child.do("transaction.begin()", "[list(r), float(r['ours'][2])]") == [["again", "ours", "theirs"], 7.0]
        child.do("r['more'] = 2; transaction.commit()")
        transaction.begin()
        assert connection.root()["more"] == 2


def test_numbers_for_objects_of_a_server_that_died_before_they_were_noted_are_not_used() -> None:
    """The next server gives the same ones to others: who uses both conflicts with them again and again."""
    with connected() as connection:
        storage = connection.db().storage
        ask, asked = storage._call, list[str]()

        def dies_meanwhile(method: str, *arguments: object) -> object:
            answer = ask(method, *arguments)
            asked.append(method)
            if asked == ["new_oids"]:
                generation = storage._connection_generation
                kill(server().pid)
                wait_until(lambda: storage._connection_generation > generation, "the client to notice")
            return answer

        del storage._oids[:]
        storage._call = dies_meanwhile
        assert len({storage.new_oid() for _ in range(20)}) == 20
        assert asked.count("new_oids") >= 2


def test_a_transaction_that_the_killed_server_cut_says_so_and_the_next_one_works() -> None:
    with connected() as connection:
        root = connection.root()
        root["x"] = 1
        transaction.commit()

        class Killer:
            """Kills the server after our vote."""

            transaction_manager = transaction.manager
            tpc_begin = commit = tpc_finish = tpc_abort = abort = lambda self, txn: None

            def tpc_vote(self, txn: object) -> None:
                kill(server().pid)

            def sortKey(self) -> str:
                return "~"

        transaction.begin()
        root["x"] = 2
        transaction.get().join(Killer())
        with pytest.raises(ServerGoneError, match=r"commit|during this transaction|does not answer"):
            transaction.commit()
        transaction.abort()
        transaction.begin()
        assert root["x"] == 1
        root["x"] = 3
        transaction.commit()
        assert root["x"] == 3


def test_a_writer_without_server_is_not_taken_for_read_only() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
        ondemand.stop(server().folder)
        assert not connection.isReadOnly()


def test_a_stopped_server_stays_stopped_until_somebody_connects() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
        stopped = ondemand.stop(server().folder)
        assert stopped is not None
        assert gone(stopped.pid)
        assert not stopped.socket.exists()
        with pytest.raises(ServerGoneError, match=r"stopped by `wendelin db stop`.*wendelin db start"):
            transaction.begin()
        assert ondemand.find(stopped.folder) is None
        with children() as [child]:
            child.do(OPEN)
        transaction.begin()
        assert connection.root()["x"] == 1
        assert ondemand.stop(server().folder)
        wendelin.connect(transaction_manager=transaction.TransactionManager()).close()
        transaction.begin()
        assert connection.root()["x"] == 1
    assert ondemand.stop(server().folder)
    assert ondemand.stop(stopped.folder) is None


def test_what_was_committed_is_there_after_sigterm() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
    found = server()
    os.kill(found.pid, signal.SIGTERM)
    wait_until(lambda: gone(found.pid), "the end of the server")
    assert not ondemand.state_file(found.folder).exists()
    assert ondemand.log_tail(found.folder).endswith("ended")
    with connected() as connection:
        assert connection.root()["x"] == 1


def test_a_home_with_a_very_long_path_works(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = wendelin_home / Path(*["a-very-long-name-" * 5] * 8)
    monkeypatch.setenv("WENDELIN_HOME", str(home))
    with connected() as connection:
        connection.root()["x"] = wendelin.ZBigArray((3,), "i4")
        transaction.commit()
    assert (home / "db" / "default" / "Data.fs").exists()
    ondemand.stop(home / "db" / "default")


def test_processes_with_another_runtime_folder_find_it(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected():
        found = server()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert paths.socket_path(found.folder) != found.socket
    assert server() == found


def test_a_copied_folder_has_a_server_of_its_own(wendelin_home: Path) -> None:
    with connected() as connection:
        connection.root()["x"] = "original"
        transaction.commit()
    original = server()
    copy = wendelin_home / "copy"
    shutil.copytree(original.folder, copy)
    with connected(f"local://{copy}") as connection:
        connection.root()["x"] = "copy"
        transaction.commit()
    assert ondemand.find(copy) != original
    with connected() as connection:
        assert connection.root()["x"] == "original"


def test_it_ends_when_its_socket_is_taken_away_and_the_next_one_is_reachable() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
        first = server()
        first.socket.unlink()
        with children() as [child]:
            assert child.do(OPEN, "r['x']") == 1
        wait_until(lambda: gone(first.pid), "the end of the first server")
        transaction.begin()
        assert connection.root()["x"] == 1


def test_it_ends_when_its_folder_is_removed(wendelin_home: Path) -> None:
    with connected():
        found = server()
    shutil.rmtree(found.folder)
    wait_until(lambda: gone(found.pid), "the end of the server")


def test_a_database_that_cannot_be_read_quotes_the_log(wendelin_home: Path) -> None:
    folder = paths.private_folder(wendelin_home / "db" / "default")
    (folder / "Data.fs").write_bytes(b"this is no database, but long enough to be looked at" * 10)
    with pytest.raises(ServerGoneError, match=r"(?s)could not start.*server\.log.*FormatError.*wendelin db start"):
        wendelin.connect()


def test_files_that_another_process_has_open_name_it(wendelin_home: Path) -> None:
    with children() as [child]:
        child.do(f"import wendelin; c = wendelin.connect('file://{wendelin_home}/db/default')")
        with pytest.raises(DatabaseLockedError, match=rf"process {child.pid} .*read_only=True"):
            wendelin.connect()


def test_a_home_that_cannot_be_made_says_so(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wendelin_home / "file").touch()
    monkeypatch.setenv("WENDELIN_HOME", str(wendelin_home / "file" / "home"))
    with pytest.raises(ResourceError, match="WENDELIN_HOME"):
        wendelin.connect()


def test_a_full_disk_at_the_start_says_so(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(wendelin_home / "disk") as disk:
        monkeypatch.setenv("WENDELIN_HOME", str(disk / "home"))
        (disk / "home" / "db" / "default").mkdir(parents=True)
        ballast = fill(disk)
        with pytest.raises(StorageFullError, match=r"no room for the database in .*df -h"):
            wendelin.connect()
        ballast.unlink()
        with connected() as connection:
            assert list(connection.root()) == []
        ondemand.stop(disk / "home" / "db" / "default")


def test_a_full_disk_at_a_commit_says_so_and_loses_nothing(
    wendelin_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(wendelin_home / "disk", megabytes=16) as disk:
        monkeypatch.setenv("WENDELIN_HOME", str(disk / "home"))
        with connected() as connection:
            connection.root()["x"] = 1
            transaction.commit()
            ballast = fill(disk, leave=64 << 10)
            connection.root()["x"] = os.urandom(1 << 20)
            with pytest.raises(StorageFullError, match=r"no room for the database"):
                transaction.commit()
            transaction.abort()
            assert connection.root()["x"] == 1
            ballast.unlink()
            connection.root()["x"] = 2
            transaction.commit()
        with connected() as connection:
            assert connection.root()["x"] == 2
        ondemand.stop(disk / "home" / "db" / "default")


def test_a_client_frozen_between_vote_and_finish_does_not_stop_the_others(wendelin_home: Path) -> None:
    folder = paths.private_folder(wendelin_home / "db" / "default")
    command = [sys.executable, "-m", ondemand.MODULE, "--folder", str(folder), "--timeout", "1"]
    with ondemand.log_file(folder).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    wait_until(lambda: ondemand.find(folder), "the server")
    freeze = (
        "import os, signal\n"
        "class Freezer:\n"
        "    transaction_manager = transaction.manager\n"
        "    tpc_begin = commit = tpc_finish = tpc_abort = abort = lambda self, txn: None\n"
        "    sortKey = lambda self: '~'\n"
        "    def tpc_vote(self, txn): os.kill(os.getpid(), signal.SIGSTOP)\n"
        "r['frozen'] = 1; transaction.get().join(Freezer()); transaction.commit()"
    )
    try:
        with children() as [child], connected() as connection:
            child.do(OPEN)
            child.send(freeze)
            wait_until(lambda: stopped(child), "the frozen client")
            connection.root()["x"] = 1
            transaction.commit()
            os.kill(child.pid, signal.SIGCONT)
            with pytest.raises(Failed, match="ServerGone"):
                child.receive()
            transaction.begin()
            assert list(connection.root()) == ["x"]
    finally:
        process.terminate()
        process.wait()


def stopped(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_a_reader_that_begins_right_after_a_commit_sees_it() -> None:
    with connected() as connection, children() as [child]:
        connection.root()["n"] = 0
        transaction.commit()
        child.do(OPEN)
        for n in range(1, 51):
            child.do(f"transaction.begin(); r['n'] = {n}; transaction.commit()")
            transaction.begin()
            assert connection.root()["n"] == n


def test_a_forked_child_opens_its_own_and_cannot_use_its_parents() -> None:
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which is the point here
            pid = os.fork()
        if not pid:
            status = 1
            with contextlib.suppress(BaseException):
                try:
                    connection.db().storage.sync()
                except ForkedConnectionError:
                    own = wendelin.connect(transaction_manager=transaction.TransactionManager())
                    assert own.db() is not connection.db()
                    status = 0 if own.root()["x"] == 1 else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        connection.root()["x"] = 2
        transaction.commit()


def test_a_program_that_forgets_to_close_ends_quietly_and_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPEN + "; r['x'] = 1; transaction.commit(); r['y'] = 2"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with connected() as connection:
        assert list(connection.root()) == ["x"]


def test_a_loaded_server_needs_no_numpy() -> None:
    """It resolves conflicts with `wendelin` classes; NumPy and Jupyter would cost it 30 MB and a second."""
    with connected() as connection:
        connection.root()["x"] = 1
        transaction.commit()
    ondemand.stop(server().folder)
    with connected():
        mapped = Path(f"/proc/{server().pid}/maps").read_text()
    assert "numpy" not in mapped
