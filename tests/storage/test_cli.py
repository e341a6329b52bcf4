"""The command `wendelin`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
import transaction
from click.testing import CliRunner

import wendelin
from wendelin.storage import cli
from wendelin.storage.database import ondemand

pytestmark = pytest.mark.usefixtures("wendelin_home")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "wendelin"), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def test_version() -> None:
    assert run("--version").stdout.strip() == f"wendelin, version {wendelin.__version__}"


@pytest.mark.parametrize("arguments", [[], ["db"], ["db", "status"], ["db", "start"], ["db", "stop"]])
def test_every_command_explains_itself(arguments: list[str]) -> None:
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert "Usage: wendelin" in done.stdout
    assert len(done.stdout.splitlines()) > 5


def test_start_status_stop(wendelin_home: Path) -> None:
    folder = wendelin_home / "db" / "default"
    before = run("db", "status")
    assert before.returncode == 1
    assert "no server is running" in before.stdout
    assert ondemand.find(folder) is None, "status starts nothing"
    started = run("db", "start")
    assert started.returncode == 0, started.stderr
    server = ondemand.find(folder)
    assert server is not None
    assert f"process {server.pid} serves {folder}" in started.stdout
    assert run("db", "start").stdout == started.stdout
    shown = run("db", "status")
    assert shown.returncode == 0, shown.stderr
    assert f"local://{folder}" in shown.stdout
    assert f"process {server.pid} on {server.socket}" in shown.stdout
    assert "up since" in shown.stdout
    stopped = run("db", "stop")
    assert f"stopped process {server.pid}" in stopped.stdout
    assert run("db", "stop").stdout.strip() == "no server was running"
    assert run("db", "status").returncode == 1


def test_status_for_programs(wendelin_home: Path) -> None:
    connection = wendelin.connect()
    connection.root()["x"] = wendelin.ZBigArray((1000,), "f8")
    connection.root()["x"][:] = 1
    transaction.commit()
    done = run("db", "status", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["url"] == connection.url
    assert found["running"] is True
    assert found["pid"] == ondemand.state(wendelin_home / "db" / "default")["pid"]
    assert found["bytes_on_disk"] > 8000
    assert found["connections"] == 1
    assert found["objects"] > 1
    assert found["last"] > found["since"] > "2020"
    assert found["problem"] is None
    connection.close()


@pytest.mark.parametrize("way", [["{url}"], ["--db", "{url}"]])
def test_a_database_is_named_by_argument_or_option(way: list[str], wendelin_home: Path) -> None:
    url = f"file://{wendelin_home}/plant"
    missing = run("db", "status", *[word.format(url=url) for word in way])
    assert missing.returncode == 1
    assert "there is no database" in missing.stdout
    wendelin.connect(url).close()
    assert run("db", "status", *[word.format(url=url) for word in way]).returncode == 0


def test_the_environment_names_the_database(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_DB", f"local://{wendelin_home}/plant")
    assert run("db", "start").returncode == 0
    assert ondemand.find(wendelin_home / "plant") is not None
    assert run("db", "stop").returncode == 0


def test_a_wrong_url_shows_the_right_forms_and_no_traceback() -> None:
    done = run("db", "status", "plant")
    assert done.returncode == 2
    assert "'plant' is no database URL" in done.stderr
    assert "zeo://host:port" in done.stderr
    assert "Traceback" not in done.stderr
    assert run("db", "status", "file:///a", "--db", "file:///b").returncode == 2


@pytest.mark.parametrize("command", ["start", "stop"])
def test_only_our_servers_are_started_and_stopped(command: str, wendelin_home: Path) -> None:
    done = run("db", command, f"file://{wendelin_home}/plant")
    assert done.returncode == 2
    assert "has no server of ours" in done.stderr


@click.command()
def plug() -> None:
    """Another floor's command."""
    click.echo("plugged in")


def test_other_floors_add_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam is the function that lists entry points: real ones would need an installed distribution."""
    entries = {
        "plug": EntryPoint("plug", f"{__name__}:plug", cli.COMMANDS),
        "gap": EntryPoint("gap", "wendelin.no_such_module:group", cli.COMMANDS),
    }
    monkeypatch.setattr(cli, "_plugins", lambda: entries)
    runner = CliRunner()
    assert "plugged in" in runner.invoke(cli.main, ["plug"]).output
    listed = runner.invoke(cli.main, ["--help"]).output
    assert "Another floor's command." in listed
    assert "gap" in listed
    missing = runner.invoke(cli.main, ["gap"])
    assert missing.exit_code == 1
    assert "needs a package that is not installed" in missing.output
