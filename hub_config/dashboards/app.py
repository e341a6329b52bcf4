"""Voilà as a service of the hub.

- Voilà is used as a library: its configuration is written here, no `voila.json` of the machine is read.
- Its routing table is rebuilt: file browsing goes, static files get a guard, and `open_doors` says which handlers
  would answer an anonymous request; starting with any is refused.
- A preheated kernel waits for its visitor on a websocket that Voilà leaves open to all. It moves out of the
  service's prefix, so the proxy never routes to it, below a random path.
- Whoever has no server of their own finds the REST door (`wendelin.extensions.server`) here, below the same prefix.
"""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import StaticFileHandler
from traitlets.config import Config
from voila.app import Voila
from voila.request_info_handler import RequestInfoSocketHandler
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.treehandler import TornadoVoilaTreeHandler

from wendelin.extensions.server.app import WendelinServer
from wendelin.extensions.server.door import handlers
from wendelin.extensions.server.routes import ENDPOINTS
from wendelin.hub_config.dashboards.access import Guarded, HubIdentity
from wendelin.hub_config.dashboards.kernels import KERNEL, DashboardKernels
from wendelin.hub_config.dashboards.pages import DashboardList, DashboardPage
from wendelin.hub_config.settings import Settings
from wendelin.hub_config.watch import die_with_parent

# 'self' covers websockets of the same origin. Bokeh compiles templates, widgets are blobs and inline styles.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'none'"
)
EXTENSIONS = [
    "@bokeh/jupyter_bokeh",
    "@jupyter-widgets/jupyterlab-manager",  # brings the modules of the basic widgets
    "@voila-dashboards/widgets-manager8",
    "anywidget",
]
CELL_ERROR = "This part could not be computed. The administrator finds the reason in the hub's log."


class Dashboards(Voila):
    """Voilà on a folder of notebooks, each request checked with the hub."""

    free_port: Callable[[], None]

    def listen(self) -> None:
        self.free_port()
        super().listen()

    def init_settings(self) -> Any:
        # Before any kernel starts: it finds its visitor's data there.
        self._visitors = f"/{secrets.token_urlsafe(32)}/"
        os.environ["VOILA_WS_BASE_URL"] = self._visitors
        os.environ["VOILA_APP_IP"] = self.ip
        settings = {**super().init_settings(), "allow_unauthenticated_access": False}
        self.kernel_manager.remember_files(Path(self.root_dir))
        return settings

    def init_handlers(self) -> list[Any]:
        table = self._rest() + [self._door(entry) for entry in super().init_handlers() if entry[1] not in (_DROPPED)]
        table.append((self.base_url, DashboardList, self._page_options()))
        # Without it, what matches no route is tornado's own 404, which reveals nothing but looks broken.
        unguarded = open_doors(table, self.base_url)
        if unguarded:
            raise RuntimeError(f"these routes would answer anybody, so the dashboards do not start: {unguarded}")
        return table

    def _rest(self) -> list[Any]:
        door = WendelinServer(parent=self)
        door.initialize_settings()
        atexit.register(door.workers.close)
        return [(url_path_join(self.base_url, route), *rest) for route, *rest in handlers(ENDPOINTS, door)]

    def _door(self, entry: Any) -> Any:
        route, handler, *rest = entry
        if handler is RequestInfoSocketHandler:
            return (url_path_join(self._visitors, route.removeprefix(self.base_url)), handler, *rest)
        if handler is TornadoVoilaHandler:
            return (route, DashboardPage, {**rest[0], "folder": Path(self.root_dir)})
        if issubclass(handler, StaticFileHandler):
            return (route, type(f"Guarded{handler.__name__}", (Guarded, handler), {}), *rest)
        return entry

    def _page_options(self) -> dict[str, Any]:
        return {"folder": Path(self.root_dir), "voila_configuration": self.voila_configuration}


_DROPPED = (VoilaContentsHandler, TornadoVoilaTreeHandler)


def open_doors(table: list[Any], prefix: str) -> list[str]:
    """The routes of `table` below `prefix` whose handler knows neither users nor `Guarded`."""
    return [
        f"{entry[0]} ({entry[1].__name__})"
        for entry in table
        if entry[0].startswith(prefix) and not issubclass(entry[1], (Guarded, JupyterHandler)) and not _signs_in(entry)
    ]


def _signs_in(entry: Any) -> bool:
    return str(entry[0]).endswith("/oauth_callback")


def configuration(settings: Settings, prefix: str) -> Config:
    """Voilà's configuration for the service at the path `prefix`."""
    c = Config()
    service = urlparse(os.environ.get("JUPYTERHUB_SERVICE_URL", f"http://127.0.0.1:{settings.dashboards_port}"))
    c.Voila.ip = service.hostname
    c.Voila.port = service.port
    c.Voila.port_retries = 0
    c.Voila.base_url = prefix
    c.Voila.root_dir = str(settings.folder.dashboards)
    c.Voila.open_browser = False
    c.Voila.connection_dir_root = str(settings.folder.jupyter)
    c.Voila.config_file_paths = []
    c.Voila.cookie_secret = bytes.fromhex(settings.folder.secret("dashboards_cookie"))
    c.Voila.identity_provider_class = HubIdentity
    c.Voila.tornado_settings = {
        "headers": {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Referrer-Policy": "same-origin"},
        "websocket_max_message_size": 100 << 20,
        "xsrf_cookies": False,  # the hub's own check replaces tornado's, which knows another cookie
    }

    c.VoilaConfiguration.template = "wendelin"
    c.VoilaConfiguration.strip_sources = True
    c.VoilaConfiguration.show_tracebacks = False
    c.VoilaConfiguration.preheat_kernel = settings.preheat > 0
    c.VoilaConfiguration.default_pool_size = settings.preheat
    c.VoilaConfiguration.multi_kernel_manager_class = DashboardKernels
    c.VoilaConfiguration.extension_allowlist = EXTENSIONS
    c.VoilaConfiguration.file_allowlist = [r".*\.(png|jpg|gif|svg)"]
    c.VoilaExecutor.cell_error_instruction = CELL_ERROR

    c.KernelSpecManager.allowed_kernelspecs = {KERNEL}
    # A closed page stops its kernel itself; this is for browsers that vanished.
    c.MappingKernelManager.cull_idle_timeout = 600
    c.MappingKernelManager.cull_interval = 60
    return c


def main(free_port: Callable[[], None]) -> None:
    """Run the service until the hub ends it; `free_port` is called just before Voilà listens."""
    die_with_parent()
    prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    Dashboards.free_port = staticmethod(free_port)
    Dashboards.launch_instance(argv=[], config=configuration(Settings.load(), prefix))
