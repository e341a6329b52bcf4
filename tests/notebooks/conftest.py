from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import transaction

import wendelin
from wendelin.notebooks.solar import readings
from wendelin.notebooks.solar.analysis import Analysis, analyse
from wendelin.notebooks.solar.load import DATA
from wendelin.notebooks.solar.systems import SYSTEMS


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    """A connection of its own transactions to an empty database of this process."""
    connection = wendelin.connect(f"file://{tmp_path}/db", transaction_manager=transaction.TransactionManager())
    yield connection
    connection.transaction_manager.abort()
    connection.close()


@pytest.fixture(scope="session")
def golden() -> pd.DataFrame:
    """The measurements of PVDAQ 4, as the database would give them back."""
    system = SYSTEMS["4"]
    return readings.from_records(readings.to_records(readings.read_parquet(DATA / system.file, system), system))


@pytest.fixture(scope="session")
def golden_analysis(golden: pd.DataFrame) -> Analysis:
    """The analysis of PVDAQ 4; some seconds, once."""
    return analyse(SYSTEMS["4"], golden)
