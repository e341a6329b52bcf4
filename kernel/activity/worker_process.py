"""What a worker process of the local engine is: it answers calls, one after the other, until its owner is gone.

It is started as `python -c` with the owner's `sys.path`: nothing of the owner's `__main__` is imported. It dies with
its owner: Linux kills it at once (PR_SET_PDEATHSIG), and its socket ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import io
import os
import signal
import socket
import sys
import traceback
from functools import partial

_PR_SET_PDEATHSIG = 1


def main(calls: int, answers: int, owner: int) -> None:
    """Serve the process `owner` over two sockets, by file descriptors; never returns."""
    _die_with(owner)
    for descriptor in (calls, answers):
        os.set_inheritable(descriptor, False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a killed worker flushes nothing
    if sys.stderr is not None:
        faulthandler.enable()
    try:
        _serve(socket.socket(fileno=calls), socket.socket(fileno=answers))
    except BrokenPipeError:
        pass
    except BaseException:  # noqa: BLE001 - the owner sees the exit status, and somebody may read this
        traceback.print_exc()
        os._exit(1)
    # The owner is gone: no thread of a call may keep this process.
    os._exit(0)


def _die_with(owner: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:
        os._exit(0)


def _serve(calls: socket.socket, answers: socket.socket) -> None:
    # Here, not above: what is imported takes a while, and the owner may die in it.
    from wendelin.kernel.activity import wire

    wire.pack(None).send(answers, wire.READY, os.getpid())
    while (message := wire.receive(calls)) is not None:
        _, number, content = message
        del message
        kind, packet = wire.answer(content, partial(_note, answers, number))
        del content
        packet.send(answers, kind, number)
        del packet


def _note(answers: socket.socket, number: int, word: object) -> None:
    """What a call says of itself while it runs. It is lost rather than waited for."""
    from wendelin.kernel.activity import wire

    with contextlib.suppress(OSError):
        wire.pack(word).send(answers, wire.NOTE, number, socket.MSG_DONTWAIT)
