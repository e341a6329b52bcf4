"""The list of dashboards: where a manager lands."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from tornado.web import authenticated
from voila.handler import BaseVoilaHandler

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
