from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from nativeauthenticator.orm import UserInfo

from wendelin.hub_config.accounts import Account, Accounts, ensure_demo
from wendelin.hub_config.sign_in import WendelinAuthenticator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the hub: an authenticator's database


@pytest.fixture
def accounts(tmp_path: Path) -> Accounts:
    found = Accounts(tmp_path / "accounts.json")
    ensure_demo(found)
    return found


@pytest.fixture
def database() -> Iterator[Any]:
    session = orm.new_session_factory("sqlite:///:memory:")()
    yield session
    session.close()
    session.get_bind().dispose()


def authenticator(database: Any, accounts: Accounts, **options: Any) -> WendelinAuthenticator:
    return WendelinAuthenticator(db=database, accounts_file=str(accounts.path), **options)


def signs_in(found: WendelinAuthenticator, name: str, password: str | None) -> bool:
    answer = asyncio.run(found.authenticate(None, {"username": name, "password": password}))
    return bool(answer == name)


def test_people_of_the_list_sign_in_with_their_password_only(database: Any, accounts: Accounts):
    found = authenticator(database, accounts)
    assert signs_in(found, "ada", accounts["ada"].password)
    assert not signs_in(found, "ada", accounts["mara"].password)
    assert not signs_in(found, "eve", accounts["ada"].password)


def test_the_hubs_database_holds_only_hashes(database: Any, accounts: Accounts):
    authenticator(database, accounts)
    for info in UserInfo.all_users(database):
        assert info.password.startswith(b"$2")
        assert (accounts[info.username].password or "").encode() not in info.password


def test_only_demo_passwords_stay_in_the_clear(database: Any, accounts: Accounts):
    password = accounts.add(Account("kim")).password
    found = authenticator(database, accounts)
    assert signs_in(found, "kim", password)
    assert Accounts(accounts.path)["kim"].password is None
    assert Accounts(accounts.path)["ada"].password


def test_a_password_chosen_on_the_page_holds_over_a_restart(database: Any, accounts: Accounts):
    found = authenticator(database, accounts)
    old = accounts["ada"].password or ""
    assert found.change_password("ada", "my own long secret")
    assert old not in accounts.path.read_text()
    again = authenticator(database, Accounts(accounts.path))
    assert signs_in(again, "ada", "my own long secret")
    assert not signs_in(again, "ada", old)


def test_whoever_is_removed_is_gone_with_their_sessions(database: Any, accounts: Accounts):
    authenticator(database, accounts)
    user = orm.User(name="mara")
    database.add_all([user, orm.OAuthClient(identifier="jupyterhub")])
    database.commit()
    user.new_api_token(note="a browser's session", scopes=[])
    password = accounts["mara"].password
    accounts.remove("mara")
    found = authenticator(database, accounts)
    assert not signs_in(found, "mara", password)
    assert orm.User.find(database, "mara") is None
    assert database.query(orm.APIToken).count() == 0
    assert Accounts(accounts.path).removed == []


def test_a_sign_up_cannot_sign_in_before_it_is_approved(database: Any, accounts: Accounts):
    found = authenticator(database, accounts, enable_signup=True, open_signup=False)
    assert found.create_user("newcomer", "a long enough one")
    assert not signs_in(found, "newcomer", "a long enough one")
    UserInfo.change_authorization(database, "newcomer")
    assert signs_in(found, "newcomer", "a long enough one")


def test_nobody_signs_up_under_a_listed_name(database: Any, accounts: Accounts):
    found = authenticator(database, accounts, enable_signup=True)
    assert found.create_user("ada", "a long enough one") is None
