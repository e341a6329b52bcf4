"""Databases of the original wendelin.core, written by it (tests/fixtures/write_wendelin_core.py), come along whole."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from BTrees.OOBTree import OOBTree
from persistent.list import PersistentList
from ZODB import DB
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage

import wendelin
from tests.storage.database.children import children
from tests.storage.database.servers import zeo_server
from wendelin.storage.errors import ImportInterruptedError, NameTakenError, SourceError, UsageError
from wendelin.storage.wendelin_core import classes, walk
from wendelin.storage.wendelin_core import source as source_module
from wendelin.storage.wendelin_core.transfer import Summary, import_database

FIXTURES = Path(__file__).parent.parent / "fixtures" / "wendelin_core"
STRUCTURED = np.dtype([("t", "i8"), ("power", "f4"), ("name", "S8")])
BLOCK = 2 << 20

pytestmark = pytest.mark.usefixtures("wendelin_home")


def expected() -> dict[str, np.ndarray[Any, Any]]:
    """The arrays, by the formulas of the script that wrote them."""
    power = np.arange(3000, dtype="f4").reshape(1000, 3)
    power[100] = -1
    log = np.zeros(10, STRUCTURED)
    log["t"], log["power"], log["name"] = np.arange(10), np.arange(10) / 2, b"north"
    fortran = np.zeros((5, 6), "i2", order="F")
    fortran[:, :4], fortran[:, 5] = np.arange(20).reshape(5, 4), -5
    sparse = np.zeros(3 << 20)
    sparse[5], sparse[1000000:1000100], sparse[-1] = 1.5, np.arange(100), -2
    mixed = np.zeros((2, 1 << 20), "i4")
    mixed[0, :8], mixed[1, -8:] = np.arange(8), np.arange(8) + 100
    raw = np.zeros(2 * BLOCK, "u1")
    raw[BLOCK : BLOCK + 4] = 1, 2, 3, 4
    return {
        "plants/4/power": power,
        "plants/4/log": log,
        "fortran": fortran,
        "again": fortran,
        "sparse": sparse,
        "mixed": mixed,
        "cut": np.arange(700, dtype="u2"),
        "shrunk": np.array([1, 2], "u1"),
        "empty": np.zeros((0, 8), "c16"),
        "big-endian": np.arange(6, dtype=">f8") / np.array(4, ">f8"),
        "times": np.arange(6).astype("M8[ns]"),
        "a%2Fb": np.full(3, 7, "u1"),
        "list/0": np.full(2, 8, "u1"),
        "inside/array": np.full(4, 9, "u1"),
        "by number/3": np.full(3, 10, "u1"),
        "file": raw,
        "turbine/power": np.full(4, 11.0),
    }


@pytest.fixture(params=["python3", "python2"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    copy = tmp_path / "source" / "old.fs"
    copy.parent.mkdir()
    shutil.copy(FIXTURES / f"{request.param}.fs", copy)
    return str(copy)


@pytest.fixture
def python3_source(tmp_path: Path) -> str:
    return str(shutil.copy(FIXTURES / "python3.fs", tmp_path / "old.fs"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/target"


@contextmanager
def root_of(url: str) -> Iterator[Any]:
    connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    try:
        yield connection.root()
    finally:
        connection.transaction_manager.abort()
        connection.close()


def check_arrays(root: Any) -> None:
    for name, values in expected().items():
        array = root[name]
        assert (array.shape, array.dtype) == (values.shape, values.dtype.newbyteorder("=")) or name == "big-endian"
        assert array.dtype == root[name][...].dtype
        np.testing.assert_array_equal(array[...], values, err_msg=name)
    assert root["zeros"].shape == (1 << 40,)
    assert root["zeros"][-3:].tolist() == [0, 0, 0]


def test_arrays_come_whole(source: str, url: str) -> None:
    """Both block formats, mixed in one array too; C and F order; appended, cut, sparse, structured, never written."""
    found = import_database(source, url)
    assert found.counts["array"] == len(found.arrays) == 17
    with root_of(url) as root:
        check_arrays(root)
        assert root["big-endian"].dtype == np.dtype(">f8")
        assert root["fortran"].order == "F"
        assert root["again"] is root["fortran"]
        assert not [name for name in root if "unfinished" in name]
        root["plants/4/power"].append(np.ones((2, 3), "f4"))
        root["fortran"][:] = 1
        root["fortran"]._p_jar.transaction_manager.commit()


def test_holes_stay_holes(source: str, url: str, tmp_path: Path) -> None:
    import_database(source, url)
    size = sum(file.stat().st_blocks * 512 for file in (tmp_path / "target").rglob("*") if file.is_file())
    assert size < 1 << 20, "sparse, mixed and file alone have 36 MiB"


def test_plain_values_come_along(source: str, url: str) -> None:
    import_database(source, url)
    with root_of(url) as root:
        values = dict(root["values"])
        assert values["whole"] == 12345678901234567890
        assert (values["float"], values["yes"], values["nothing"]) == (0.1, True, None)
        assert values["text"] == "Größe"
        assert values["bytes"] == b"\x00\xff"
        assert values["dict"] == {"unit": "kW", "since": [2015, (1, 2)]}
        assert type(values["dict"]) is dict
        assert values["when"] == dt.datetime(2015, 8, 11, 12, 30, 15, 999)  # noqa: DTZ001 - as it was stored
        assert repr(values["exact"]) == repr(decimal.Decimal("0.10"))
        assert values["set"] == {1, 2}
        assert values["vector"].tolist() == [0, 1, 2, 3]
        assert (type(values["scalar"]), values["scalar"]) == (np.float32, 1.5)
        assert isinstance(values["persistent list"], PersistentList)
        assert list(values["persistent list"]) == [1, 2]
        assert values["length"]() == 3
        assert list(values["names"]) == ["a", "b"]
        assert values["5"] == "the same as text"
        assert values["5~"] == "a number as the name"
        assert values["%2E%2E"] == "dots"
        assert values["%"] == "nothing as the name"
        assert root["list/1"] == 5
        assert root["inside/note"] == "x"
        assert root["by number/7"] == "seven"


def test_what_does_not_come_is_told(source: str, url: str) -> None:
    """By place and reason; and nothing is missing that is not told."""
    notes = {note.text: set(note.paths) for note in import_database(source, url).notes}
    assert notes == {
        "left out, because it leads back to a folder that it lies in": {"'plants/up'"},
        "renamed: a name has no slashes, and is neither empty nor dots": {"'a%2Fb'", "'values/%2E%2E'", "'values/%'"},
        "named by the text of a key that is no text": {"'by number/3'", "'by number/7'", "'values/5~'"},
        "a file without an array: it comes as an array of bytes, as long as its blocks reach": {"'file'"},
        "an object of the unknown class plant_model.Turbine, of which only arrays come along": {"'turbine'"},
        "an object of the unknown class plant_model.Reading, of which only arrays come along": {
            "'values/no reading/first'"
        },
        "an object of the unknown class plant_model.Many, of which only arrays come along": {"'values/no list'"},
        "left out, because it holds the class or function posixpath.join": {"'values/no function'"},
        "left out, because it holds the class or function persistent.Persistent": {"'values/no class'"},
    }
    with root_of(url) as root:
        assert "plants/up" not in root
        assert dict(root["values/no reading"]) == {"second": 2}


def test_nothing_depends_on_the_cache(source: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that are dropped from memory at every step come all the same, and the same is told."""
    at_once = import_database(source, url, into="at once")
    monkeypatch.setattr(walk, "_STEPS", 1)
    monkeypatch.setattr(source_module, "_CACHED_OBJECTS", 1)
    monkeypatch.setattr(source_module, "_CACHED_BYTES", 1)
    found = import_database(source, url)
    assert (found.arrays, found.counts, found.notes) == (at_once.arrays, at_once.counts, at_once.notes)
    with root_of(url) as root:
        check_arrays(root)


