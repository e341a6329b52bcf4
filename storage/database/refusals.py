"""What the machine refuses to a database, as errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from wendelin.storage.errors import ResourceError, StorageFullError, WendelinError

# A file size limit (ulimit -f) looks like a full disk to a database.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def resource_error(folder: Path, error: OSError) -> ResourceError:
    """What was refused to the database in `folder`."""
    if error.errno in FULL:
        return StorageFullError(
            error.errno,
            f"{error.strerror}: no room for the database in {str(folder)!r}. "
            f"Free some (see `df -h {folder}`), then try again; nothing committed is lost",
        )
    return ResourceError(
        error.errno,
        f"{error.strerror}: the database in {str(folder)!r} cannot be used "
        f"({error.filename or 'the machine names no file'}). "
        f"Allow it to user {os.getuid()} (see `ls -ld {folder}`), then try again",
    )


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Raise the machine's errors as `ResourceError`; ours pass."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WendelinError):
            raise
        raise resource_error(folder, error) from error
