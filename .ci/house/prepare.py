"""Everything that a command of bootstrap.py needs, in order."""

from __future__ import annotations

from house.debian import make_test_tools
from house.lab import make_lab
from house.parts import make_environment, make_peers, make_project, make_proxy, write_tools
from house.steps import StopError, only_one


def prepare(*, tests: bool, peers: bool = False) -> None:
    """Everything that running (and testing, and measuring other stores) needs; quick when nothing changed."""
    with only_one():
        make_environment()
        make_lab()
        make_project()
        make_proxy()
        if tests:
            make_test_tools()
        if peers:
            try:
                make_peers()
            except StopError as error:  # the rows of what is not there say so
                print(error)
        write_tools()
