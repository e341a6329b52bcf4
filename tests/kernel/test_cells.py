"""A user's cell is a transaction."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.kernel.notebooks import Notebook, eventually, stored
from wendelin.kernel.advice import UNPICKLABLE
from wendelin.kernel.cells import WENT_BACK
from wendelin.storage.database import last_transactions

OpenNotebook = Callable[..., Notebook]


def last_transaction():
    import wendelin

    connection = wendelin.connect()
    try:
        return last_transactions(connection, 1)[0]
    finally:
        connection.close()


def test_success_commits(notebook):
    """What a cell stored is there for another process as soon as the cell has ended."""
    notebook.ok("root['success/a'] = 1; B = wendelin = __import__('wendelin').ZBigArray((3,), 'i4')")
    assert stored("success/a") == 1
    notebook.ok("root['success/b'] = B; B[:] = 7")
    assert stored("success/b") == [7, 7, 7]
    notebook.ok("view = B[:]")
    notebook.ok("view[1] = 8")  # through a view that an earlier cell took
    assert stored("success/b") == [7, 8, 7]


def test_exception_aborts(notebook):
    """After an exception stored data is back, Python variables are not, and the traceback's last line says so."""
    notebook.ok("import wendelin; root['exc'] = wendelin.ZBigArray((2,), 'i4'); name = 'before'")
    cell = notebook.run("root['exc'][:] = 5; root['exc2'] = 5; name = 'after'; 1/0")
    assert (cell.status, cell.ename) == ("error", "ZeroDivisionError")
    assert cell.last_line == WENT_BACK
    assert stored("exc") == [0, 0]
    assert notebook.ok("root['exc'][:].tolist(), 'exc2' in root, name").result == "([0, 0], False, 'after')"


@pytest.mark.parametrize(
    ("code", "ename"),
    [
        ("root['way'] = 1; raise ExceptionGroup('several', [ValueError(1)])", "ExceptionGroup"),
        ("root['way'] = 1; %wendelin ls nowhere", "UsageError"),
        ("root['way'] = 1; raise SystemExit(3)", "SystemExit"),
        ("root['way'] = 1; assert False", "AssertionError"),
    ],
)
def test_every_way_to_fail_says_that_data_went_back(notebook, code, ename):
    """Exceptions that IPython shows in other ways have the line too, once."""
    cell = notebook.run(code.replace("; %", "\n%"))
    assert (cell.status, cell.ename) == ("error", ename)
    assert (cell.traceback + cell.stderr).count(WENT_BACK) == 1
    assert stored("way") is None


def test_syntax_error_has_no_such_line(notebook):
    """Nothing ran, so nothing went back."""
    cell = notebook.run("root['syntax'] = 1; 1 +")
    assert cell.ename == "SyntaxError"
    assert WENT_BACK not in cell.traceback + cell.stderr


def test_failed_display_aborts(notebook):
    """A result that cannot be shown makes the reply an error, so the cell's data go back as well."""
    notebook.ok("class Shy:\n    def __repr__(self): raise ValueError('no')\n")
    cell = notebook.run("root['shy'] = 1\nShy()")
    assert cell.status == "error"
    assert stored("shy") is None


def test_script_that_raises_fails_the_cell(notebook, tmp_path):
    """IPython's %run shows a script's exception and reports success; in a transaction it has to be a failure."""
    script = tmp_path / "script.py"
    script.write_text("root['script'] = 1\nraise LookupError('in a script')\n")
    cell = notebook.run(f"%run -i {script}")
    assert (cell.status, cell.ename) == ("error", "LookupError")
    assert cell.last_line == WENT_BACK
    assert stored("script") is None
    script.write_text("root['script'] = 2\n")
    notebook.ok(f"%run -i {script}")
    assert stored("script") == 2


def test_snapshot_is_fresh(notebook, open_notebook: OpenNotebook):
    """A cell sees what was committed before it began, and keeps that view while it runs."""
    other = open_notebook()
    other.ok("root['fresh'] = 1")
    assert notebook.ok("root['fresh']").result == "1"
    other.ok("root['fresh'] = 2")
    assert notebook.ok("root['fresh']").result == "2"


