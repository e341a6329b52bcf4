"""kill -9 at any moment of a commit, and power failures, leave the last committed state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.crash import SABOTAGES, torture


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_writers_leave_the_last_committed_state(tmp_path: Path, seed: int) -> None:
    log = torture(tmp_path, rounds=40, seed=seed)
    assert not log.violations, log
    assert len(log.rounds) == 40
    assert log.inside_commit >= 1 / 3, log
    assert {"flush", "store"} <= {r.phase for r in log.rounds}
    assert log.rounds[-1].acknowledged > 3


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_torture_notices_when_a_part_of_the_commit_is_taken_out(tmp_path: Path, sabotage: str) -> None:
    assert torture(tmp_path, rounds=100, seed=1, sabotage=sabotage).violations
