from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from wendelin.extensions.server import roles
from wendelin.hub_config.accounts import ANALYSTS, GROUPS, MANAGERS, Account, Accounts, ensure_demo, new_password
from wendelin.hub_config.errors import AccountError


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "accounts.json")


def test_the_file_is_private_from_the_first_moment(accounts: Accounts):
    ensure_demo(accounts)
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600
    accounts.set_password("ada")
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600
    assert [path.name for path in accounts.path.parent.iterdir()] == ["accounts.json"]


def test_the_demo_accounts_have_random_passwords_that_stay(accounts: Accounts):
    ensure_demo(accounts)
    first = {account.name: account.password for account in accounts}
    assert set(first) == {"ada", "mara"}
    assert first["ada"] != first["mara"]
    again = Accounts(accounts.path)
    ensure_demo(again)
    assert {account.name: account.password for account in again} == first


def test_a_chosen_password_becomes_that_of_both(accounts: Accounts):
    ensure_demo(accounts)
    ensure_demo(accounts, "correct horse")
    assert {account.password for account in Accounts(accounts.path)} == {"correct horse"}


def test_a_removed_demo_account_does_not_come_back(accounts: Accounts):
    ensure_demo(accounts)
    accounts.remove("mara")
    again = Accounts(accounts.path)
    ensure_demo(again, "correct horse")
    assert [(account.name, account.password) for account in Accounts(accounts.path)] == [("ada", "correct horse")]


def test_groups_give_the_rights(accounts: Accounts):
    ensure_demo(accounts)
    accounts.add(Account("kim", (MANAGERS, "north")))
    found = accounts.groups()
    assert {group: names for group, names in found.items() if names} == {
        ANALYSTS: ["ada"],
        MANAGERS: ["mara", "kim"],
        "north": ["kim"],
    }
    assert found.keys() >= set(GROUPS)


def test_the_groups_are_those_of_the_doors_roles():
    assert set(GROUPS) == set(roles.GROUPS)


@pytest.mark.parametrize("name", ["..", "a/b", "Ada", "", "-x", "9lives", "a" * 33, "ada\n", "ä"])
def test_a_name_that_could_be_a_path_is_refused(accounts: Accounts, name: str):
    with pytest.raises(AccountError, match="is no user name"):
        accounts.add(Account(name))
    assert not accounts.path.exists()


def test_a_known_name_a_short_password_and_a_stranger_are_refused(accounts: Accounts):
    ensure_demo(accounts)
    with pytest.raises(AccountError, match="users password ada"):
        accounts.add(Account("ada"))
    with pytest.raises(AccountError, match="at least 8"):
        accounts.set_password("ada", "short")
    with pytest.raises(AccountError, match=r"no account 'eve'.*ada, mara"):
        accounts.remove("eve")


def test_a_removed_name_waits_until_the_hub_has_forgotten_it(accounts: Accounts):
    ensure_demo(accounts)
    accounts.remove("mara")
    assert Accounts(accounts.path).removed == ["mara"]
    accounts.add(Account("mara"))
    assert Accounts(accounts.path).removed == []
    accounts.remove("mara")
    accounts.forgot_removed()
    assert json.loads(accounts.path.read_text())["removed"] == []


def test_a_forgotten_password_is_nowhere_in_the_file(accounts: Accounts):
    kim = accounts.add(Account("kim"))
    assert kim.password
    accounts.forget_password("kim")
    assert kim.password not in accounts.path.read_text()
    assert Accounts(accounts.path)["kim"].password is None


def test_passwords_differ_and_are_easy_to_type():
    found = {new_password() for _ in range(200)}
    assert len(found) == 200
    assert not set("".join(found)) & set("0o1li")
