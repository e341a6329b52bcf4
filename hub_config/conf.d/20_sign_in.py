"""Who may sign in: the accounts of the data folder; sign-up only where the operator opens it, and then by approval."""

from __future__ import annotations

from traitlets.config import Config

from wendelin.hub_config.accounts import NAME_PATTERN, SHORTEST_PASSWORD, Accounts
from wendelin.hub_config.settings import Settings
from wendelin.hub_config.sign_in import WendelinAuthenticator


def configure(c: Config, settings: Settings) -> None:
    """The authenticator and its accounts."""
    accounts = Accounts(settings.folder.accounts)
    c.JupyterHub.authenticator_class = WendelinAuthenticator
    c.WendelinAuthenticator.accounts_file = str(accounts.path)
    c.Authenticator.username_pattern = NAME_PATTERN
    c.Authenticator.admin_users = {account.name for account in accounts if account.admin}
    # The authenticator has the say: it refuses whoever is not authorized. Rights come from groups alone.
    c.Authenticator.allow_all = True

    c.NativeAuthenticator.enable_signup = settings.sign_up
    c.NativeAuthenticator.open_signup = False
    c.NativeAuthenticator.minimum_password_length = SHORTEST_PASSWORD
    c.NativeAuthenticator.check_common_password = True
    c.NativeAuthenticator.allowed_failed_logins = 10
    c.NativeAuthenticator.seconds_before_next_try = 60
