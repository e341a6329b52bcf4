"""Who asks, and with which roles: asked anew at each request, so whoever leaves a group is out at the next one.

- Behind a hub: the hub's user, by token or cookie; its groups give the roles, and its token must have the scopes that
  the deployment asks for. The hub's answer is fetched for each request, not taken from the cache.
- A server of its own: whoever has its token, its password or its cookie is its owner, who may do all.
- Another identity provider: the names in its user's `groups`, if it has such, give the roles; else there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_server.auth import IdentityProvider
from jupyter_server.auth.identity import LegacyIdentityProvider, PasswordIdentityProvider

from wendelin.extensions.server.problems import ProblemError
from wendelin.extensions.server.roles import Role
from wendelin.storage.activities.user import current_user

_OWNERS_OWN = (IdentityProvider, PasswordIdentityProvider, LegacyIdentityProvider)


@dataclass(frozen=True)
class Caller:
    """A person at the door."""

    name: str
    roles: frozenset[Role]


async def caller_of(
    handler: Any, roles_of_groups: Mapping[str, str], scopes: Mapping[str, str], *, writes: bool
) -> Caller:
    """Who sends the request of `handler`, which Jupyter Server has let in.

    `scopes` names the hub's scope that a token needs to "read" and to "write". Raises 401 and 403.
    """
    user, provider = handler.current_user, handler.identity_provider
    if hasattr(user, "hub_user"):
        found = await _fresh(handler, provider.hub_auth)
        _require(provider.hub_auth, found, scopes.get("write" if writes else "read"))
        return Caller(str(found["name"]), roles(found.get("groups", ()), roles_of_groups))
    if type(provider) in _OWNERS_OWN:
        return Caller(current_user(), frozenset({Role.ADMIN}))
    return Caller(str(user.username), roles(getattr(user, "groups", ()), roles_of_groups))


def roles(groups: Iterable[str], roles_of_groups: Mapping[str, str]) -> frozenset[Role]:
    """The roles of the members of some groups."""
    return frozenset(Role(roles_of_groups[group]) for group in groups if group in roles_of_groups)


async def _fresh(handler: Any, hub_auth: Any) -> dict[str, Any]:
    """What the hub says about the request's token now."""
    token, session = hub_auth.get_token(handler), hub_auth.get_session_id(handler)
    found: dict[str, Any] | None = await hub_auth.user_for_token(token, use_cache=False, session_id=session, sync=False)
    if found is None:
        raise ProblemError("not-signed-in", "the hub does not know this token any more: sign in again")
    if not hub_auth.check_scopes(hub_auth.access_scopes, found):
        raise ProblemError("refused", f"{found['name']} may not use this server any more")
    return found


def _require(hub_auth: Any, user: dict[str, Any], scope: str | None) -> None:
    if scope and not hub_auth.check_scopes({scope}, user):
        raise ProblemError(
            "refused", f"this token has not the scope {scope}: make one that has, on the hub's page of tokens"
        )
