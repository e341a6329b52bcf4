"""The exceptions of Wendelin, grouped by what a handler would do.

::

    WendelinError
    ├── UsageError ─ change the call
    │   ├── DatabaseURLError (ValueError)
    │   ├── MissingPackageError (ImportError)
    │   ├── ForkedConnectionError (RuntimeError)
    │   ├── ForeignConnectionError (TypeError)
    │   ├── ForeignThreadError (RuntimeError)
    │   ├── UncommittedChangesError (ValueError)
    │   ├── NotStoredError (ValueError)
    │   ├── StateGoneError (LookupError)
    │   ├── MomentError (ValueError)
    │   ├── PastIsReadOnlyError (ValueError)
    │   ├── NoHistoryError (NotImplementedError)
    │   ├── TagError (ValueError)
    │   ├── UndoRefusedError (RuntimeError)
    │   ├── OptionError (ValueError)
    │   ├── ActivityError (RuntimeError)
    │   ├── MissingObjectError (LookupError)
    │   ├── UnsendableError (TypeError)
    │   ├── EngineClosedError (RuntimeError)
    │   ├── DroppedError (ValueError)
    │   ├── SourceError (ValueError)
    │   ├── NameTakenError (FileExistsError)
    │   ├── FieldError (ValueError)
    │   ├── NoEntityError (KeyError)
    │   ├── RelatedError (ValueError)
    │   ├── TransitionError (ValueError)
    │   ├── NotAllowedError (PermissionError)
    │   ├── QueryError (ValueError)
    │   └── ExchangeError (ValueError)
    ├── UnavailableError (ConnectionError) ─ wait, or start something, then call again
    │   ├── ServerGoneError
    │   ├── DatabaseLockedError
    │   ├── WorkerLostError
    │   └── ImportInterruptedError
    └── ResourceError (OSError) ─ free or allow something, then call again
        ├── StorageFullError
        ├── AddressSpaceError (MemoryError)
        ├── DamagedSegmentError
        └── WorkerDiedError (RuntimeError)

Conflicts between transactions stay ZODB's own: `ZODB.POSException.ConflictError`; retry the transaction.
Each leaf also inherits the standard exception that a plain Python program would expect. The message says what
happened, names the value, and the next call to type.
"""

from __future__ import annotations


class WendelinError(Exception):
    """Root of all errors that Wendelin raises by itself."""


class UsageError(WendelinError):
    """The call itself is wrong: change it."""


class DatabaseURLError(UsageError, ValueError):
    """A database URL that cannot be understood."""


class MissingPackageError(UsageError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class ForkedConnectionError(UsageError, RuntimeError):
    """A connection was used in a forked child: it belongs to the process that opened it."""


class ForeignConnectionError(UsageError, TypeError):
    """An array was reached through a connection that `wendelin.connect` did not open."""


class ForeignThreadError(UsageError, RuntimeError):
    """A notebook's connection was used in another thread, such as a subshell's: it belongs to the one of the cells."""


class UncommittedChangesError(UsageError, ValueError):
    """A view was to be sent by reference, and what it shows is not committed: others could not see it."""


class NotStoredError(UsageError, ValueError):
    """An array was to be sent by reference, and no database that others can open has it."""


class StateGoneError(UsageError, LookupError):
    """A reference or a time names a state that the database does not have, or not any more: it was packed away."""


class MomentError(UsageError, ValueError):
    """What was given as a time, a transaction or a tag names no state of a database."""


class PastIsReadOnlyError(UsageError, ValueError):
    """Something was changed in an earlier state of a database."""


class NoHistoryError(UsageError, NotImplementedError):
    """The database keeps its latest state only."""


class TagError(UsageError, ValueError):
    """A tag cannot be made, or there is none of that name."""


class UndoRefusedError(UsageError, RuntimeError):
    """A transaction cannot be undone: later ones changed the same."""


class OptionError(UsageError, ValueError):
    """An option of an activity makes no sense, or what it names cannot be stored."""


class ActivityError(UsageError, RuntimeError):
    """An activity failed for good, or did what an activity must not do."""


class MissingObjectError(UsageError, LookupError):
    """The object of an activity does not exist any more."""


class UnsendableError(UsageError, TypeError):
    """A call, its arguments, its result or what it raised cannot be sent between processes."""


class EngineClosedError(UsageError, RuntimeError):
    """An engine that was closed, or that another process made, was given a call."""


class DroppedError(UsageError, ValueError):
    """Bytes of a stream were asked for that retention has dropped."""


class SourceError(UsageError, ValueError):
    """A database to import from cannot be read."""


class NameTakenError(UsageError, FileExistsError):
    """A name that an import would give is taken in the target; nothing is overwritten."""


class FieldError(UsageError, ValueError):
    """A field or a relation of an entity was given what it does not take, or there is none of that name."""


class NoEntityError(UsageError, KeyError):
    """No entity has that uid or reference, or no type that name."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class RelatedError(UsageError, ValueError):
    """An entity cannot be deleted: others point to it."""


class TransitionError(UsageError, ValueError):
    """An entity has no such transition, not in its state, or not yet."""


class NotAllowedError(UsageError, PermissionError):
    """A user has none of the roles that a transition needs."""


class QueryError(UsageError, ValueError):
    """A search of the catalogue asks for what there is not, or in a way that it does not understand."""


class ExchangeError(UsageError, ValueError):
    """A file of entities cannot be imported; nothing was."""


class UnavailableError(WendelinError, ConnectionError):
    """Something is not there now: start it or wait, then call again."""


class ServerGoneError(UnavailableError):
    """The database server does not answer."""


class DatabaseLockedError(UnavailableError):
    """Another process holds the database's files."""


class WorkerLostError(UnavailableError):
    """A worker process ended while it had a call, which may have had effects; or workers do not start."""


class ImportInterruptedError(UnavailableError):
    """An import met another program that changed the same place; called again, it goes on."""


class ResourceError(WendelinError, OSError):
    """The machine refuses a resource: free or allow it, then call again."""


class StorageFullError(ResourceError):
    """No room on the disk for what the transaction wrote."""


class AddressSpaceError(ResourceError, MemoryError):
    """The machine refuses the address range of an array."""


class DamagedSegmentError(ResourceError):
    """A file that holds array data is missing or too short."""


class WorkerDiedError(ResourceError, RuntimeError):
    """A task ended the process that ran it, each time it was tried: out of memory, or a crash in compiled code."""
