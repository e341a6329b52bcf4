"""The runner of benchmarks: what it finds, what it says, what it writes. No figure is judged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks import __main__ as runner


def test_every_benchmark_has_a_name_and_a_main() -> None:
    assert {"arrays", "database"} <= set(runner.names())
    for name in runner.names():
        module: Any = runner.load(name)
        assert module.NAME
        assert callable(module.main)


def test_an_unknown_name_tells_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"no benchmark 'arays'. There are: .*arrays"):
        runner.load("arays")


def test_a_table_replaces_the_one_before() -> None:
    """Other sections and the text around them stay as they are."""
    page = runner.put("# Benchmarks\n\nText.\n", "a", "Arrays", "old\n\n| a |")
    page = runner.put(page, "b", "Base", "| b |")
    again = runner.put(page, "a", "Arrays", "new\n\n| a |")
    assert again == page.replace("old", "new")
    assert again.startswith("# Benchmarks\n\nText.\n")
    assert again.count("## ") == 2


def test_the_machine_is_told() -> None:
    """Figures without their machine mean nothing."""
    told = runner.machine()
    assert "GiB" in told
    assert "Python 3." in told
    assert "?" not in told
