"""What `jupyterhub -f` reads: the parts of `conf.d`, in order. Anything wrong ends the hub with one message."""

from __future__ import annotations

import sys

from traitlets.config import get_config

from wendelin.hub_config.errors import HubConfigError
from wendelin.hub_config.parts import configure
from wendelin.hub_config.settings import Settings
from wendelin.hub_config.watch import die_with_parent

# The hub has a child for each user: it must not stay behind when the workbench is killed.
die_with_parent()
try:
    configure(get_config(), Settings.load())
except HubConfigError as error:
    sys.exit(f"the hub's configuration is wrong: {error}")