def test_conflict_fails_the_cell_and_a_second_run_succeeds(open_notebook: OpenNotebook):
    """The cell that loses says what to do, and doing it works."""
    first, second = open_notebook(), open_notebook()
    first.ok("import wendelin; root['conflict'] = wendelin.ZBigArray((4,), 'i8')")
    add = "root['conflict'][0] += 1"
    message = second.start(f"print('began', flush=True)\nseen = root['conflict'][0]\ninput('go on')\n{add}")
    second.client.get_stdin_msg(timeout=60)
    first.ok(add)
    second.client.input("")
    lost = second.finish(message)
    assert (lost.status, lost.ename) == ("error", "ConflictError")
    assert "Run it again" in lost.traceback
    assert "Nothing of this cell was stored" in lost.traceback
    assert stored("conflict") == [1, 0, 0, 0]
    second.ok(add)
    assert stored("conflict") == [2, 0, 0, 0]


def test_conflict_on_a_name_is_named(open_notebook: OpenNotebook):
    """A conflict about an object that has a path says which."""
    first, second = open_notebook(), open_notebook()
    first.ok("from persistent.mapping import PersistentMapping; root['deep/er/map'] = PersistentMapping(a=1)")
    message = second.start("print('began', flush=True)\nroot['deep/er/map']['a'] = 2\ninput('go on')")
    second.client.get_stdin_msg(timeout=60)
    first.ok("root['deep/er/map']['a'] = 3")
    second.client.input("")
    lost = second.finish(message)
    assert lost.ename == "ConflictError"
    assert "root['deep/er/map']" in lost.traceback


@pytest.mark.parametrize("options", [{"store_history": False}, {"silent": True}])
def test_cells_behind_the_users_back_neither_begin_nor_commit(notebook, options):
    """What front ends run for themselves stores nothing, and takes nothing away."""
    notebook.run("root['behind'] = 1", **options)
    assert stored("behind") is None
    notebook.ok("pass")
    assert notebook.ok("'behind' in root").result == "False"
    assert stored("behind") is None


def test_silent_cell_within_the_users_work_keeps_the_view(notebook, open_notebook: OpenNotebook):
    """A cell without history does not move the snapshot."""
    other = open_notebook()
    other.ok("root['moves'] = 1")
    notebook.ok("root['moves']")
    other.ok("root['moves'] = 2")
    assert notebook.run("print(root['moves'])", store_history=False).stdout == "1\n"
    assert notebook.ok("root['moves']").result == "2"


def test_top_level_await(notebook):
    """A cell that awaits is a transaction like any other."""
    notebook.ok("import asyncio\nawait asyncio.sleep(0.01)\nroot['await'] = 1\nawait asyncio.sleep(0.01)")
    assert stored("await") == 1
    cell = notebook.run("root['await'] = 2\nawait asyncio.sleep(0.01)\nraise RuntimeError('late')")
    assert cell.last_line == WENT_BACK
    assert stored("await") == 1


@pytest.mark.parametrize("wait", ["time.sleep(60)", "await asyncio.sleep(60)"])
def test_interrupt_aborts(notebook, wait):
    """Ctrl-C takes stored data back, in plain and in awaiting cells."""
    message = notebook.start(f"import time, asyncio\nroot['interrupted'] = 1\nprint('on', flush=True)\n{wait}")
    notebook.manager.interrupt_kernel()
    cell = notebook.finish(message)
    assert cell.ename in ("KeyboardInterrupt", "CancelledError")
    assert cell.last_line == WENT_BACK
    assert stored("interrupted") is None
    notebook.ok("root['interrupted'] = 2")
    assert stored("interrupted") == 2
    notebook.ok("del root['interrupted']")


def test_transactions_by_hand_within_a_cell(notebook):
    """A cell that commits and aborts by itself works; what follows is a transaction of its own."""
    notebook.ok("import transaction\nroot['hand/a'] = 1\ntransaction.commit()\nroot['hand/b'] = 1\ntransaction.abort()")
    assert (stored("hand/a"), stored("hand/b")) == (1, None)
    cell = notebook.run("root['hand/c'] = 1\n%wendelin commit -m 'half way'\nroot['hand/d'] = 1\n1/0")
    assert cell.last_line == WENT_BACK  # to the last commit, which the cell made
    assert (stored("hand/c"), stored("hand/d")) == (1, None)


