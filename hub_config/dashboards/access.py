"""Who comes in: the hub's users that may access this service.

- Voilà registers an identity provider's handlers at the root of the server, but behind the hub all paths begin with
  the service's prefix: without `get_handlers` below, the sign-in's way back ends in 404.
- The hub's answer about a token is cached for five minutes by default. Here every page, kernel and websocket asks
  anew, so whoever leaves a group or signs out is out at the next request. Static files, a hundred a page, share an
  answer for a few seconds.
- Voilà serves static files by handlers that know no user. `Guarded` puts the same question before them. It does not
  ask for an XSRF token: they are read-only, and fonts and modules are fetched without one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.utils import url_path_join
from jupyterhub.services.auth import HubOAuth
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
from tornado.web import HTTPError, RequestHandler
from traitlets import default

STATIC_SECONDS = 5
"""How long static files go on coming after a right was taken away."""


class FreshHubOAuth(HubOAuth):
    """Asks the hub each time it is asked, unless told that a recent answer will do."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._questions: dict[tuple[str, str], asyncio.Future[Any]] = {}

    @default("cache_max_age")
    def _default_cache_max_age(self) -> int:
        return STATIC_SECONDS

    def user_for_token(self, token: str, use_cache: bool = False, session_id: str = "", *, sync: bool = True) -> Any:
        return super().user_for_token(token, use_cache=use_cache, session_id=session_id, sync=sync)

    async def recent_user(self, handler: RequestHandler) -> dict[str, Any] | None:
        """The hub's user of a request for a static file, by an answer that is at most `STATIC_SECONDS` old."""
        token = self.get_token(handler)
        if not token:
            return None
        session = self.get_session_id(handler)
        # A page asks for dozens of files at once: they wait for one question.
        question = self._questions.get((token, session))
        if question is None:
            asked = self.user_for_token(token, use_cache=True, session_id=session, sync=False)
            question = self._questions[token, session] = asyncio.ensure_future(asked)
            question.add_done_callback(lambda _: self._questions.pop((token, session)))
        user = await asyncio.shield(question)
        return user if user and self.check_scopes(self.access_scopes, user) else None


class HubIdentity(JupyterHubIdentityProvider):
    """The hub's identity provider, at the service's prefix, with fresh answers."""

    def __init__(self, **options: Any) -> None:
        # Voilà passes a token of its own making; here the hub's tokens count.
        options.pop("token", None)
        super().__init__(**options)

    @default("hub_auth")
    def _default_hub_auth(self) -> HubOAuth:
        return FreshHubOAuth(parent=self)

    def get_handlers(self) -> list[Any]:
        prefix = self.hub_auth.base_url
        return [(url_path_join(prefix, route), *rest) for route, *rest in super().get_handlers()]


class Guarded(RequestHandler):
    """Mixed in before a handler of static files: nobody without access gets any."""

    async def prepare(self) -> None:
        auth: FreshHubOAuth = self.settings["identity_provider"].hub_auth
        if self.request.method not in ("GET", "HEAD"):
            raise HTTPError(405)
        if await auth.recent_user(self) is None:
            raise HTTPError(403, "sign in, with an account that may see the dashboards")
        await _awaited(super().prepare())


async def _awaited(found: Any) -> None:
    if found is not None:
        await found
