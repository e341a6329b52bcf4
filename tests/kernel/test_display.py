"""Tables and advice, without a kernel."""

from __future__ import annotations

import errno
import pickle

import pytest
import transaction
from transaction.interfaces import DoomedTransaction, TransactionFailedError
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import ConflictError, ReadConflictError, ReadOnlyError

import wendelin
from wendelin.kernel.advice import advice
from wendelin.kernel.display import Table, status
from wendelin.kernel.inventory import COUNTED, count, size_text
from wendelin.storage.errors import ServerGoneError, StorageFullError
from wendelin.storage.folder import Folder


def test_table_as_text():
    """Columns line up, numbers to the right; without trailing blanks."""
    table = Table("title", ("name", "size"), [("a", "1 B"), ("long", "1,000 B")], "foot", right=(1,))
    assert repr(table).splitlines() == ["title", "  name     size", "  a         1 B", "  long  1,000 B", "foot"]
    assert repr(Table("nothing", (), [])) == "nothing"


def test_table_as_html_escapes():
    """Names of others are text, not markup."""
    html = Table("<t>", ("<c>",), [("<script>alert(1)</script>",)], "<f>")._repr_html_()
    assert "&lt;script&gt;" in html
    for markup in ("<t>", "<c>", "<script>", "<f>"):
        assert markup not in html


def test_status_of_a_closed_connection(wendelin_home):
    """A connection that was closed says so instead of failing to show."""
    connection = wendelin.connect(f"file://{wendelin_home}/files", transaction_manager=transaction.TransactionManager())
    assert "reading and writing" in repr(status(connection))
    connection.close()
    assert "%wendelin open" in repr(status(connection))


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"), (5 << 50, "5,120 TiB")],
)
def test_sizes(nbytes, text):
    """Bytes in the largest fitting unit."""
    assert size_text(nbytes) == text


def test_huge_folders_are_not_counted_to_their_end():
    """Counting stops where people stop caring."""
    folder = Folder()
    folder["one"] = 1
    assert count(folder) == "1 name"
    for i in range(COUNTED + 5):
        folder[f"{i}"] = i
    assert count(folder) == f"more than {COUNTED:,} names"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConflictError(), "Run it again"),
        (ReadConflictError(), "Run it again"),
        (ReadOnlyError(), "%wendelin open URL"),
        (ClientDisconnected(), "look whether it arrived"),
        (ServerGoneError("gone"), "%wendelin open"),
        (TransactionFailedError(), "transaction.abort()"),
        (DoomedTransaction(), "doomed"),
        (StorageFullError("full"), "no room"),
        (OSError(errno.ENOSPC, "full"), "no room"),
        (KeyboardInterrupt(), "interrupted"),
        (pickle.PicklingError("no"), "Store plain values"),
        (TypeError("cannot pickle 'generator' object"), "Store plain values"),
        (AttributeError("Can't pickle local object 'f.<locals>.g'"), "Store plain values"),
    ],
)
def test_advice(error, told):
    """Each foreseen failure of a commit says what to do."""
    assert "Nothing of this cell was stored" in advice(error, "this cell")
    assert told in advice(error, "this cell")


@pytest.mark.parametrize("error", [TypeError("unsupported operand"), ValueError("x"), OSError(errno.EIO, "x")])
def test_no_advice_for_bugs(error):
    """What was not foreseen is not explained away."""
    assert advice(error, "this cell") == ""
