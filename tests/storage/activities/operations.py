"""The operation that the tests of activities share: a name has one operation in a process."""

from __future__ import annotations

import wendelin
from wendelin import ZBigArray


@wendelin.operation
def process(data: ZBigArray, start: int, size: int) -> int:
    """The deck's."""
    data[start : start + size] *= 2
    return start
