"""A node: a process that works on the activities of a database, and dispatches them when nobody else does."""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import click

from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.engine import Engine

log = logging.getLogger(__name__)

#: Seconds between two looks whether there is anything left.
_LOOK = 0.5


def serve(
    url: str,
    engine: Engine,
    *,
    name: str = "",
    idle: float | None = None,
    metrics: int | None = None,
    stop: threading.Event,
) -> None:
    """Dispatch the activities of `url` to `engine` until `stop` is set, or for `idle` seconds nothing was waiting.

    `metrics`: the port for Prometheus. Raises what the dispatcher did not expect.
    """
    dispatcher = Dispatcher(url, engine, node=name)
    stop_metrics = _serve_metrics(dispatcher, metrics)
    failures: list[BaseException] = []

    def dispatch() -> None:
        try:
            dispatcher.run()
        except BaseException as error:  # noqa: BLE001  # raised below, in the node's own thread
            failures.append(error)

    thread = threading.Thread(target=dispatch, name="wendelin dispatcher", daemon=True)
    thread.start()
    busy = time.monotonic()
    try:
        while not stop.wait(_LOOK) and thread.is_alive():
            if not dispatcher.is_idle:
                busy = time.monotonic()
            elif idle is not None and time.monotonic() - busy > idle:
                log.info("nothing was waiting for %g s: the node ends", idle)
                break
    finally:
        dispatcher.stop()
        thread.join()
        stop_metrics()
        engine.close()
    if failures:
        raise failures[0]


def _serve_metrics(dispatcher: Dispatcher, port: int | None) -> Callable[[], None]:
    if port is None:
        return lambda: None
    from wendelin.kernel.activity.metrics import serve as serve_metrics

    try:
        port, end = serve_metrics(dispatcher, port)
    except OSError as error:
        raise click.ClickException(f"--metrics {port}: {error}; give another port, or 0 for a free one") from error
    log.info("metrics for Prometheus: http://127.0.0.1:%d/metrics", port)
    return end


@click.command()
@click.option("--database", "url", default=None, help="The database; by default $WENDELIN_DB or your own.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Worker processes; by default one a processor.")
@click.option("--name", default="", help="The node's name, for activities that want it.")
@click.option("--scheduler", default="", help="Address of a Dask scheduler whose workers do the work instead.")
@click.option("--idle", type=float, default=None, help="End when nothing was waiting for so many seconds.")
@click.option("--metrics", type=click.IntRange(0, 65535), default=None, help="Port on loopback for Prometheus; 0: any.")
def node(url: str | None, scheduler: str, workers: int | None, **options: Any) -> None:
    """Work on the activities of a database. Ctrl-C or SIGTERM ends it; what was running is run again by others.

    Several nodes of one database share the work, wherever they run.
    """
    from wendelin.storage.database.urls import FileURL, parse

    place = parse(url)
    if isinstance(place, FileURL):
        raise click.UsageError(
            f"{place.url} is for one process: workers need a served database, as local://{place.folder}"
        )
    faulthandler.register(signal.SIGUSR1)  # shows what all threads do, on stderr
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    serve(place.url if url is None else url, _engine(workers, scheduler), stop=stop, **options)


def _engine(workers: int | None, scheduler: str) -> Any:
    if scheduler:
        from wendelin.kernel.activity.cluster import DaskEngine

        return DaskEngine(scheduler)
    from wendelin.kernel.activity.local import LocalEngine

    return LocalEngine(workers)


if __name__ == "__main__":
    node()
