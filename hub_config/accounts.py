"""Who may sign in: `accounts.json`, mode 0600, the operator's list of people, their groups and passwords to set.

- The hub applies it when it starts (`sign_in`): it stores only bcrypt hashes, and forgets whoever left the list.
- A password stands here in the clear only until the hub has hashed it, but for the two demo accounts, whose
  passwords the ready line shows. Once a person has chosen another one on the hub's page, it is gone from here too.
- Rights follow from groups: `analysts` compute, `managers`, `operators` and `auditors` see dashboards and ask the REST
  door, `admins` do all of it, no group opens nothing.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from wendelin.hub_config.errors import AccountError
from wendelin.hub_config.folders import write_private_json

ANALYSTS = "analysts"
MANAGERS = "managers"
GROUPS = (ANALYSTS, MANAGERS, "operators", "auditors", "admins")
"""The groups that have rights: those of the REST door's roles (`wendelin.extensions.server.roles`)."""
NAME_PATTERN = r"[a-z][a-z0-9_-]{0,31}"
"""What a user name looks like: it names a folder too, so neither `..` nor a slash."""
SHORTEST_PASSWORD = 8

# Without 0/o, 1/l/i: the ready line is read and typed.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class Account:
    """One person. `password` None: the hub's database holds its hash, nobody knows it but the person."""

    name: str
    groups: tuple[str, ...] = ()
    password: str | None = None
    demo: bool = False
    admin: bool = False


DEMO = (
    Account("ada", (ANALYSTS,), demo=True),
    Account("mara", (MANAGERS,), demo=True),
)


class Accounts:
    """The list in the file `path`; every change is written at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = json.loads(path.read_text()) if path.exists() else {}
        self._accounts = {
            name: Account(name, **{**values, "groups": tuple(values["groups"])})
            for name, values in found.get("accounts", {}).items()
        }
        self.removed: list[str] = found.get("removed", [])
        """Names that the hub has still to forget."""
        self.demo: bool = found.get("demo", False)
        """Whether the demo accounts were made once: whoever removes them does not want them back."""

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts.values())

    def __contains__(self, name: object) -> bool:
        return name in self._accounts

    def __getitem__(self, name: str) -> Account:
        try:
            return self._accounts[name]
        except KeyError:
            known = ", ".join(sorted(self._accounts)) or "nobody"
            raise AccountError(f"there is no account {name!r} in {self.path}, only: {known}") from None

    def add(self, account: Account) -> Account:
        """Add `account`, with a new password if it has none. Raises `AccountError` for a bad or known name."""
        if not re.fullmatch(NAME_PATTERN, account.name):
            raise AccountError(f"{account.name!r} is no user name: small letters, digits, - and _, first a letter")
        if account.name in self:
            raise AccountError(
                f"the account {account.name!r} exists; to change its password: users password {account.name}"
            )
        chosen = replace(account, password=_checked(account.password or new_password()))
        self._store(chosen)
        return chosen

    def set_password(self, name: str, password: str | None = None) -> Account:
        """Let the hub set `password` (None: a new random one) when it starts next."""
        changed = replace(self[name], password=_checked(password or new_password()))
        self._store(changed)
        return changed

    def forget_password(self, name: str) -> None:
        """Drop the password in the clear: the hub's hash is all that stays."""
        self._store(replace(self[name], password=None))

    def remove(self, name: str) -> None:
        """Take `name` off the list: the hub forgets it, and its sessions, when it starts next."""
        del self._accounts[self[name].name]
        self.removed.append(name)
        self._write()

    def forgot_removed(self) -> None:
        """The hub has forgotten all of `removed`."""
        if self.removed:
            self.removed = []
            self._write()

    def groups(self) -> dict[str, list[str]]:
        """Names by group; the groups that have rights are always there."""
        found: dict[str, list[str]] = {group: [] for group in GROUPS}
        for account in self:
            for group in account.groups:
                found.setdefault(group, []).append(account.name)
        return found

    def _store(self, account: Account) -> None:
        self._accounts[account.name] = account
        self.removed = [name for name in self.removed if name != account.name]
        self._write()

    def _write(self) -> None:
        values = {name: asdict(account) for name, account in self._accounts.items()}
        for value in values.values():
            del value["name"]
        write_private_json(self.path, {"accounts": values, "removed": self.removed, "demo": self.demo})


def ensure_demo(accounts: Accounts, password: str | None = None) -> None:
    """Add the demo accounts at the first start; `password`, when given, becomes that of those that are there."""
    made, accounts.demo = accounts.demo, True
    for account in DEMO:
        if account.name not in accounts:
            if not made:
                accounts.add(replace(account, password=password))
        elif password:
            accounts.set_password(account.name, password)


def new_password() -> str:
    """Twelve random letters and digits in three groups: about 59 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(3))


def _checked(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise AccountError(f"a password has at least {SHORTEST_PASSWORD} characters, this one has {len(password)}")
    return password
