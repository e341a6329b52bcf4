from __future__ import annotations

import re
from pathlib import Path

import pytest
from traitlets.config import Config

from wendelin.hub_config.accounts import Accounts, ensure_demo
from wendelin.hub_config.errors import HubConfigError
from wendelin.hub_config.folders import DataFolder
from wendelin.hub_config.parts import PARTS, configure, sorted_parts
from wendelin.hub_config.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    ensure_demo(Accounts(folder.accounts))
    return Settings(
        data=str(folder.root),
        host="127.0.0.1",
        port=8000,
        hub_port=8001,
        proxy_port=8002,
        dashboards_port=8003,
        database="local:///srv/plant",
        node="/opt/node",
        proxy="/opt/proxy.js",
        preheat=1,
        sign_up=False,
        run="test",
    )


def part(folder: Path, name: str, body: str) -> Path:
    folder.mkdir(exist_ok=True)
    text = f"def configure(c, settings):\n    {body}\n"
    (folder / name).write_text(text)
    return folder


def test_the_packages_own_parts_pass_their_own_check(settings: Settings):
    c = Config()
    configure(c, settings)
    assert c.JupyterHub.bind_url == "http://127.0.0.1:8000/"
    assert c.JupyterHub.hub_bind_url.startswith("http://127.0.0.1:")
    assert c.ConfigurableHTTPProxy.command == ["/opt/node", "/opt/proxy.js"]
    assert c.ConfigurableHTTPProxy.api_url.startswith("http://127.0.0.1:")
    assert c.NativeAuthenticator.open_signup is False
    assert c.NativeAuthenticator.enable_signup is False
    assert c.Spawner.environment["WENDELIN_DB"] == "local:///srv/plant"
    assert not {"self", "servers", "inherit"} & set(role(c, "user")["scopes"])
    assert role(c, "analyst")["groups"] == ["analysts", "admins"]
    assert c.JupyterHub.load_groups["managers"] == {"users": ["mara"]}
    assert c.Authenticator.admin_users == set()


def role(c: Config, name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = next(each for each in c.JupyterHub.load_roles if each["name"] == name)
    return found


def test_nothing_of_the_hubs_secrets_is_readable_by_others(settings: Settings):
    configure(Config(), settings)
    settings.save()
    for path in settings.folder.hub.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert settings.folder.hub.stat().st_mode & 0o077 == 0


def test_parts_run_in_the_order_of_their_names_across_folders(settings: Settings, tmp_path: Path):
    first = part(tmp_path / "a", "10_one.py", "c.JupyterHub.port = 1")
    part(first, "30_three.py", "c.JupyterHub.port = c.JupyterHub.port * 10 + 3")
    second = part(tmp_path / "b", "20_two.py", "c.JupyterHub.port = c.JupyterHub.port * 10 + 2")
    (second / "_helper.py").write_text("raise SystemExit")
    c = Config()
    configure(c, settings, [first, second])
    assert c.JupyterHub.port == 123


def test_a_deployments_part_goes_between_the_packages(settings: Settings):
    part(settings.folder.parts, "35_limits.py", "c.Spawner.start_timeout = 17")
    found = [path.name for path in sorted_parts((PARTS, settings.folder.parts))]
    assert found.index("30_spawner.py") + 1 == found.index("35_limits.py") == found.index("40_roles.py") - 1
    c = Config()
    configure(c, settings)
    assert c.Spawner.start_timeout == 17


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.Spwaner.cmd = ['x']", r"10_bad.py sets c.Spwaner, which no class reads: did you mean Spawner\?"),
        ("c.Spawner.defualt_url = '/'", r"c.Spawner.defualt_url, but .* no such setting: did you mean default_url\?"),
        ("c.JupyterHub.log = None", "c.JupyterHub.log, but"),
        ("c.Qqqqq.x = 1", "c.Qqqqq, which no class reads$"),
    ],
)
def test_a_misspelt_section_or_setting_is_fatal_and_named(settings: Settings, tmp_path: Path, line: str, said: str):
    with pytest.raises(HubConfigError, match=said):
        configure(Config(), settings, [part(tmp_path / "a", "10_bad.py", line)])


def test_a_part_without_its_function_is_fatal(settings: Settings, tmp_path: Path):
    (tmp_path / "10_old.py").write_text("c = get_config = None\n")
    with pytest.raises(HubConfigError, match=r"10_old.py defines no function configure\(c, settings\)"):
        configure(Config(), settings, [tmp_path])


def test_the_part_for_system_users_in_the_documentation_is_right(settings: Settings):
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "run.md"
    found = re.search(r"```python\n(def configure.*?)```", page.read_text(), re.DOTALL)
    assert found
    (settings.folder.parts / "35_system_users.py").write_text(found[1])
    c = Config()
    configure(c, settings)
    assert c.JupyterHub.spawner_class == "localprocess"
    assert c.Spawner.environment["WENDELIN_DB"].startswith("postgresql://")
