"""An identity provider for tests: a token is a name, and the groups of each person are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jupyter_server.auth import IdentityProvider, User

GROUPS = {
    "ada": ("analysts",),
    "mara": ("managers",),
    "olaf": ("operators",),
    "udo": ("auditors",),
    "root": ("admins",),
    "nobody": (),
}
ROLES = {"analyst": "ada", "manager": "mara", "operator": "olaf", "auditor": "udo", "admin": "root"}


@dataclass
class Person(User):
    groups: tuple[str, ...] = ()


class People(IdentityProvider):
    def get_user(self, handler: Any) -> User | None:
        name = self.get_token(handler) or ""
        if name not in GROUPS:
            return None
        handler._token_authenticated = True
        return Person(name, groups=GROUPS[name])
