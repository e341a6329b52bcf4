"""A database of this process, and arrays with versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/db"


@pytest.fixture
def conn(url: str) -> Iterator[Any]:
    manager = transaction.TransactionManager()
    connection = wendelin.connect(url, transaction_manager=manager)
    yield connection
    manager.abort()
    if connection.opened:
        connection.close()


@pytest.fixture
def root(conn: Any) -> Any:
    return conn.root()


def commit(conn: Any, note: str = "") -> Any:
    """Commit, and return the transaction."""
    conn.transaction_manager.get().note(note)
    conn.transaction_manager.commit()
    conn.transaction_manager.begin()
    return wendelin.history(conn, 1)[0]
