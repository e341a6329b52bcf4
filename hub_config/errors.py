"""The exceptions of deployments, grouped by what the operator would do.

::

    WendelinError
    ├── UsageError
    │   ├── HubConfigError (ValueError) ─ correct the named part of the configuration
    │   └── AccountError (ValueError) ─ correct the name, group or password
    └── UnavailableError
        ├── PortTakenError ─ choose another port
        ├── ToolMissingError (FileNotFoundError) ─ install the program
        ├── AlreadyRunningError ─ stop the other one, or choose another data folder
        └── HubDiedError ─ read the log's tail in the message
"""

from __future__ import annotations

from wendelin.storage.errors import UnavailableError, UsageError


class HubConfigError(UsageError, ValueError):
    """A part of the hub's configuration names something that does not exist."""


class AccountError(UsageError, ValueError):
    """An account cannot be made or changed as asked."""


class PortTakenError(UnavailableError):
    """Another program listens on the port."""


class ToolMissingError(UnavailableError, FileNotFoundError):
    """A program that the hub needs is not installed."""


class AlreadyRunningError(UnavailableError):
    """Another workbench uses the same data folder."""


class HubDiedError(UnavailableError):
    """The hub ended by itself or did not become ready."""
