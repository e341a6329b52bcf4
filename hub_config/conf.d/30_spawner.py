"""What an analyst gets: JupyterLab in a home of their own below the data folder, on the database that all share.

The laptop's spawner runs everyone as the operator's own system user: it separates notebooks, not people. A machine
with system users sets `c.JupyterHub.spawner_class = "localprocess"` in a part of its own (docs/how-to/run.md).
"""

from __future__ import annotations

import os
import sys

from jupyterhub.spawner import Spawner
from traitlets.config import Config

from wendelin.hub_config.examples import copy_examples
from wendelin.hub_config.settings import Settings


def configure(c: Config, settings: Settings) -> None:
    """The single-user servers."""
    homes = settings.folder.users

    def give_examples(spawner: Spawner) -> None:
        copy_examples(homes / spawner.user.name / "notebooks" / "examples")

    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = str(homes / "{username}")
    c.Spawner.notebook_dir = str(homes / "{username}" / "notebooks")
    c.Spawner.pre_spawn_hook = give_examples
    c.Spawner.default_url = "/lab"
    c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
    c.Spawner.args = ["--allow-root"] if os.getuid() == 0 else []
    c.Spawner.env_keep = ["PATH", "LANG", "LC_ALL", "TZ"]
    c.Spawner.environment = settings.environment()
    # A first start compiles and reads half of the environment from a cold disk.
    c.Spawner.start_timeout = 120
    c.Spawner.http_timeout = 120
    # A server that stops its kernels in order may need longer than the hub's ten seconds on a busy machine.
    c.LocalProcessSpawner.interrupt_timeout = 25
