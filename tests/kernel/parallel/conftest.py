"""Workers that end with each test; every test starts with joblib knowing the backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wendelin.kernel import parallel


@pytest.fixture(autouse=True)
def own_workers(no_process_left: None) -> Iterator[None]:
    parallel.register()
    yield
    parallel.close()
