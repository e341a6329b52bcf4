"""A database in files with its entities, and a second connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from wendelin.storage.activities import active


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Any]:
    connection = wendelin.connect(f"file://{tmp_path}/db")
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def ubm(conn: Any) -> Any:
    found = wendelin.entities(conn)
    transaction.commit()
    return found


@pytest.fixture
def other(conn: Any, ubm: Any) -> Iterator[Any]:
    """The entities through another connection, with transactions of its own: `other.manager`."""
    manager = transaction.TransactionManager()
    connection = wendelin.connect(conn.url, transaction_manager=manager)
    found = wendelin.entities(connection)
    found._v_manager = manager  # also keeps them in the cache
    yield found
    manager.abort()
    connection.close()


@pytest.fixture(autouse=True)
def nobody_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activities wait for the test."""
    monkeypatch.setattr(active, "after_commit", [])
