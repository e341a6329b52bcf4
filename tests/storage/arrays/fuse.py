"""A real FUSE file system without a package: `with fuse_mount(folder, at) as broken:` shows `folder` read-only at `at`.

It is a small program that speaks the kernel's protocol on /dev/fuse; mounting takes the rights of root. While the file
`broken` exists, every read of file data fails with EIO, as it does when a server goes away. It runs in a process of its
own: a page fault of the test's process holds the GIL until it is answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH = 1, 2, 3, 14, 15, 17, 18, 25
INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 26, 27, 28, 29, 36, 38, 42
SILENT = (FORGET, BATCH_FORGET, INTERRUPT)
HEADER = struct.Struct("<IIQQIIIHH")


@contextmanager
def fuse_mount(folder: Path, at: Path) -> Iterator[Path]:
    """Mounts `folder` at `at`; gives the path whose existence breaks reading. Skips where this user may not mount."""
    import pytest

    at.mkdir(parents=True, exist_ok=True)
    broken = at.with_name(at.name + ".broken")
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(at), str(broken)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    try:
        said = server.stdout.readline().strip()
        if said.startswith("refused"):
            pytest.skip(f"needs /dev/fuse and the right to mount: {said}")
        assert said == "mounted", said
        yield broken
    finally:
        broken.unlink(missing_ok=True)
        subprocess.run(["umount", "--lazy", str(at)], check=False, capture_output=True)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()


def main(folder: str, at: str, broken: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        return say(f"refused: {error}")
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    if libc.mount(b"wendelin-test", os.fsencode(at), b"fuse", 0, options.encode()):
        return say(f"refused: {os.strerror(ctypes.get_errno())}")
    say("mounted")
    server = Server(folder, broken)
    while True:
        try:
            request = os.read(device, 1 << 20)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                continue
            return None  # ENODEV: unmounted
        _, operation, unique, node, *_ = HEADER.unpack_from(request)
        if operation in SILENT:
            continue
        try:
            code, answer = 0, server.answer(operation, node, request[HEADER.size :])
        except OSError as error:
            code, answer = -(error.errno or errno.EIO), b""
        with contextlib.suppress(FileNotFoundError):  # the question was withdrawn
            os.write(device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


class Server:
    """Answers about the files below `folder`; a node number stands for a path that was looked up."""

    def __init__(self, folder: str, broken: str) -> None:
        self.broken = broken
        self.paths = {1: folder}
        self.nodes = {folder: 1}

    def answer(self, operation: int, node: int, body: bytes) -> bytes:
        match operation:
            case 26:  # INIT
                _, minor, ahead, *_ = struct.unpack_from("<IIII", body)
                return struct.pack("<IIIIHHIIHHI7I", 7, min(minor, 31), ahead, 0, 8, 6, 1 << 17, 1, 0, 0, 0, *[0] * 7)
            case 1:  # LOOKUP
                path = f"{self.paths[node]}/{os.fsdecode(body.rstrip(bytes(1)))}"
                found = os.lstat(path)
                number = self.nodes.setdefault(path, len(self.nodes) + 1)
                self.paths[number] = path
                return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + attributes(number, found)
            case 3:  # GETATTR
                return struct.pack("<QII", 0, 0, 0) + attributes(node, os.lstat(self.paths[node]))
            case 14 | 27:  # OPEN, OPENDIR
                return struct.pack("<QII", 0, 0, 0)
            case 15:  # READ
                _, offset, size = struct.unpack_from("<QQI", body)
                if Path(self.broken).exists():
                    raise OSError(errno.EIO, "broken")
                with Path(self.paths[node]).open("rb") as file:
                    file.seek(offset)
                    return file.read(size)
            case 28:  # READDIR
                _, offset, size = struct.unpack_from("<QQI", body)
                return self.names(node, offset, size)
            case 17:  # STATFS
                return struct.pack("<QQQQQIII7I", 1 << 20, 1 << 19, 1 << 19, 1000, 500, 4096, 255, 4096, *[0] * 7)
            case 18 | 25 | 29 | 38:  # RELEASE, FLUSH, RELEASEDIR, DESTROY
                return b""
        raise OSError(errno.ENOSYS, "not here")

    def names(self, node: int, offset: int, size: int) -> bytes:
        out = b""
        for k, path in enumerate(sorted(Path(self.paths[node]).iterdir())[offset:], offset + 1):
            raw = os.fsencode(path.name)
            entry = struct.pack("<QQII", k, k, len(raw), 0) + raw
            entry += bytes(-len(entry) % 8)
            if len(out) + len(entry) > size:
                break
            out += entry
        return out


def attributes(number: int, found: os.stat_result) -> bytes:
    ns = found.st_mtime_ns
    mode = found.st_mode & ~0o222 if stat.S_ISREG(found.st_mode) else found.st_mode
    return struct.pack(
        "<QQQQQQIIIIIIIIII",
        number, found.st_size, -(-found.st_size // 512), *[ns // 10**9] * 3, *[ns % 10**9] * 3,
        mode, 1, found.st_uid, found.st_gid, 0, 4096, 0,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
