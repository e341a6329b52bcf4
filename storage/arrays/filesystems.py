"""File systems: which files may be mapped where they lie.

An I/O error under a mapping kills the process (SIGBUS), where a read would only raise. On a local disk it is as rare as
a broken disk; over a network or FUSE a server that goes away is enough. What lies there is copied to the node's cache
first, and mapped from the copy (`wendelin.storage.arrays.nodecache`).

The kind of a file system is the number that statfs(2) gives. `os.statvfs` leaves it out, so libc is asked directly.
"""

from __future__ import annotations

import ctypes
import os

from wendelin.storage.errors import UsageError

#: Kinds whose data comes over a network, from a host or from a program: statfs' numbers, of <linux/magic.h> where the
#: kernel knows them, else of their own projects. Clustered disks (GFS2, OCFS2) count: another host can fence this one.
REMOTE = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x65735546: "FUSE",  # sshfs, s3fs, JuiceFS, GlusterFS, virtiofs, …
    0x01021997: "9p",
    0x5346414F: "AFS",
    0x6B414653: "kAFS",
    0x73757245: "Coda",
    0x0000564C: "NCP",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x20030528: "OrangeFS",
    0xAAD7AAEA: "PanFS",
    0x18031977: "WekaFS",
    0xBEEFDEAD: "StorNext",
    0x61636673: "ACFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x786F4256: "vboxsf",
    0xBACBACBC: "vmhgfs",
    0x7C7C6673: "prlfs",
}

_CHOICES = ("auto", "always", "never")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.statfs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
_Word = ctypes.c_uint if os.uname().machine == "s390x" else ctypes.c_long

# Devices that were remote. The opposite is not remembered: the number of an unmounted file system is given again, and
# taking a remote one for local could kill. Asking a local one takes two microseconds.
_remote_devices: dict[int, str] = {}


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether the file or folder `path` should be copied to this node before it is mapped.

    So it is on the kinds of `REMOTE`; a kind that is not listed counts as local. `$WENDELIN_CACHE_SEGMENTS` overrides:
    ``always``, ``never``, or ``auto`` (the default). Raises `UsageError` for another value, OSError where `path` cannot
    be looked at. Safe in any thread; may wait for a server that does not answer.
    """
    chosen = os.environ.get("WENDELIN_CACHE_SEGMENTS") or "auto"
    if chosen not in _CHOICES:
        raise UsageError(
            f"WENDELIN_CACHE_SEGMENTS is {chosen!r}, which is none of {', '.join(_CHOICES)}: "
            "unset it, or export WENDELIN_CACHE_SEGMENTS=auto"
        )
    return chosen == "always" or (chosen == "auto" and remote_kind(path) is not None)


def remote_kind(path: str | os.PathLike[str]) -> str | None:
    """The name in `REMOTE` of the file system that `path` lies on; None when it is local. Raises OSError."""
    device = os.stat(path).st_dev  # noqa: PTH116  asked for every segment
    known = _remote_devices.get(device)
    if known is None:
        known = REMOTE.get(_type(path))
        if known is not None:
            _remote_devices[device] = known
    return known


def _type(path: str | os.PathLike[str]) -> int:
    """statfs' f_type, the first word of its structure (which has 120 bytes on x86-64, and nowhere 512)."""
    answer = ctypes.create_string_buffer(512)
    if _libc.statfs(os.fsencode(path), answer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(path))
    return _Word.from_buffer(answer).value & 0xFFFFFFFF
