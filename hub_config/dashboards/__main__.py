"""`python -m wendelin.hub_config.dashboards`, started by the hub."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from wendelin.hub_config.dashboards.waiting import WaitingRoom

address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
with WaitingRoom(address.hostname or "127.0.0.1", address.port or 0) as room:
    # Only now: this takes seconds.
    from wendelin.hub_config.dashboards.app import main

    main(room.close)
