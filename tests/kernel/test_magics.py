"""`%wendelin` and its subcommands: what they do, and how they refuse."""

from __future__ import annotations

import re

import pytest

from tests.kernel.notebooks import stored
from wendelin.kernel.magics import SUBCOMMANDS, subcommand


@pytest.fixture(scope="module")
def plant(notebook):
    """The notebook with something in its database."""
    notebook.ok("import wendelin, transaction")
    notebook.ok(
        "root['plant/power'] = wendelin.ZBigArray((1000, 8), 'f4')\n"
        "root['plant/log'] = wendelin.ZBigArray(5, [('t', 'M8[s]'), ('v', 'f8', (2,))])\n"
        "root['plant/name'] = 'Ré<b>'\n"
        "root['plant/inverter/state'] = wendelin.ZBigArray((0,), 'i1', order='F')"
    )
    return notebook


def test_no_subcommand_is_help(plant):
    """`%wendelin` alone lists all subcommands."""
    shown = plant.ok("%wendelin").result
    assert all(f"%wendelin {name} " in shown for name in SUBCOMMANDS)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_each(plant, name):
    """The help of a subcommand comes from its parser, in both ways to ask, and the cell succeeds."""
    asked = plant.ok(f"%wendelin help {name}").stdout
    assert asked == subcommand(name).parser.format_help() == plant.ok(f"%wendelin {name} --help").stdout
    assert subcommand(name).summary[1:] in " ".join(asked.split())


def test_status(plant):
    """Where the database is, who one is, whether cells are transactions, and the last transactions with their cells."""
    shown = plant.ok("%wendelin status")
    for text in ("local:///", "reading and writing", "each cell is a transaction", "root['plant/power'] ="):
        assert text in shown.result
    assert "<table>" in shown.html


def test_ls(plant):
    """A table of a folder's names; arrays with shape, dtype, size and last change."""
    shown = plant.ok("%wendelin ls plant").result
    assert re.search(r"power +array +1,000 × 8 +float32 +31.25 KiB +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown)
    assert re.search(r"inverter +folder", shown)
    assert re.search(r"name +str", shown)
    assert re.search(r"log +array +5 +t datetime64\[s\], v \('<f8', \(2,\)\)", shown)
    assert [line.split()[0] for line in shown.splitlines()[2:]] == ["inverter", "log", "name", "power"]
    assert "plant" in plant.ok("%wendelin ls").result
    assert plant.ok("%wendelin ls plant/power").result.count("array") == 1
    assert "Ré&lt;b&gt;" not in plant.ok("%wendelin ls plant").html  # no values, but were there any …
    plant.ok("root['plant2/<b>'] = 1")
    assert "&lt;b&gt;" in plant.ok("%wendelin ls plant2").html


def test_ls_of_what_is_not_committed(plant):
    """A new array has no last change yet, and an empty folder says what to do."""
    shown = plant.ok("%wendelin new fresh/array 3 i4\n%wendelin ls fresh").result
    assert re.search(r"array +3 +int32 +12 B$", shown, re.MULTILINE)
    assert "%wendelin new" in plant.ok("root.folder('empty')\n%wendelin ls empty").result


def test_ls_is_limited(plant):
    """Of many names the first are shown, and how to see more."""
    plant.ok("for i in range(150): root[f'many/{i:03}'] = i")
    shown = plant.ok("%wendelin ls many").result
    assert "099" in shown
    assert "100" not in shown.replace("… of 150", "")
    assert "… of 150 names; -n shows more" in shown
    assert "149" in plant.ok("%wendelin ls many -n 200").result


def test_tree(plant):
    """Folders within folders, as deep as asked."""
    shown = plant.ok("%wendelin tree plant").result
    assert re.search(r"inverter/ +folder\n\W+state +\(0,\) int8", shown)
    assert "state" not in plant.ok("%wendelin tree plant -d 1").result
    assert "… and more" in plant.ok("%wendelin tree -n 2").result


def test_info(plant):
    """All about an array, a folder, a value."""
    shown = plant.ok("%wendelin info plant/power").result
    for text in ("wendelin.ZBigArray", "(1000, 8)", "float32", "C (rows contiguous)", "32,000 bytes", "1 of 2 MiB"):
        assert text in shown
    assert re.search(r"last change +\d{4}-", shown)
    assert "4 names" in plant.ok("%wendelin info plant").result
    assert "builtins.str" in plant.ok("%wendelin info plant/name").result
    assert "F (columns contiguous)" in plant.ok("%wendelin info plant/inverter/state").result


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("one 1000 f4", "((1000,), 'float32', 'C')"),
        ("two (0, 8) int64", "((0, 8), 'int64', 'C')"),
        ("three 2,3 f8 --order F", "((2, 3), 'float64', 'F')"),
        ("four (n, len('abc')) kind", "((4, 3), 'datetime64[ms]', 'C')"),
        ("five n*2 'i8, f4'", "((8,), [('f0', '<i8'), ('f1', '<f4')], 'C')"),
        ("six --order=F {n} f4", "((4,), 'float32', 'F')"),
        ("seven (np.int64(3),) f4", "((3,), 'float32', 'C')"),
    ],
)
def test_new(plant, line, made):
    """Shapes and dtypes in all ways to write them, names of variables included."""
    name = line.split()[0]
    plant.ok(f"n = 4; kind = np.dtype('M8[ms]')\n%wendelin new made/{line}")
    got = plant.ok(
        f"A = root['made/{name}']; A.shape, A.dtype.descr if A.dtype.names else str(A.dtype), A.order"
    ).result
    assert got == made
    assert stored(f"made/{name}") is not None


