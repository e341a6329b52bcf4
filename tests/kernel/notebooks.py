"""A real kernel in its own process, driven as front ends do it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager

import wendelin

TIMEOUT = 60
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


@dataclass
class Cell:
    """What came back for a cell."""

    status: str = ""
    ename: str = ""
    evalue: str = ""
    traceback: str = ""
    stdout: str = ""
    stderr: str = ""
    result: str = ""
    html: str = ""
    order: list[str] = field(default_factory=list)

    @property
    def last_line(self) -> str:
        return str(self.traceback.rstrip().splitlines()[-1])

    def take(self, message: dict[str, Any]) -> None:
        content = message["content"]
        self.order.append(message["msg_type"])
        match message["msg_type"]:
            case "stream":
                setattr(self, content["name"], getattr(self, content["name"]) + content["text"])
            case "execute_result" | "display_data":
                self.result += content["data"].get("text/plain", "")
                self.html += content["data"].get("text/html", "")
            case "error":
                self.traceback += _COLOURS.sub("", "\n".join(content["traceback"])) + "\n"


class Notebook:
    """A kernel and a client of it."""

    def __init__(self, kernel: str = "wendelin", arguments: list[str] | None = None, **environment: str) -> None:
        self.manager = KernelManager(kernel_name=kernel)
        self.manager.start_kernel(env={**os.environ, **environment}, extra_arguments=arguments or [])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def run(self, code: str, **options: Any) -> Cell:
        """Run a cell to its end."""
        cell = Cell()
        reply = self.client.execute_interactive(code, timeout=TIMEOUT, output_hook=cell.take, **options)["content"]
        cell.status, cell.ename, cell.evalue = reply["status"], reply.get("ename", ""), reply.get("evalue", "")
        return cell

    def ok(self, code: str, **options: Any) -> Cell:
        """Run a cell that has to succeed."""
        cell = self.run(code, **options)
        assert cell.status == "ok", cell
        return cell

    def start(self, code: str) -> str:
        """Begin a cell and return when it prints; `finish` waits for its end."""
        message = self.client.execute(code)
        self._until(lambda found: found["msg_type"] == "stream", message)
        return message

    def finish(self, message: str) -> Cell:
        """The rest of a cell that `start` began."""
        cell = Cell()
        self._until(
            lambda found: found["msg_type"] == "status" and found["content"]["execution_state"] == "idle", message, cell
        )
        while True:
            reply = self.client.get_shell_msg(timeout=TIMEOUT)
            if reply["parent_header"].get("msg_id") == message:
                break
        content = reply["content"]
        cell.status, cell.ename, cell.evalue = content["status"], content.get("ename", ""), content.get("evalue", "")
        return cell

    def send_comm(self, comm: str, data: dict[str, Any], *, wait: bool = True) -> Cell:
        """Send a message to a comm of the kernel, as a widget's front end does; wait until it was handled."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)
        cell = Cell()
        if wait:
            self._until(
                lambda found: found["msg_type"] == "status" and found["content"]["execution_state"] == "idle",
                message["header"]["msg_id"],
                cell,
            )
        return cell

    def complete(self, code: str) -> list[str]:
        """What Tab offers at the end of some code."""
        reply = self.client.complete(code, len(code), reply=True, timeout=TIMEOUT)["content"]
        assert reply["status"] == "ok"
        start = reply["cursor_start"]
        return [code[:start] + match for match in reply["matches"]]

    def kill(self) -> None:
        """kill -9, then start again under the same manager."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)
        self.manager.cleanup_resources()

    def _until(self, matches: Callable[[dict[str, Any]], bool], message: str, cell: Cell | None = None) -> None:
        while True:
            found = self.client.get_iopub_msg(timeout=TIMEOUT)
            if found["parent_header"].get("msg_id") != message:
                continue
            if cell is not None:
                cell.take(found)
            if matches(found):
                return


def stored(path: str, url: str | None = None) -> Any:
    """What another process (this one) sees at a path; None when nothing is there."""
    import transaction

    connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    try:
        value = connection.root().get(path)
        return value[:].tolist() if isinstance(value, wendelin.ZBigArray) else value
    finally:
        connection.close()


def eventually(condition: Callable[[], object]) -> bool:
    """Wait until something holds, at most `TIMEOUT`."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
