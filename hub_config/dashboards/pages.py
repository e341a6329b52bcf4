"""The list of dashboards, where a manager lands, and one dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.web import authenticated
from voila.handler import BaseVoilaHandler
from voila.tornado.handler import TornadoVoilaHandler

from wendelin.hub_config.catalogue import dashboards


class DashboardList(BaseVoilaHandler):
    """GET: a page of all dashboards, read anew each time, so a new notebook needs no restart."""

    def initialize(self, folder: Path, **options: Any) -> None:
        super().initialize(**options)
        self.folder = folder

    @authenticated
    async def get(self) -> None:
        found = [(quote(each.path), each) for each in dashboards(self.folder)]
        self.set_header("Cache-Control", "no-store")
        self.finish(self.render_template("dashboards.html", dashboards=found, user=self.current_user.username))


class DashboardPage(TornadoVoilaHandler):
    """GET: one dashboard, of the notebook's file as it is now."""

    def initialize(self, folder: Path, **options: Any) -> None:
        super().initialize(**options)
        self.folder = folder

    @authenticated
    async def get(self, path: str | None = None) -> None:
        notebook = str(path)
        file = (self.folder / notebook).resolve()
        manager = self.kernel_manager
        preheats = self.voila_configuration.preheat_kernel and file.is_relative_to(self.folder.resolve())
        fresh = preheats and manager.match_file(notebook, file)
        await super().get(path)
        if fresh and file.suffix == ".ipynb":
            manager.fill_if_needed(notebook_name=notebook)
