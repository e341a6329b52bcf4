"""Who may do what. A right comes from a group; an account without a group can look at its own name.

=========================  =====================  ==================  ======================
                           own JupyterLab server  dashboards          REST door
=========================  =====================  ==================  ======================
analysts                   yes                    yes                 as analyst
managers                   no (403)               yes                 as manager
operators, auditors        no (403)               yes                 as operator, as auditor
admins                     yes                    yes                 as admin
no group                   no (403)               no (403)            no (403)
=========================  =====================  ==================  ======================

What each role may do at the door: docs/reference/rest.md. Those without a server of their own find it at the service of
the dashboards, and may make tokens for it.
"""

from __future__ import annotations

from typing import Any

from traitlets.config import Config

from wendelin.hub_config.accounts import ANALYSTS, GROUPS, Accounts
from wendelin.hub_config.settings import Settings

DASHBOARDS = "/services/dashboards/"


def configure(c: Config, settings: Settings) -> None:
    """Groups, roles and where each person lands."""
    groups = Accounts(settings.folder.accounts).groups()
    c.JupyterHub.load_groups = {name: {"users": names} for name, names in groups.items()}
    c.JupyterHub.load_roles = [
        {
            # Everyone has this role. Stock JupyterHub gives it `self`, which includes starting a server.
            "name": "user",
            "description": "Knows its own name and groups",
            "scopes": ["read:users:name!user", "read:users:groups!user"],
        },
        {
            "name": "analyst",
            "description": "Has a JupyterLab server",
            "scopes": ["self"],
            "groups": [ANALYSTS, "admins"],
        },
        {
            "name": "dashboard-viewer",
            "description": "Opens the dashboards, and asks the REST door there",
            "scopes": ["access:services!service=dashboards", "tokens!user"],
            "groups": list(GROUPS),
        },
    ]
    c.JupyterHub.default_url = landing_page


def landing_page(handler: Any) -> str:
    """Where a person lands after signing in: "" lets the hub bring an analyst to JupyterLab."""
    user = handler.current_user
    if user is None:
        return ""
    groups = {group.name for group in user.groups}
    if groups & {ANALYSTS, "admins"}:
        return ""
    return DASHBOARDS if groups & set(GROUPS) else f"{handler.hub.base_url}home"
