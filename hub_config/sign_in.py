"""The hub's authenticator: jupyterhub-nativeauthenticator on the operator's list of accounts.

- Passwords are bcrypt hashes in the hub's database. At start the list is applied: new people are made, new passwords
  set, and whoever was removed is deleted with tokens and sessions (a cookie would outlive the password by days).
- A sign-up on the web, where the operator opens that page, makes an account that is neither authorized nor in a
  group: it cannot sign in before an administrator approves it, and opens nothing before it is put into a group.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bcrypt
from jupyterhub import orm
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from traitlets import Unicode

from wendelin.hub_config.accounts import Accounts


class WendelinAuthenticator(NativeAuthenticator):
    """Native sign-in, with the accounts of `accounts_file` applied when the hub starts."""

    accounts_file = Unicode(
        "", config=True, help="The JSON file of accounts; made by python -m wendelin.hub_config.run."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.accounts_file:
            self._apply(Accounts(Path(self.accounts_file)))

    def _apply(self, accounts: Accounts) -> None:
        for account in accounts:
            if account.password is not None:
                self._set_password(account.name, account.password)
                if not account.demo:
                    accounts.forget_password(account.name)
        for name in accounts.removed:
            self._forget(name)
        self.db.commit()
        accounts.forgot_removed()

    def _set_password(self, name: str, password: str) -> None:
        info = self.get_user(name)
        if info is None:
            info = UserInfo(username=name, password=b"")
            self.db.add(info)
        if not info.password or not info.is_valid_password(password):
            info.password = bcrypt.hashpw(password.encode(), bcrypt.gensalt())
        info.is_authorized = True

    def _forget(self, name: str) -> None:
        for record in (orm.User.find(self.db, name), self.get_user(name)):
            if record is not None:
                self.db.delete(record)

    def change_password(self, username: str, new_password: str) -> Any:
        """Set what the person chose; its old one then stands nowhere in the clear."""
        changed = super().change_password(username, new_password)
        accounts = Accounts(Path(self.accounts_file)) if self.accounts_file else None
        if changed and accounts and self.normalize_username(username) in accounts:
            accounts.forget_password(self.normalize_username(username))
        return changed