def test_the_source_is_only_read(source: str, url: str) -> None:
    file = Path(source)
    before = file.read_bytes()
    import_database(source, url)
    assert [entry.name for entry in file.parent.iterdir()] == ["old.fs"]
    assert file.read_bytes() == before


def test_nothing_is_imported_because_a_pickle_says_so() -> None:
    """`wendelin` is our name too; and a function of another module is no function here."""
    assert classes.find("wendelin.bigarray.array_zodb", "ZBigArray") is classes.BigArray
    assert classes.find("wendelin", "ZBigArray") is not wendelin.ZBigArray
    for module, name in [("os", "system"), ("builtins", "eval"), ("BTrees.OOBTree", "os"), ("this", "anything")]:
        assert issubclass(classes.find(module, name), classes.Unknown)
    assert isinstance(classes.find("posix", "system")("exit 1"), classes.Unknown)
    assert "this" not in sys.modules


# -- into which place


def test_a_taken_name_is_not_overwritten(python3_source: str, url: str) -> None:
    with root_of(url) as root:
        root["cut"] = "mine"
        root["note"] = "a value"
        root._p_jar.transaction_manager.commit()
    with pytest.raises(NameTakenError, match=r"holds 'cut' already.*--into PREFIX"):
        import_database(python3_source, url)
    with pytest.raises(UsageError, match="is no name"):
        import_database(python3_source, url, into="a//b")
    with pytest.raises(NameTakenError, match=r"'note' in file:.* is a str, no folder"):
        import_database(python3_source, url, into="note/old")
    with root_of(url) as root:
        assert dict(root) == {"cut": "mine", "note": "a value"}
    import_database(python3_source, url, into="old/core")
    import_database(python3_source, url, into="old/again")
    with root_of(url) as root:
        assert list(root) == ["cut", "note", "old"]
        check_arrays(root["old/core"])
        assert root["old/core/cut"] is not root["old/again/cut"]