def test_transaction_tells_user_and_cell(open_notebook: OpenNotebook):
    """The hub's user, the notebook, the cell's number and its first line of code are in the transaction."""
    notebook = open_notebook(JUPYTERHUB_USER="ada@plant", JPY_SESSION_NAME="plants/solar yield.ipynb")
    notebook.ok("1")
    notebook.ok("# why\n\nroot['signed'] = " + "'x' * 5 + " * 40 + "''")
    made = last_transaction()
    assert made.user == "ada@plant"
    assert made.note.startswith("solar yield.ipynb [2] root['signed'] = 'x'")
    assert len(made.note) <= 120
    notebook.ok("root['signed'] = 2\n%wendelin commit -m 'second try'")
    assert last_transaction().note.splitlines() == ["second try", "solar yield.ipynb [3] root['signed'] = 2"]


def test_user_without_a_hub(open_notebook: OpenNotebook):
    """Without a hub it is the system's user."""
    notebook = open_notebook(LOGNAME="grace", JUPYTERHUB_USER="")
    notebook.ok("root['signed by'] = 1")
    assert last_transaction().user == "grace"


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("root['bad'] = (i for i in [])", "root['bad'] is a generator"),
        ("root['bad/deep/er'] = {'x': [1, lambda: 0]}", "root['bad/deep/er']['x'][1] is a function"),
        ("root['bad'] = PersistentMapping(a=1, b=open('/dev/null'))", "root['bad']['b'] is a _io.TextIOWrapper"),
        ("root['tree'][250] = (i for i in [])", "root['tree'][250] is a generator"),
    ],
)
def test_unpicklable_value_is_named(notebook, code, where):
    """A value that cannot be stored fails the cell, with its path, and the next cell works."""
    notebook.ok("from persistent.mapping import PersistentMapping; from BTrees.OOBTree import OOBTree")
    notebook.ok("root['tree'] = OOBTree({i: i for i in range(300)}); root['ok'] = 0")
    cell = notebook.run(f"root['ok'] = 1; {code}")
    assert cell.status == "error"
    assert where in cell.traceback
    assert UNPICKLABLE in cell.traceback
    assert cell.traceback.count("cannot be stored") == 1
    assert notebook.ok("root['ok'], 'bad' in root").result == "(0, False)"
    notebook.ok("root['ok'] = 2")
    assert stored("ok") == 2


def test_read_only_database(open_notebook: OpenNotebook):
    """On a read-only connection a cell that stores fails and says so; reading works."""
    notebook = open_notebook()
    notebook.ok("root['readable'] = 1")
    notebook.ok("%wendelin open --read-only")
    assert "reading only" in notebook.ok("%wendelin status").result
    cell = notebook.run("root['readable'] = 2")
    assert (cell.status, cell.ename) == ("error", "ReadOnlyError")
    assert "This connection only reads" in cell.traceback
    assert notebook.ok("root['readable']").result == "1"


def test_error_within_a_commit_that_nobody_foresaw_shows_where(notebook):
    """Anything else shows its whole traceback and the line."""
    cell = notebook.run(
        "import transaction\ntransaction.get().addBeforeCommitHook(lambda: 1 / 0)\nroot['unforeseen'] = 1"
    )
    assert (cell.status, cell.ename) == ("error", "ZeroDivisionError")
    assert "Traceback" in cell.traceback
    assert cell.last_line == WENT_BACK
    assert stored("unforeseen") is None


def test_failed_cell_stops_those_that_wait(notebook):
    """Cells queued behind one whose commit failed are not run, as after any other error."""
    failing = notebook.client.execute("import time; time.sleep(0.5); root['queue'] = (i for i in [])")
    queued = notebook.client.execute("root['queued'] = 1")
    replies: dict[str, str] = {}
    while len(replies) < 2:
        reply = notebook.client.get_shell_msg(timeout=60)
        replies[reply["parent_header"]["msg_id"]] = reply["content"]["status"]
    assert replies == {failing: "error", queued: "aborted"}
    assert eventually(lambda: notebook.run("1").status == "ok")
    assert stored("queued") is None


