"""For `pytest -p`: of joblib's own tests, those that run with a registered backend run with ours alone.

Processes of other backends know only the backends that they register themselves, so whoever runs this puts a
`sitecustomize` on the path that calls `wendelin.kernel.parallel.register()`.
"""

from __future__ import annotations

import pytest

from wendelin.kernel.parallel import register
from wendelin.kernel.parallel.backend import WendelinBackend

register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _is_ours(item)]


def _is_ours(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    values = () if parameters is None else parameters.params.values()
    return any(value == "wendelin" or isinstance(value, WendelinBackend) for value in values)
