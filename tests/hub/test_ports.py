from __future__ import annotations

import os
import re
import socket

import pytest

from wendelin.hub_config.errors import PortTakenError
from wendelin.hub_config.ports import free_port, require_free


def test_a_free_port_passes():
    require_free("127.0.0.1", free_port())


def test_a_taken_port_says_which_by_whom_and_what_to_type():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            require_free("127.0.0.1", port)
    text = str(caught.value)
    assert f"port {port} on 127.0.0.1 is taken" in text
    assert f"process {os.getpid()}" in text
    suggested = re.search(r"--port (\d+)$", text)
    assert suggested
    require_free("127.0.0.1", int(suggested[1]))


def test_an_inner_port_names_its_own_option():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(PortTakenError, match="--hub-port"):
            require_free("127.0.0.1", server.getsockname()[1], "--hub-port")


def test_a_port_in_time_wait_is_free():
    """As after Ctrl-C and a new start: connections that just ended must not stop us."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # closed here first: this side waits
    require_free("127.0.0.1", port)
