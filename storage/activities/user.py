"""On whose behalf a thread works."""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator
from contextvars import ContextVar

_user: ContextVar[str | None] = ContextVar("wendelin_user", default=None)


def current_user() -> str:
    """The user that this thread works for: whose activity runs, else the hub's user, else the system's."""
    return _user.get() or os.environ.get("JUPYTERHUB_USER") or _system_user()


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Work for another user within the block."""
    token = _user.set(user)
    try:
        yield
    finally:
        _user.reset(token)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