def test_open_binds_a_name(plant):
    """A path becomes a Python variable, by its last part or the name asked for."""
    plant.ok("%wendelin open plant/power")
    assert plant.ok("power is root['plant/power']").result == "True"
    plant.ok("%wendelin open plant/inverter/state as inverters")
    assert plant.ok("inverters is root['plant/inverter/state']").result == "True"


def test_open_another_database(plant, tmp_path):
    """A URL leads `db` and `root` to another database, and nothing leads back."""
    plant.ok(f"first = db\n%wendelin open file://{tmp_path}/other")
    assert plant.ok("print(db is first, list(root), db.url)").stdout == f"False [] file://{tmp_path}/other\n"
    plant.ok("root['here'] = 1")
    assert stored("here") is None
    plant.ok("%wendelin open")
    assert plant.ok("'here' in root, 'plant' in root").result == "(False, True)"
    assert stored("here", f"file://{tmp_path}/other") == 1


def test_open_refuses_with_changes(plant, tmp_path):
    """A database with uncommitted changes is not closed under one's feet."""
    cell = plant.run(f"root['unsaved'] = 1\n%wendelin open file://{tmp_path}/other")
    assert cell.ename == "UsageError"
    assert "%wendelin commit or %wendelin abort" in cell.evalue
    assert plant.ok("'plant' in root").result == "True"


