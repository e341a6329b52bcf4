"""The dashboards' service without a hub: its doors, its kernels' environment, its waiting room."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tornado.web import RequestHandler

from tests.hub.test_parts import settings as settings  # a fixture
from wendelin.hub_config.dashboards.kernels import kernel_environment
from wendelin.hub_config.dashboards.waiting import WaitingRoom
from wendelin.hub_config.ports import free_port, require_free
from wendelin.hub_config.settings import Settings

PREFIX = "/services/dashboards/"
HUB = {
    "JUPYTERHUB_API_TOKEN": "secret",
    "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
    "JUPYTERHUB_BASE_URL": "/",
    "JUPYTERHUB_CLIENT_ID": "service-dashboards",
    "JUPYTERHUB_SERVICE_NAME": "dashboards",
    "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8003",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(["access:services!service=dashboards"]),
}


@pytest.fixture
def routes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The routing table of the real application, which is neither started nor listening."""
    from wendelin.hub_config.dashboards.app import Dashboards, configuration

    for name, value in {**HUB, **settings.environment()}.items():
        monkeypatch.setenv(name, value)
    for name in ("VOILA_WS_BASE_URL", "VOILA_APP_IP"):
        monkeypatch.setenv(name, "")  # set by the application: forgotten after the test
    monkeypatch.setattr("signal.signal", lambda *_: None)
    app = Dashboards(config=configuration(settings, PREFIX))
    app.initialize([])
    app.connection_dir = str(settings.folder.jupyter)

    async def table() -> list[Any]:
        app.init_settings()
        return app.init_handlers()

    app.voila_configuration.preheat_kernel = True
    app.voila_configuration.default_pool_size = 0
    return asyncio.run(table())


def test_every_door_below_the_prefix_is_guarded(routes: list[Any]):
    from wendelin.hub_config.dashboards.app import open_doors

    assert open_doors(routes, PREFIX) == []


def test_an_unguarded_door_is_found():
    from wendelin.hub_config.dashboards.app import open_doors

    class Open(RequestHandler):
        pass

    assert open_doors([(f"{PREFIX}x", Open)], PREFIX) == [f"{PREFIX}x (Open)"]


def test_nobody_browses_files_or_reaches_the_kernels_waiting_line(routes: list[Any]):
    names = {handler.__name__: route for route, handler, *_ in routes}
    assert "VoilaContentsHandler" not in names
    assert "TornadoVoilaTreeHandler" not in names
    waiting = names["RequestInfoSocketHandler"]
    assert not waiting.startswith(PREFIX), "the proxy routes only the prefix"
    assert len(waiting.split("/")[1]) >= 32


def test_kernels_do_not_inherit_what_opens_the_hub():
    kept = kernel_environment({**HUB, "JPY_API_TOKEN": "x", "CONFIGPROXY_AUTH_TOKEN": "x", "WENDELIN_HOME": "/srv"})
    assert kept == {"WENDELIN_HOME": "/srv"}


def test_the_waiting_room_answers_any_path_and_frees_its_port():
    port = free_port()
    with WaitingRoom("127.0.0.1", port) as room:
        for path in ("/", "/services/dashboards/voila/render/x.ipynb"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)
            assert caught.value.code == 425
            assert b"starting" in caught.value.read()
        room.close()
        require_free("127.0.0.1", port)
        room.close()
    assert "serve_forever" not in {thread.name for thread in threading.enumerate()}


def test_the_template_names_no_other_host():
    from wendelin.hub_config.folders import SHARE

    texts = {path: path.read_text() for path in SHARE.rglob("*") if path.is_file()}
    assert len(texts) > 10
    for path, text in texts.items():
        for scheme in ("https://", "http://", "//cdn"):
            rest = text.replace("http://www.w3.org/", "")
            assert scheme not in rest, path


def test_the_shares_are_files_of_the_package(tmp_path: Path):
    from wendelin.hub_config.folders import SHARE

    assert (SHARE / "jupyter/voila/templates/wendelin/index.html.j2").exists()
    assert (SHARE / "jupyter_config/jupyter_server_config.json").exists()
