"""What the solar application refuses.

::

    WendelinError
    └── UsageError
        ├── MeasurementsError (ValueError) ─ the table cannot be analysed as it is
        ├── UnknownSystemError (LookupError) ─ no such system here
        └── NothingLoadedError (LookupError) ─ the database holds no solar data yet
"""

from __future__ import annotations

from wendelin.storage.errors import UsageError


class MeasurementsError(UsageError, ValueError):
    """A table of measurements that cannot be used as it is: the message names the column or the row."""


class UnknownSystemError(UsageError, LookupError):
    """No system of this name."""


class NothingLoadedError(UsageError, LookupError):
    """The database holds no solar data: run ``python -m wendelin.notebooks.solar.load``."""
