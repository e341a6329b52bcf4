"""`ActiveProcess`: where activities leave results and errors for whoever reads them together, without conflicts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from persistent import Persistent

from wendelin.storage.activities.active import Active
from wendelin.storage.activities.call import packed, unpacked
from wendelin.storage.activities.merging import MergingLog


class ActiveResult(Persistent):
    """One result, or one error."""

    def __init__(self, connection: Any, value: Any, error: str, source: str) -> None:
        self.data, self.references = packed(value, connection)
        self.error = error
        self.source = source

    @property
    def value(self) -> Any:
        """What was posted."""
        return unpacked(self.data, self._p_jar)


class ActiveProcess(Active, Persistent):
    """A log of results: activities with `active_process=it` post what they return there, and their errors.

    Posting merges with what others post at the same time. Iterating gives values in the order of their commits.
    """

    def __init__(self) -> None:
        self._log = MergingLog()

    def post(self, value: Any, *, error: str = "", source: str = "") -> None:
        """Add a result. The process must be in a database."""
        self._log.append(secrets.token_hex(8), ActiveResult(self._p_jar, value, error, source))

    def results(self) -> Iterator[ActiveResult]:
        """All that was posted."""
        return (result for _, result in self._log)

    def __iter__(self) -> Iterator[Any]:
        return (result.value for result in self.results() if not result.error)

    def errors(self) -> list[str]:
        """The tracebacks that were posted."""
        return [result.error for result in self.results() if result.error]


for _class in (ActiveResult, ActiveProcess):
    _class.__module__ = "wendelin"  # the stored name; see wendelin/__init__.py
