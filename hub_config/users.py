"""`python -m wendelin.hub_config.users`: list, add and remove people. What changes here holds from the next start."""

from __future__ import annotations

from pathlib import Path

import click

from wendelin.hub_config.accounts import GROUPS, Account, Accounts
from wendelin.hub_config.errors import AccountError
from wendelin.hub_config.folders import DataFolder


@click.group()
@click.option("--data", default=".wendelin", show_default=True, type=click.Path(path_type=Path), help="Data folder.")
@click.pass_context
def main(context: click.Context, data: Path) -> None:
    """People who may sign in. Changes hold from the next start of the workbench."""
    folder = DataFolder(data.absolute())
    folder.make()
    context.obj = Accounts(folder.accounts)


@main.command("list")
@click.pass_obj
def show(accounts: Accounts) -> None:
    """Show names and groups."""
    for account in sorted(accounts, key=lambda each: each.name):
        rights = ", ".join(account.groups) or "no group: can open nothing"
        click.echo(f"{account.name:<20} {rights}{' (administrator)' if account.admin else ''}")


@main.command()
@click.argument("name")
@click.option("--group", "groups", multiple=True, help=f"{', '.join(GROUPS)} or one of your own; may be repeated.")
@click.option("--admin", is_flag=True, help="May approve sign-ups and manage users and servers on the hub's pages.")
@click.option("--password", help="Default: a random one, printed once.")
@click.pass_obj
def add(accounts: Accounts, name: str, groups: tuple[str, ...], admin: bool, password: str | None) -> None:
    """Add NAME."""
    _report(accounts.add, Account(name, groups, password, admin=admin))


@main.command("password")
@click.argument("name")
@click.option("--password", help="Default: a random one, printed once.")
@click.pass_obj
def set_password(accounts: Accounts, name: str, password: str | None) -> None:
    """Give NAME another password."""
    _report(accounts.set_password, name, password)


@main.command()
@click.argument("name")
@click.pass_obj
def remove(accounts: Accounts, name: str) -> None:
    """Remove NAME; notebooks stay in the data folder."""
    try:
        accounts.remove(name)
    except AccountError as error:
        raise click.ClickException(str(error)) from None


def _report(change: object, *arguments: object) -> None:
    assert callable(change)
    try:
        account = change(*arguments)
    except AccountError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{account.name} / {account.password}   (from the next start)")


if __name__ == "__main__":
    main()
