"""TCP ports: free ones for the inside, an error with the next call to type for a taken one."""

from __future__ import annotations

import errno
import socket

from wendelin.hub_config.errors import PortTakenError


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now. Another program may take it before we do: then the start fails loudly."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(host: str, port: int, option: str = "--port") -> None:
    """Raise `PortTakenError` unless a server could listen on `host`:`port`, `PermissionError` where it may not."""
    try:
        _try(host, port)
    except PermissionError as error:
        raise PermissionError(
            f"this user may not listen on port {port}: choose one above 1023, for example {option} {port + 8000}"
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTakenError(
            f"port {port} on {host} is taken{_by(port)}. Choose another one, for example {option} {_next(host, port)}"
        ) from error


def _try(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As the proxy does: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _next(host: str, port: int) -> int:
    for candidate in range(port + 1, min(port + 50, 65536)):
        try:
            _try(host, candidate)
        except OSError:
            continue
        return candidate
    return free_port()


def _by(port: int) -> str:
    """Who listens on `port`, where the machine lets us see it."""
    import psutil

    try:
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.laddr.port == port and found.pid:
                return f" by {psutil.Process(found.pid).name()} (process {found.pid})"
    except (psutil.Error, OSError):
        pass
    return ""
