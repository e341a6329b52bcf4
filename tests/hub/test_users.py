from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from wendelin.hub_config.accounts import Accounts
from wendelin.hub_config.users import main


def call(data: Path, *arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(main, ["--data", str(data), *arguments])
    return found.exit_code, found.output


def test_a_person_comes_and_goes(tmp_path: Path):
    status, text = call(tmp_path, "add", "kim", "--group", "managers")
    assert status == 0
    password = Accounts(tmp_path / "accounts.json")["kim"].password
    assert password
    assert password in text
    assert "managers" in call(tmp_path, "list")[1]
    status, text = call(tmp_path, "password", "kim")
    assert status == 0
    assert password not in text
    assert call(tmp_path, "remove", "kim") == (0, "")
    assert "kim" not in call(tmp_path, "list")[1]


def test_without_a_group_the_list_says_what_that_means(tmp_path: Path):
    call(tmp_path, "add", "kim")
    assert "can open nothing" in call(tmp_path, "list")[1]


def test_mistakes_are_told_without_a_traceback(tmp_path: Path):
    for arguments in (("add", "../kim"), ("password", "eve"), ("remove", "eve")):
        status, text = call(tmp_path, *arguments)
        assert status == 1
        assert text.startswith("Error: ")