def test_killed_kernel_finds_its_arrays_again(open_notebook: OpenNotebook):
    """kill -9 in the middle of a cell leaves what was committed; a new kernel has it."""
    notebook = open_notebook()
    notebook.ok("import wendelin; root['kept'] = wendelin.ZBigArray((3,), 'f8'); root['kept'][:] = 1.5")
    notebook.start("root['kept'][:] = 9; root['lost'] = 1; print('on', flush=True)\nimport time; time.sleep(60)")
    notebook.manager.signal_kernel(signal.SIGKILL)
    notebook.kill()
    assert notebook.ok("root['kept'][:].tolist(), 'lost' in root").result == "([1.5, 1.5, 1.5], False)"


def test_cells_switch_off_and_on(open_notebook: OpenNotebook):
    """`%wendelin cells off` leaves commits to the user."""
    notebook = open_notebook()
    assert "no transactions" in notebook.ok("%wendelin cells off").stdout
    notebook.ok("root['switch'] = 1")
    assert stored("switch") is None
    assert WENT_BACK not in notebook.run("1/0").traceback
    assert notebook.ok("root['switch']").result == "1"
    notebook.ok("%wendelin commit")
    assert stored("switch") == 1
    notebook.ok("%wendelin cells on")
    notebook.ok("root['switch'] = 2")
    assert stored("switch") == 2


def test_cells_run_by_a_cell_belong_to_it(notebook):
    """`get_ipython().run_cell` inside a cell is no transaction of its own."""
    cell = notebook.run("get_ipython().run_cell(\"root['nested'] = 1\", store_history=True)\n1/0")
    assert cell.ename == "ZeroDivisionError"
    assert stored("nested") is None
    inner = notebook.ok("root['outer'] = 1\nr = get_ipython().run_cell(\"1/0\")\nroot['outer'] = 2")
    assert WENT_BACK not in inner.traceback
    assert stored("outer") == 2


def test_names_come_back_after_reset(notebook):
    """%reset empties the notebook; `db` and `root` are there again in the next cell."""
    notebook.ok("%reset -f")
    assert notebook.ok("db is root._p_jar, np.__name__").result == "(True, 'numpy')"


def test_subshell_is_refused_the_connection(notebook):
    """A subshell runs in another thread: it can open its own connection, and not change data through the main one."""
    reply = notebook.client.session.msg("create_subshell_request", {})
    notebook.client.control_channel.send(reply)
    subshell = notebook.client.get_control_msg(timeout=60)["content"]["subshell_id"]

    def run(code):
        message = notebook.client.session.msg(
            "execute_request",
            {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False},
        )
        message["header"]["subshell_id"] = subshell
        notebook.client.shell_channel.send(message)
        return notebook.finish(message["header"]["msg_id"])

    notebook.ok("over = False; list(root)")  # opens the database, which waits for the main thread to need it
    refused = run("root['subshell'] = 1")
    assert refused.ename == "ForeignThreadError"
    assert "wendelin.connect(read_only=True)" in refused.evalue
    assert WENT_BACK not in refused.traceback
    assert run("import wendelin; own = wendelin.connect(read_only=True); list(own.root()); own.close()").status == "ok"
    assert "main thread" in run("%wendelin ls").evalue
    notebook.ok("root['main'] = 1")
    assert (stored("subshell"), stored("main")) == (None, 1)
    # The cell lingers: `run` drops messages of other cells, and its own must have arrived before this one ends.
    waits = "print('on', flush=True)\nimport time\nwhile not over: time.sleep(0.01)\ntime.sleep(3)\n"
    message = notebook.start(waits + "root['main'] = 2")
    assert run("root['subshell'] = 2").ename == "ForeignThreadError"
    run("over = True")
    assert notebook.finish(message).ename == "ForeignThreadError"
    notebook.ok("root['main'] = 3")
    assert (stored("subshell"), stored("main")) == (None, 3)
