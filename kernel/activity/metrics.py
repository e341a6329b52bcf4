"""A dispatcher's numbers for Prometheus: `wendelin node --metrics PORT` serves them on loopback, nowhere else.

They are read when Prometheus asks; nothing is counted twice or stored. A node that stands by tells its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from wendelin.storage.errors import MissingPackageError

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingPackageError(
        f"metrics need the package {missing.name}: pip install 'wendelin-workbench[metrics]'"
    ) from missing

if TYPE_CHECKING:
    from wendelin.kernel.activity.account import Histogram
    from wendelin.kernel.activity.dispatcher import Dispatcher

_TOTALS = {
    "started": "Runs of activities handed to workers",
    "finished": "Activities that ended",
    "failed": "Runs that raised an error",
    "given_up": "Activities that failed for good",
    "conflicts": "Runs given up for later because of conflicts",
    "died": "Activities that a worker had when it died",
}


class Numbers(Collector):
    """What a dispatcher offers to Prometheus."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[Metric]:
        """As `prometheus_client` wants it; called in its threads."""
        from wendelin.kernel.activity.account import report

        told, account = report(self._dispatcher), self._dispatcher.account
        yield GaugeMetricFamily("wendelin_dispatcher_leader", "Whether this node dispatches", told["leads"])
        if told["leads"]:  # whoever stands by does not know
            states = GaugeMetricFamily("wendelin_activities", "Activities that have not ended", labels=["state"])
            for state in ("running", "waiting", "failed"):
                states.add_metric([state], told["counts"][state])
            yield states
            queue = told["counts"]["waiting"] - told["counts"]["later"]
            yield GaugeMetricFamily("wendelin_activities_queue_length", "Waiting, and not for a date", queue)
        for name, words in _TOTALS.items():
            yield CounterMetricFamily(f"wendelin_activities_{name}", words, told["totals"][name])
        yield _histogram("wendelin_activities_latency_seconds", "From commit to begin of the first run", account.waited)
        yield _histogram("wendelin_activities_run_seconds", "Duration of a run", account.ran)
        alive = GaugeMetricFamily("wendelin_workers_alive", "Worker processes that are there", labels=["node"])
        busy = GaugeMetricFamily("wendelin_workers_busy", "Workers that run something", labels=["node"])
        for node in told["nodes"]:
            alive.add_metric([node["name"]], len(node["pids"]))
            busy.add_metric([node["name"]], node["busy"])
        yield alive
        yield busy


def serve(dispatcher: Dispatcher, port: int) -> tuple[int, Callable[[], None]]:
    """Serve the metrics on loopback; the port (a free one for 0), and what ends it. OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(Numbers(dispatcher))
    server, thread = start_http_server(port, "127.0.0.1", registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return server.server_port, stop


def _histogram(name: str, words: str, values: Histogram) -> Metric:
    buckets: list[tuple[str, Any]] = []
    total = 0
    for bound, count in zip((*map(str, values.bounds), "+Inf"), list(values.counts), strict=True):
        total += count
        buckets.append((bound, total))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=values.sum)
