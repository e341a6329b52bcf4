"""Where the files of a user lie.

- *home* holds everything that lasts: databases in ``db/<name>``, caches in ``cache``. `WENDELIN_HOME` moves it.
- *runtime* holds sockets only. The kernel allows 107 bytes for a socket's path, so sockets never lie in the home,
  whose length is the user's choice; their names are short hashes of the database's folder.
- Both are private: a database is a trust boundary (who may write to it can run code in those who read it), and the
  sockets of a server are as good as its files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from wendelin.storage.errors import ResourceError

# struct sockaddr_un holds 108 bytes, the last one for NUL.
LONGEST_SOCKET_PATH = 107


def home() -> Path:
    """The folder of all files: `$WENDELIN_HOME`, else `$XDG_DATA_HOME/wendelin`, else `~/.local/share/wendelin`.

    Absolute; it need not exist yet.
    """
    chosen = os.environ.get("WENDELIN_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    base = Path(data) if data else Path.home() / ".local" / "share"
    return base.absolute() / "wendelin"


def database_folder(name: str = "default") -> Path:
    """The folder of the user's database `name`, below the home."""
    return home() / "db" / name


def cache_folder(key: str) -> Path:
    """A folder for what can be fetched again, one for each `key` (such as a database URL without its password)."""
    return home() / "cache" / short_hash(key)


def short_hash(text: str) -> str:
    """16 hexadecimal digits that name `text`."""
    return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()


def private_folder(path: Path) -> Path:
    """Make `path` (with its parents) a folder of mode 0700 and return it; an existing folder keeps its mode.

    Raises `ResourceError` where the machine refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"cannot make the folder {str(path)!r}: {error.strerror}. "
            f"Free or allow it, or name another place: export WENDELIN_HOME=/path/to/a/folder"
        ) from error
    return path


def node_folder() -> Path:
    """A folder on this machine's own disk, of mode 0700 and ours, that outlives a session: `/var/tmp/wendelin-<uid>`.

    For caches of a home that lies on a network. Raises `ResourceError` when another user made it.
    """
    folder = Path("/var/tmp") / f"wendelin-{os.getuid()}"  # noqa: S108  checked below: ours and 0700, not a link
    if not _made_private(folder):
        raise ResourceError(
            f"{str(folder)!r} is no private folder of user {os.getuid()} (mode 0700, no link): remove it, "
            f"or name a home on this machine's own disk: export WENDELIN_HOME=/path/to/a/folder"
        )
    return folder


def runtime_folder() -> Path:
    """The folder of sockets, of mode 0700 and ours: `$XDG_RUNTIME_DIR/wendelin`, else `/tmp/wendelin-<uid>`.

    Raises `ResourceError` when both are unusable, for example because another user made the one in `/tmp`.
    """
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and _is_ours(Path(session)):
        folder = Path(session) / "wendelin"
        if len(os.fsencode(folder)) + len("/0123456789abcdef.sock") <= LONGEST_SOCKET_PATH and _made_private(folder):
            return folder
    # Not tempfile.gettempdir(): two processes with another TMPDIR must meet.
    folder = Path("/tmp") / f"wendelin-{os.getuid()}"  # noqa: S108  checked below: ours and 0700, not a link
    if not _made_private(folder):
        raise ResourceError(
            f"{str(folder)!r} is no private folder of user {os.getuid()} (mode 0700, no link): remove it, "
            f"or name a private folder: export XDG_RUNTIME_DIR=/path/to/a/folder"
        )
    return folder


def socket_path(folder: Path) -> Path:
    """The socket of the server of the database in `folder`; its name depends only on the folder's real path."""
    return runtime_folder() / f"{short_hash(os.path.realpath(folder))}.sock"


def _made_private(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return False
    return _is_ours(folder)


def _is_ours(folder: Path) -> bool:
    """Whether `folder` is a real folder, owned by us, closed to all others and writable."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return private and os.access(folder, os.W_OK | os.X_OK)
