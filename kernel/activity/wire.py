"""What goes between an engine and its workers: pickled calls and outcomes.

- Persistent arrays are pickled by reference, functions of a notebook by value.
- Large buffers lie beside the pickle, so that they are copied once on their way out and not at all on their way in.
- A message is one packet of a socket: sent whole or not at all. What is larger than a packet lies in a memory file,
  whose descriptor the packet carries, so nobody waits for a busy reader. The reader maps it privately: arrays that
  were writable are, and what they write stays theirs.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import cloudpickle

from wendelin.kernel.activity.engine import Outcome
from wendelin.storage.activities.progress import carrier
from wendelin.storage.errors import UnsendableError, WendelinError
from wendelin.storage.pickling import hook

INSIDE = 32 * 1024
"""Bytes up to which a pickle lies in the packet itself."""
BESIDE = 64 * 1024
"""Bytes from which a buffer lies beside the pickle."""

READY, CALL, DONE, FAILED, NOTE = b"r", b"c", b"d", b"f", b"n"
_HEAD = struct.Struct("<cQ")
_ALIGNED = 64
_ONE_FILE = socket.CMSG_SPACE(struct.calcsize("i"))
_Pickler = hook(cloudpickle.Pickler)
_PLAIN = frozenset((type(None), bool, int, float, str, bytes))

#: Memory files of calls that wait to be sent keep a descriptor each; those beyond this number are made when it is time.
_files = threading.Semaphore(64)


class WorkerTraceback(Exception):
    """The traceback in the worker, as the cause of what a call raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Packet:
    """A pickled value on its way out: the bytes `inside` a message, or else pieces, or a memory file made of them."""

    def __init__(self, inside: bytes, pieces: list[Any]) -> None:
        self._inside, self._pieces = inside, pieces
        self._file: int | None = None

    def keep(self) -> Packet:
        """Make it independent of the value's own memory, which may change until the packet is sent."""
        if self._pieces and _files.acquire(blocking=False):
            self._file, self._pieces = _write(self._pieces), []
        self._pieces = [piece if isinstance(piece, bytes) else bytes(piece) for piece in self._pieces]
        return self

    def send(self, to: socket.socket, kind: bytes, number: int, flags: int = 0) -> bool:
        """Send it; False when a socket that does not block has no room. May be sent again."""
        message = _HEAD.pack(kind, number) + self._inside
        made = _write(self._pieces) if self._pieces else None
        file = made if self._file is None else self._file
        try:
            if file is None:
                to.send(message, flags)
            else:
                socket.send_fds(to, [message], [file], flags)
        except BlockingIOError:
            return False
        finally:
            if made is not None:
                os.close(made)
        return True

    def to_bytes(self) -> bytes:
        """All of it, for another transport; see `Content.of`."""
        return b"".join(_laid_out(self._pieces or [self._inside]))

    def close(self) -> None:
        """Forget it."""
        file, self._file, self._pieces = self._file, None, []
        if file is not None:
            os.close(file)
            _files.release()


class Content:
    """A pickled value that came in."""

    def __init__(self, data: bytes | memoryview, *, is_pickle: bool) -> None:
        self._data, self._is_pickle = data, is_pickle

    @classmethod
    def of(cls, data: bytes) -> Content:
        """What `Packet.to_bytes` gave."""
        return cls(memoryview(bytearray(data)), is_pickle=False)

    def load(self) -> Any:
        """The value; raises whatever unpickling raises. Its arrays may lie in the memory that came."""
        if self._is_pickle:
            return pickle.loads(self._data)
        (count,) = struct.unpack_from("<Q", self._data)
        lengths = struct.unpack_from(f"<{count}Q", self._data, 8)
        pieces, start = [], _padded(8 + 8 * count)
        for length in lengths:
            pieces.append(self._data[start : start + length])
            start += _padded(length)
        return pickle.loads(pieces[0], buffers=pieces[1:])


def receive(source: socket.socket, flags: int = 0) -> tuple[bytes, int, Content] | None:
    """The next message: kind, number, content; None when the other side is gone.

    Raises BlockingIOError when the socket does not block, or `flags` says so, and nothing has come.
    """
    try:
        # Not `recv_fds`: Python 3.11's forgets the flags.
        message, beside, _, _ = source.recvmsg(2 * INSIDE, _ONE_FILE, flags | socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if not message:
        return None
    kind, number = _HEAD.unpack_from(message)
    if not beside:
        return kind, number, Content(message[_HEAD.size :], is_pickle=True)
    (file,) = struct.unpack("i", beside[0][2])
    try:
        return kind, number, Content(memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_COPY)), is_pickle=False)
    finally:
        os.close(file)


def pack(value: Any) -> Packet:
    """Pickle a value; raises whatever that raises. Large buffers are not copied yet: send it at once, or `keep` it."""
    if type(value) in _PLAIN:
        data = pickle.dumps(value, 5)
        return Packet(data, []) if len(data) <= INSIDE else Packet(b"", [data])
    beside: list[memoryview] = []

    def lies_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BESIDE:
            return True
        beside.append(raw)
        return False

    stream = io.BytesIO()
    _Pickler(stream, 5, lies_inside).dump(value)
    if not beside and stream.tell() <= INSIDE:
        return Packet(stream.getvalue(), [])
    return Packet(b"", [stream.getbuffer(), *beside])


