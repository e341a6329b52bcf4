"""Workers of a `dask.distributed` cluster: any scheduler that a client can reach.

The engine chooses the worker itself and gives each as many calls as it has threads, no more: those that die with a
worker were running (Dask would blame the ones that waited, too). See `link` for how it is done.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Self

from wendelin.kernel.activity.engine import NodeStatus, Task
from wendelin.storage.errors import MissingPackageError

try:
    import dask.config

    from wendelin.kernel.activity.link import Link
except ImportError as missing:
    raise MissingPackageError(
        f"a Dask cluster needs the package {missing.name}: pip install 'wendelin-workbench[dask]'"
    ) from missing


class DaskEngine:
    """Runs calls on the workers of a Dask cluster, one for each of their threads.

    Parameters
    ----------
    where : str, distributed.Client, cluster, or None
        A scheduler's address, such as `tcp://10.0.0.5:8786`, `tls://…` or `gateway://…`; a client or cluster object,
        whose address and security are used; None for `scheduler-address` in Dask's configuration.
    security : distributed.security.Security, optional
        Certificates for `tls://`. By default what Dask's configuration says (`distributed.comm.tls`).
    ahead : int
        Calls that a worker is given beyond those that its threads run. One hides Dask's delay of some milliseconds a
        call, but when a worker is lost nobody knows whether the call that waited had begun: it is `died` as well.

    Raises
    ------
    ServerGoneError
        No scheduler answers within 10 seconds. One that is lost later is waited for: what it had is `died`, what it had
        not been given waits.

    Notes
    -----
    Cancelling a running call ends it at once where its worker has one thread, no other call, and a nanny, which starts
    it anew. Elsewhere the task is cancelled, and the call goes on to its end and keeps its slot until then: threads
    cannot be killed. `close` leaves the cluster's processes alone, which are not this engine's. The workers need the
    same `wendelin-workbench`.
    """

    def __init__(self, where: Any = None, *, security: Any = None, ahead: int = 0) -> None:
        self.address, found = _place(where)
        self._link = Link(self.address, security or found, ahead)
        weakref.finalize(self, self._link.close)
        self._link.connected.result()

    @property
    def slots(self) -> int:
        """Threads of all workers; 1 while there are none."""
        return max(1, sum(node.slots for node in self.nodes().values()))

    def start(self, call: Callable[..., Any], *args: Any) -> Task:
        """See `Engine.start`."""
        return self._link.start(call, args)

    def wait(self, timeout: float) -> list[Task]:
        """See `Engine.wait`."""
        return self._link.ended.wait(timeout)

    def wake(self) -> None:
        """See `Engine.wake`."""
        self._link.ended.wake()

    def nodes(self) -> dict[str, NodeStatus]:
        """The workers by name; none while the scheduler is lost."""
        return {node.name: node.status() for node in list(self._link.nodes.values())}

    def close(self) -> None:
        """See `Engine.close`; workers and scheduler stay."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<DaskEngine {self.address} workers={len(self._link.nodes)}>"


def _place(where: Any) -> tuple[str, Any]:
    if where is None:
        where = dask.config.get("scheduler-address", None)
    if isinstance(where, str):
        return where, None
    scheduler = getattr(where, "scheduler", None)
    address = getattr(where, "scheduler_address", None) or getattr(scheduler, "address", None)
    if not isinstance(address, str):
        raise TypeError(
            f"{where!r} names no Dask scheduler: give its address, DaskEngine('tcp://host:8786'), or a Client"
        )
    return address, getattr(where, "security", None)
