"""What Prometheus is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import transaction
from prometheus_client.parser import text_string_to_metric_families

import wendelin
from tests.house.repository import ROOT
from tests.kernel.activity.conftest import engine_of
from tests.kernel.activity.dispatching import running, until
from wendelin import ZBigArray
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.metrics import serve

pytestmark = pytest.mark.slow


def read(port: int) -> dict[str, float]:
    """All samples, by name and labels."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_numbers_of_what_ended_failed_died_and_waits(data: ZBigArray, conn: Any, tmp_path: Path) -> None:
    @wendelin.operation
    def die_once(data: ZBigArray, mark: str) -> None:
        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    with engine_of(None) as engine:
        dispatcher = Dispatcher(conn.url, engine, node="here")
        port, stop = serve(dispatcher, 0)
        try:
            assert read(port)["wendelin_dispatcher_leader"] == 0
            with running(dispatcher):
                good = [data.activate().process(n, 1) for n in range(7)]
                bad = wendelin.activate(divmod, connection=conn, max_retry=0)(1, 0)
                once = data.activate().die_once(str(tmp_path / "mark"))
                data.activate(delay=3600).process(0, 1)
                transaction.commit()
                for handle in (*good, once):
                    handle.result(60)
                assert bad.wait(60)
                found = until(
                    lambda: (
                        (now := read(port))["wendelin_activities_finished_total"] == 8
                        and now["wendelin_activities failed"] == 1
                        and now
                    )
                )
                assert found["wendelin_dispatcher_leader"] == 1
                assert found["wendelin_activities waiting"] == 1
                assert found["wendelin_activities_queue_length"] == 0
                assert found["wendelin_activities_failed_total"] == found["wendelin_activities_given_up_total"] == 1
                assert found["wendelin_activities_died_total"] >= 1
                assert found["wendelin_activities_started_total"] >= 10
                assert 7 <= found["wendelin_activities_run_seconds_count"] <= 10
                assert 7 <= found["wendelin_activities_latency_seconds_bucket +Inf"] <= 10
                assert found["wendelin_activities_latency_seconds_bucket 600"] > 0
                (workers,) = (value for name, value in found.items() if name.startswith("wendelin_workers_alive"))
                assert workers in (1, 2)
        finally:
            stop()


def test_a_node_serves_them_on_loopback(data: ZBigArray, conn: Any) -> None:
    handle = data.activate().process(0, 1)
    transaction.commit()
    command = [sys.executable, "-m", "wendelin.kernel.activity.node", "--database", conn.url, "--workers", "1"]
    with subprocess.Popen([*command, "--metrics", "0"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as node:
        assert node.stderr
        try:
            match = None
            while match is None:
                match = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", node.stderr.readline())
            handle.result(60)
            until(lambda: read(int(match[1]))["wendelin_activities_finished_total"] == 1)
        finally:
            node.terminate()
            node.stderr.read()
    assert node.returncode == 0
