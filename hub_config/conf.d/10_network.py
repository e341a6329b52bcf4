"""Where the hub listens, and its files: only the proxy is public, everything behind it stays on the loopback."""

from __future__ import annotations

from traitlets.config import Config

from wendelin.hub_config.folders import SHARE
from wendelin.hub_config.settings import Settings


def configure(c: Config, settings: Settings) -> None:
    """The addresses, the hub's files and the proxy."""
    folder = settings.folder
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    c.JupyterHub.bind_url = f"http://{host}:{settings.port}/"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{settings.hub_port}/hub/"
    c.JupyterHub.db_url = f"sqlite:///{folder.hub / 'jupyterhub.sqlite'}"
    c.JupyterHub.cookie_secret_file = str(folder.hub / "cookie_secret")
    c.JupyterHub.template_paths = [str(SHARE / "jupyterhub" / "templates")]
    c.JupyterHub.logo_file = str(SHARE / "jupyterhub" / "logo.svg")

    c.ConfigurableHTTPProxy.command = settings.tools.proxy_command
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.proxy_port}"
    c.ConfigurableHTTPProxy.auth_token = folder.secret("proxy_token")
    c.ConfigurableHTTPProxy.pid_file = str(folder.hub / "proxy.pid")