def test_a_database_of_another_program_is_no_target(python3_source: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    shutil.copy(python3_source, tmp_path / "foreign" / "Data.fs")
    with pytest.raises(NameTakenError, match="root is a PersistentMapping"):
        import_database(python3_source, f"file://{tmp_path}/foreign")


def test_a_dry_run_writes_nothing(source: str, url: str, tmp_path: Path) -> None:
    found = import_database(source, url, dry_run=True)
    assert {array.path for array in found.arrays} == {*expected(), "zeros"} - ({"again", "fortran"} - {_named(found)})
    assert found.blocks == 18
    assert not (tmp_path / "target").exists()
    with root_of(url) as root:
        root["cut"] = 1
        root._p_jar.transaction_manager.commit()
    with pytest.raises(NameTakenError):
        import_database(source, url, dry_run=True)


def _named(found: Summary) -> str:
    """Of an array's two names, the one that a dict of Python 2 happened to have first."""
    return next(array.path for array in found.arrays if array.path in ("again", "fortran"))


# -- from which source


def test_a_zeo_server_is_a_source(url: str, wendelin_home: Path) -> None:
    folder = wendelin_home / "zeo"
    folder.mkdir()
    shutil.copy(FIXTURES / "python3.fs", folder / "Data.fs")
    with zeo_server(folder, tcp=True) as server:
        found = import_database(server.url, url)
    assert found.source == server.url
    with root_of(url) as root:
        check_arrays(root)


def test_a_folder_is_a_source(python3_source: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    shutil.copy(python3_source, tmp_path / "folder" / "Data.fs")
    assert import_database(str(tmp_path / "folder"), url).source.endswith("folder/Data.fs")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.fs", None, "No such file"),
        ("text.fs", b"once upon a time", "begins with FS30 or FS21, this with b'once'"),
        ("nothing.fs", b"", "is no database"),
        ("bare.fs", b"FS30", "is an empty database"),
        ("neo://here", None, "give the path of a Data.fs, or zeo://host:port"),
    ],
)
def test_what_is_no_source(name: str, content: bytes | None, message: str, url: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        import_database(name if "://" in name else str(tmp_path / name), url)
    assert not (tmp_path / "target").exists()


@contextmanager
def edited(source: str) -> Iterator[tuple[Any, Any]]:
    """The source opened as any ZODB: its storage and its root."""
    storage = FileStorage(source)
    database = DB(storage)
    manager = transaction.TransactionManager()
    try:
        yield storage, database.open(manager).root()
        manager.commit()
    finally:
        manager.abort()
        database.close()


def lose(storage: Any, oid: bytes) -> None:
    """Delete a record, as a damaged file would."""
    lost = TransactionMetaData()
    storage.tpc_begin(lost)
    storage.deleteObject(oid, storage.load(oid)[1], lost)
    storage.tpc_vote(lost)
    storage.tpc_finish(lost)


def test_a_lost_record_is_told_and_the_rest_comes(python3_source: str, url: str) -> None:
    with edited(python3_source) as (storage, root):
        lose(storage, root["by number"]._p_oid)
    notes = [str(note) for note in import_database(python3_source, url).notes if "cannot be read" in note.text]
    assert len(notes) == 1
    assert "POSKeyError" in notes[0]
    assert notes[0].endswith("'by number'")
    with root_of(url) as root:
        assert "by number" not in root
        assert root["cut"][-1] == 699


def test_a_lost_block_stops_the_import(python3_source: str, url: str) -> None:
    """An array with a hole that was none would be a lie."""
    with edited(python3_source) as (storage, _):
        records = [record for transaction_ in storage.iterator() for record in transaction_]
        blocks = [record.oid for record in records if record.data and b"ZBlk1" in record.data[:60]]
        lose(storage, blocks[-1])
    with pytest.raises(SourceError, match=r"block \d+ of '.*' in .* cannot be read"):
        import_database(python3_source, url)
    with root_of(url) as root:
        assert all(name.startswith("unfinished import") for name in root)


# -- cut short

KILLED = """
import os, signal
from wendelin.storage.wendelin_core import transfer
left = {after}
def count(blocks):
    global left
    left -= blocks
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
transfer.import_database({source!r}, {url!r}, progress=count, batch={batch})
"""


def kill(source: str, url: str, after: int, batch: int) -> None:
    command = [sys.executable, "-c", KILLED.format(source=source, url=url, after=after, batch=batch)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("after", "batch"), [(1, 1), (4, 1), (9, 1), (18, 1), (18, 1 << 30)])
def test_a_killed_import_shows_nothing_and_goes_on(source: str, url: str, after: int, batch: int) -> None:
    """After a commit for each block, or one for all."""
    kill(source, url, after, batch)
    with root_of(url) as root:
        assert [name[:17] for name in root] == ["unfinished import"]
    moved: list[int] = []
    found = import_database(source, url, progress=moved.append, batch=batch)
    assert found.resumed == (batch == 1)
    assert sum(moved) == found.blocks
    with root_of(url) as root:
        check_arrays(root)
        assert not [name for name in root if "unfinished" in name]
        assert root["values/whole"] == 12345678901234567890


def test_a_source_that_changed_is_copied_anew(python3_source: str, url: str) -> None:
    kill(python3_source, url, 9, 1)
    with edited(python3_source) as (_, root):
        root["added"] = OOBTree({"later": 1})
    assert not import_database(python3_source, url).resumed
    with root_of(url) as root:
        check_arrays(root)
        assert root["added/later"] == 1
        assert not [name for name in root if "unfinished" in name]


def test_two_imports_of_one_source_do_not_mix(python3_source: str, url: str) -> None:
    """The second takes over what the first has; the first ends with an error instead of publishing twice."""
    inner: list[Summary] = []

    def overtake(_: int) -> None:
        if not inner:
            inner.append(import_database(python3_source, url))

    with pytest.raises(ImportInterruptedError):
        import_database(python3_source, url, progress=overtake, batch=1)
    assert len(inner) == 1
    with root_of(url) as root:
        check_arrays(root)
        assert not [name for name in root if "unfinished" in name]


SYNTHETIC = """
# Not written by wendelin.core, which is not here: stand-ins with its names and its states. 256 MiB in 128 blocks.
import sys, types, transaction
from BTrees.LOBTree import LOBTree
from persistent import Persistent
import numpy as np, ZODB
def stand_in(module, name, getstate):
    sys.modules.setdefault(module, types.ModuleType(module))
    made = type(name, (Persistent,), {{"__module__": module, "__getstate__": getstate}})
    setattr(sys.modules[module], name, made)
    return made
Block = stand_in("wendelin.bigfile.file_zodb", "ZBlk0", lambda self: self._v_data)
File = stand_in("wendelin.bigfile.file_zodb", "ZBigFile", lambda self: (2 << 20, self._v_table))
Array = stand_in("wendelin.bigarray.array_zodb", "ZBigArray", lambda self: self._v_state)
db = ZODB.DB({source!r})
root = db.open().root()
array, file = Array(), File()
file._v_table = table = LOBTree()
array._v_state = dict(_shape=(128 << 18,), _dtype=np.dtype("f8"), _order="C", zfile=file)
root["big"] = array
for number in range(128):
    block = table[number] = Block()
    block._v_data = np.arange(number << 18, number + 1 << 18, dtype="f8").tobytes()
    transaction.savepoint()
    block._p_deactivate()
transaction.commit()
db.close()
"""

MEASURED = """
import re
from pathlib import Path
from wendelin.storage.wendelin_core import transfer
def held():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
peak = []
transfer.import_database({source!r}, {url!r}, progress=lambda _: peak.append(held()), batch=32 << 20)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_source(url: str, tmp_path: Path) -> None:
    source = str(tmp_path / "big.fs")
    with children(2) as (writer, reader):
        writer.do(SYNTHETIC.format(source=source))
        start, peak = reader.do(MEASURED.format(source=source, url=url), "peak[0], max(peak)")
    assert Path(source).stat().st_size > 256 << 20
    assert peak - start < 112 << 20
    with root_of(url) as root:
        np.testing.assert_array_equal(root["big"][...], np.arange(128 << 18, dtype="f8"))


# -- the command


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(Path(sys.executable).parent / "wendelin"), "db", "import-wendelin-core", *arguments]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=120, **options)


def test_the_command_shows_what_came(python3_source: str, url: str) -> None:
    assert "Names that exist are not overwritten" in command("--help").stdout
    tried = command(python3_source, url, "--into", "old", "--dry-run")
    assert "would copy 17 arrays, 23 plain values, 7 folders, 1 second name of these" in tried.stdout
    done = command(python3_source, url, "--into", "old")
    assert done.returncode == 0, done.stderr
    assert "copied 17 arrays" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("old/plants/4/power"))
    assert row.split() == ["old/plants/4/power", "(1000,", "3)", "float32", "C", "11.72", "KiB", "1"]
    assert "note: left out, because it leads back to a folder that it lies in: 'plants/up'\n" in done.stderr
    assert "blocks  [" not in done.stderr, "no bar where nobody looks"
    again = command(python3_source, "--db", url, "--into", "old")
    assert again.returncode == 2
    assert "--into PREFIX" in again.stderr
    assert "Traceback" not in again.stderr
    with root_of(url) as root:
        check_arrays(root["old"])


def test_the_page_about_it_runs(wendelin_home: Path) -> None:
    """The Python block of docs/how-to/coming-from-wendelin-core.md, on an empty default database."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "coming-from-wendelin-core.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    check = (
        'A = wendelin.connect().root()["plants/4/power"]\nassert (A.shape, A[3, 5], A[...].sum()) == ((10, 8), 2, 81)\n'
    )
    subprocess.run([sys.executable, "-W", "error", "-c", block + check], cwd=wendelin_home, check=True)


def test_a_wrong_source_is_a_wrong_call(url: str) -> None:
    done = command("nowhere.fs", url)
    assert done.returncode == 2
    assert "nowhere.fs' cannot be read (No such file or directory)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_sees_a_bar(python3_source: str, url: str) -> None:
    here, there = pty.openpty()
    words = [str(Path(sys.executable).parent / "wendelin"), "db", "import-wendelin-core", python3_source, url]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=there, timeout=120)
    os.close(there)
    shown = b""
    while chunk := _read(here):
        shown += chunk
    os.close(here)
    assert done.returncode == 0, shown
    assert b"18/18" in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux tells that the other side is closed
        return b""
