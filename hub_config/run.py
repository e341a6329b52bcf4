"""`python -m wendelin.hub_config.run`: the whole workbench on this machine, until Ctrl-C.

Progress goes to stderr; stdout gets one line, when everything is ready.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click

from wendelin.hub_config.accounts import Accounts
from wendelin.hub_config.launch import Workbench, prepare
from wendelin.hub_config.settings import Settings
from wendelin.storage.errors import WendelinError

PASSWORD_VARIABLE = "WENDELIN_DEMO_PASSWORD"  # noqa: S105  a variable's name


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.option("--port", default=8000, help="Port for browsers.")
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 means all networks of the machine.")
@click.option("--data", default=".wendelin", type=click.Path(path_type=Path), help="Folder that holds all data.")
@click.option("--db", "database", help="URL of another database than the one in the data folder.")
@click.option("--examples/--no-examples", default=True, help="Load the example data at the first start.")
@click.option(
    "--password", envvar=PASSWORD_VARIABLE, help=f"Set the demo accounts' password (or ${PASSWORD_VARIABLE})."
)
@click.option("--sign-up/--no-sign-up", default=False, help="Let people ask for an account on the sign-in page.")
@click.option("--preheat", default=1, help="Kernels that wait ready for each dashboard; 0 saves their memory.")
@click.option("--hub-port", default=0, help="Inner port of the hub; 0 means a free one.")
@click.option("--proxy-port", default=0, help="Inner port of the proxy's control; 0 means a free one.")
@click.option("--dashboards-port", default=0, help="Inner port of the dashboards; 0 means a free one.")
def main(
    data: Path,
    examples: bool,
    password: str | None,
    hub_port: int,
    proxy_port: int,
    dashboards_port: int,
    **chosen: Any,
) -> None:
    """Run Wendelin: JupyterHub, JupyterLab for analysts, dashboards for managers, and their database."""
    os.umask(0o077)
    try:
        settings = prepare(data, inner_ports=(hub_port, proxy_port, dashboards_port), **chosen)
        serve(settings, examples=examples, password=password)
    except (WendelinError, OSError) as error:
        raise click.ClickException(str(error)) from error


def serve(settings: Settings, *, examples: bool, password: str | None) -> None:
    """Run until a signal asks to stop. Raises `HubDiedError` when the hub ends by itself."""
    asked = threading.Event()
    workbench = Workbench(settings, say)

    def stop(number: int, frame: object) -> None:
        # The first one may interrupt a start; more of them must not interrupt the stop.
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        workbench.start(examples=examples, password=password)
        print(ready_line(settings), flush=True)
        while True:
            workbench.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        asked.set()
        workbench.stop()
    say("stopped; everything is kept in " + settings.data)


def ready_line(settings: Settings) -> str:
    """The one line that says where, and as whom."""
    accounts = Accounts(settings.folder.accounts)
    shown = [
        f"{right}: {name} / {accounts[name].password or '(chosen by its user)'}"
        for right, name in (("analyst", "ada"), ("manager", "mara"))
        if name in accounts
    ]
    return f"Wendelin is ready at {settings.url}" + (f"  ({'; '.join(shown)})" if shown else "")


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
