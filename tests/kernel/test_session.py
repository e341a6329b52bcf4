"""The session by itself, in this process: names, users, interrupts, threads."""

from __future__ import annotations

import getpass
import os
import signal
import threading

import pytest
import transaction

import wendelin
from wendelin.kernel.session import (
    HINT_LENGTH,
    InterruptedAfterCommit,
    Missing,
    OneInterruptWaits,
    Session,
    cell_hint,
    user_name,
)
from wendelin.storage.errors import ForeignThreadError, UnavailableError, UsageError


@pytest.fixture
def session(wendelin_home, monkeypatch):
    """A session on a file database."""
    monkeypatch.setenv("WENDELIN_DB", f"file://{wendelin_home}/files")
    opened = Session({})
    yield opened
    opened.close()


def test_open_binds_names(session):
    """Opening gives the five names; a variable `np` of the user's own stays."""
    session.namespace["np"] = "mine"
    session.ensure_open()
    assert session.namespace["db"] is session.connection
    assert session.namespace["root"] is session.connection.root()
    assert session.namespace["ubm"]._p_jar is session.connection
    assert session.namespace["np"] == "mine"
    assert session.namespace["wendelin"] is wendelin


def test_commit_signs(session, monkeypatch):
    """Every commit in the session's thread is signed, also one by hand; a user's own signature stays."""
    from wendelin.storage.database import last_transactions

    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    session.ensure_open()
    session.hint = "book [1] x"
    session.namespace["root"]["a"] = 1
    transaction.commit()
    session.namespace["root"]["a"] = 2
    transaction.get().user = "somebody else"
    transaction.get().note("mine")
    session.commit("ours")
    made = last_transactions(session.connection, 2)
    assert [(each.user, each.note) for each in made] == [
        ("somebody else", "mine\nours\nbook [1] x"),
        ("ada", "book [1] x"),
    ]


def test_close_leaves_the_transaction_manager(session):
    """A closed session gives up its changes, and later transactions are not its own."""
    session.ensure_open()
    session.namespace["root"]["lost"] = 1
    session.close()
    session.close()
    other = wendelin.connect(transaction_manager=transaction.TransactionManager())
    assert "lost" not in other.root()
    other.close()


def test_failed_open_keeps_the_open_one(session):
    """Another database that cannot be opened leaves this one as it is."""
    session.ensure_open()
    before = session.connection
    with pytest.raises(UnavailableError):
        session.open("zeo:///nowhere?wait_timeout=0.05")
    assert session.connection is before
    assert session.namespace["root"] is before.root()


def test_open_refuses_to_lose_changes(session, wendelin_home):
    """A connection with changes is not closed."""
    session.ensure_open()
    session.namespace["root"]["changed"] = 1
    for url in (None, f"file://{wendelin_home}/other"):
        with pytest.raises(UsageError, match="%wendelin commit or %wendelin abort"):
            session.open(url)
    session.commit()
    session.open(f"file://{wendelin_home}/other")
    assert session.connection.url.endswith("/other")


def test_missing_database(session, monkeypatch):
    """Without a database the names raise what to do, whatever one does with them, and show it."""
    monkeypatch.setenv("WENDELIN_DB", "zeo:///nowhere?wait_timeout=0.05")
    session.ensure_open()
    root = session.namespace["root"]
    assert isinstance(root, Missing)
    for use in (lambda: root["x"], lambda: list(root), lambda: "x" in root, lambda: root.keys, lambda: len(root)):
        with pytest.raises(UnavailableError, match="%wendelin open"):
            use()
    assert "%wendelin open" in repr(root)
    assert not hasattr(root, "_repr_html_")
    monkeypatch.delenv("WENDELIN_DB")
    session.ensure_open()  # was tried: only `open` tries again
    assert session.connection is None


def test_other_threads_are_refused(session):
    """Another thread cannot change data through the session's connection, and what it left in memory is not stored."""
    session.ensure_open()
    root = session.namespace["root"]
    raised = []

    def change():
        try:
            root["foreign"] = 1
        except ForeignThreadError as error:
            raised.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert "wendelin.connect(read_only=True)" in str(raised[0])
    root["own"] = 1
    with pytest.raises(ForeignThreadError, match="nothing was stored"):
        session.commit()
    session.begin()
    root["own"] = 2
    session.commit()
    assert sorted(root) == ["own"]


def test_first_interrupt_waits_for_the_commit(session):
    """Ctrl-C during a commit lets it finish and is told afterwards."""
    session.ensure_open()
    session.namespace["root"]["interrupted"] = 1
    transaction.get().addBeforeCommitHook(os.kill, (os.getpid(), signal.SIGINT))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedAfterCommit, match="the changes are stored"):
        session.commit()
    assert signal.getsignal(signal.SIGINT) is handler
    session.abort()
    assert session.namespace["root"]["interrupted"] == 1


def test_second_interrupt_breaks_the_commit_off(session):
    """Who presses Ctrl-C twice does not wait; nothing is stored then."""
    session.ensure_open()
    session.namespace["root"]["broken"] = 1
    for _ in range(2):
        transaction.get().addBeforeCommitHook(os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt) as raised:
        session.commit()
    assert not isinstance(raised.value, InterruptedAfterCommit)
    assert "broken" not in session.namespace["root"]


def test_interrupts_in_other_threads_are_left_alone():
    """Only the main thread gets signals, so only there they can be kept."""
    kept = []
    thread = threading.Thread(target=lambda: kept.append(OneInterruptWaits().__enter__().came))
    thread.start()
    thread.join()
    assert kept == [False]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("x = 1", "[7] x = 1"),
        ("\n\n# a comment\n  y = 2  \nz = 3", "[7] y = 2"),
        ("# only a comment", "[7] # only a comment"),
        ("", "[7]"),
        ("x" * 500, "[7] " + "x" * (HINT_LENGTH - 5) + "…"),
    ],
)
def test_hint_of_a_cell(code, hint, monkeypatch):
    """The first line of code, not longer than a line of a table."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert cell_hint(7, code) == hint


def test_user_without_a_name(monkeypatch):
    """A container that runs under a number without a name still signs."""
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert user_name() == f"uid {os.getuid()}"