# -- calls


class _SysPath:
    """Sets `sys.path` when it is unpickled, so that what follows can be imported."""

    def __init__(self, path: list[str]) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[list[str]]]:
        return _set_path, (self._path,)


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def pack_call(call: Callable[..., Any], args: tuple[Any, ...], path: list[str] | None = None) -> Packet:
    """A call, to be kept or turned into bytes. `path`: `sys.path` for it, None for that of the worker.

    Raises a `WendelinError` of a persistent array that cannot be sent by reference, `UnsendableError` for anything else
    that cannot be pickled.
    """
    try:
        return pack((None if path is None else _SysPath(path), call, args))
    except WendelinError:
        raise
    except Exception as error:
        raise UnsendableError(
            f"{name_of(call)} and its arguments cannot be sent to another process: {_told(error)}. Give it plain data, "
            "or what names the thing (a path, a URL), and open that in the call"
        ) from error


def name_of(call: Callable[..., Any]) -> str:
    """A call's name for messages."""
    return str(getattr(call, "__qualname__", None) or type(call).__qualname__)


def answer(content: Content, carry: Callable[[Any], object] | None = None) -> tuple[bytes, Packet]:
    """Run a call in a worker: DONE with what it returned, or FAILED with what it raised. Raises nothing.

    `carry` takes what the call says of itself meanwhile; None: what carries already.
    """
    call: Any = None
    token = None if carry is None else carrier.set(carry)
    try:
        _, call, args = content.load()
        del content
        value = call(*args)
    except BaseException as error:  # noqa: BLE001 - whatever a call does, the worker goes on
        return FAILED, failure(error)
    finally:
        if token is not None:
            carrier.reset(token)
    try:
        return DONE, pack(value)
    except WendelinError as error:
        return FAILED, failure(error)
    except Exception as error:  # noqa: BLE001 - handed to whoever started the call
        refused = UnsendableError(
            f"{name_of(call)} returned a {type(value).__name__} that cannot be sent to another process: {_told(error)}"
            ". Return plain data, or store it in the database and return its name"
        )
        refused.__cause__ = error
        return FAILED, failure(refused)


def answer_bytes(data: bytes, carry: Callable[[Any], object] | None = None) -> tuple[bytes, bytes]:
    """As `answer`, where another transport carries bytes."""
    kind, packet = answer(Content.of(data), carry)
    return kind, packet.to_bytes()


def failure(error: BaseException) -> Packet:
    """An error as an answer of the kind FAILED."""
    trace = error.__traceback__ and (error.__traceback__.tb_next or error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, trace))
    try:
        data = pack(error).to_bytes()
    except Exception:  # noqa: BLE001 - its text is sent instead
        data = b""
    return pack((data, _told(error), text))


def framed(kind: bytes, number: int, data: bytes = b"") -> bytes:
    """A message of a line between nodes."""
    return _HEAD.pack(kind, number) + data


def unframed(message: bytes) -> tuple[bytes, int, bytes]:
    """Kind, number and data of such a message. Raises ValueError for what is none."""
    if len(message) < _HEAD.size:
        raise ValueError(f"{len(message)} bytes are no message")
    return *_HEAD.unpack_from(message), message[_HEAD.size :]


def outcome(kind: bytes, content: Content) -> Outcome:
    """What a worker's answer means; raises nothing."""
    try:
        value = content.load()
    except Exception as error:  # noqa: BLE001 - handed to whoever asks for the result
        refused = UnsendableError(f"what the call returned cannot be unpickled here: {_told(error)}. Return plain data")
        refused.__cause__ = error
        return refused, None
    if kind == DONE:
        return None, value
    data, told, text = value
    try:
        raised = Content.of(data).load()
    except Exception:  # noqa: BLE001 - its text came too
        raised = None
    if not isinstance(raised, BaseException):
        raised = UnsendableError(f"the call raised {told}, an exception that cannot be sent to another process")
    raised.__cause__ = WorkerTraceback(text)
    return raised, None


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# -- pieces: how many there are, their lengths, then each of them, aligned


def _padded(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


def _laid_out(pieces: list[Any]) -> list[Any]:
    lengths = [memoryview(piece).nbytes for piece in pieces]
    table = struct.pack(f"<{len(pieces) + 1}Q", len(pieces), *lengths)
    found: list[Any] = []
    for piece in (table, *pieces):
        length = memoryview(piece).nbytes
        found += [piece, bytes(_padded(length) - length)]
    return found


def _write(pieces: list[Any]) -> int:
    """A memory file of pieces; raises OSError where the machine refuses."""
    file = os.memfd_create("wendelin-call")
    try:
        for piece in _laid_out(pieces):
            left = memoryview(piece).cast("B")
            while left:
                left = left[os.write(file, left) :]
    except BaseException:
        os.close(file)
        raise
    return file