def test_begin_commit_abort(plant):
    """The three by hand, within one cell."""
    plant.ok("root['by/a'] = 1\n%wendelin commit\nroot['by/b'] = 1\n%wendelin abort\nroot['by/c'] = 1")
    assert [stored(f"by/{name}") for name in "abc"] == [1, None, 1]
    plant.ok("root['by/d'] = 1\n%wendelin begin\nroot['by/e'] = 1")
    assert (stored("by/d"), stored("by/e")) == (None, 1)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lss", "did you mean %wendelin ls?"),
        ("frobnicate", "%wendelin help lists all"),
        ("ls nowhere", "'nowhere' is not in this folder"),
        ("ls plant/power/x", "'power' is ZBigArray, not a folder"),
        ("ls a//b", "write parts between single slashes"),
        ("ls a b", "unrecognized arguments: b; write %wendelin ls"),
        ("ls 'a", "No closing quotation"),
        ("ls -n many", "invalid int value: 'many'"),
        ("tree nowhere", "'nowhere' is not in this folder"),
        ("info", "required: path; write %wendelin info [-h] path"),
        ("info nowhere", "'nowhere' is not in this folder"),
        ("new", "required: path, shape, dtype"),
        ("new onlypath f4", "required: dtype"),
        ("new plant/power 3 f4", "'plant/power' exists: choose another name, or del root['plant/power'] first"),
        ("new plant/power/x 3 f4", "'power' is ZBigArray, not a folder"),
        ("new bad/a nope f4", "shape 'nope': name 'nope' is not defined; write lengths or variables"),
        ("new bad/a (3, f4", "was never closed"),
        ("new bad/a -3 f4", "-3"),
        ("new bad/a (-3,) f4", "lengths cannot be negative"),
        ("new bad/a 1.5 f4", "give an int or a tuple of ints"),
        ("new bad/a 3 float99", "dtype 'float99' is neither a NumPy dtype, as f4 or int64, nor a variable"),
        ("new bad/a 3 object", "holds Python objects"),
        ("new bad/a 3 f4 --order X", "invalid choice: 'X'"),
        ("open nowhere", "'nowhere' is not in this folder"),
        ("open plant/power as", "as what? write %wendelin open plant/power as NAME"),
        ("open plant/power as not-a-name", "'not-a-name' is no Python name"),
        ("open plant/power as class", "'class' is no Python name"),
        ("open plant/power like x", "invalid choice: 'like'"),
        ("open many/001", "'001' is no Python name: write %wendelin open many/001 as NAME"),
        ("open nix://server", "'nix://server' is no database URL"),
        ("open zeo:///nowhere?wait_timeout=0.1 as x", "a database is always called db"),
        ("open zeo:///nowhere?wait_timeout=0.1", "does not answer"),
        ("open file:///proc/nowhere", "/proc/nowhere"),
        ("commit hello", "unrecognized arguments: hello; write %wendelin commit"),
        ("begin now", "unrecognized arguments: now"),
        ("abort now", "unrecognized arguments: now"),
        ("status now", "unrecognized arguments: now"),
        ("cells maybe", "invalid choice: 'maybe'"),
        ("help nothing", "%wendelin has no subcommand 'nothing'"),
    ],
)
def test_mistakes_show_one_sentence(plant, line, says):
    """A mistake is a usage error without a traceback, says what to type, and leaves the database open."""
    plant.ok("if 'many' not in root: root['many/001'] = 1")
    cell = plant.run(f"%wendelin {line}")
    assert (cell.status, cell.ename) == ("error", "UsageError")
    assert says in cell.stderr
    assert not cell.traceback
    assert plant.ok("'plant' in root, 'bad' in root").result == "(True, False)"


def test_bugs_show_their_traceback(plant):
    """What is no mistake of the user is not disguised as one."""
    plant.ok("import wendelin.kernel.magics.ls as module; kept = module.row; module.row = None")
    assert "TypeError" in plant.run("%wendelin ls").traceback
    plant.ok("module.row = kept")


def test_each_subcommand_is_a_file():
    """One file a subcommand, and none that nobody reaches."""
    from pathlib import Path

    import wendelin.kernel.magics as package

    files = {file.stem for file in Path(package.__file__ or "").parent.glob("*.py")} - {"__init__", "command"}
    assert files == set(SUBCOMMANDS)


def test_documentation_has_the_parsers_text():
    """The reference page is made from the parsers."""
    from pathlib import Path

    from wendelin.kernel.reference import page

    written = Path(__file__).parents[2] / "docs" / "reference" / "magics.md"
    assert written.read_text() == page(), "run: python -m wendelin.kernel.reference > docs/reference/magics.md"
