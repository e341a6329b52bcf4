"""Which files may be mapped where they lie."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import pytest

from tests.storage.arrays.fuse import fuse_mount
from tests.storage.database.children import Failed, children
from wendelin.storage.arrays import filesystems
from wendelin.storage.arrays.filesystems import REMOTE, is_remote, remote_kind
from wendelin.storage.errors import UsageError


@pytest.fixture(autouse=True)
def detector() -> None:
    """Nothing here looks for written pages: once is enough."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(filesystems, "_remote_devices", {})
    monkeypatch.delenv("WENDELIN_CACHE_SEGMENTS", raising=False)


def test_the_disk_of_this_machine_is_local(tmp_path):
    assert not is_remote(tmp_path)
    assert remote_kind("/proc") is None
    assert remote_kind("/dev/shm") is None


def test_the_number_is_the_one_that_stat_prints():
    """/proc has another number than the disk; both are those of <linux/magic.h>."""
    assert filesystems._type("/proc") == 0x9FA0
    assert filesystems._type("/dev/shm") == 0x01021994


@pytest.mark.parametrize("number", REMOTE)
def test_every_listed_kind_is_remote_and_named(number, monkeypatch, tmp_path):
    monkeypatch.setattr(filesystems, "_type", lambda path: number)
    assert is_remote(tmp_path)
    assert remote_kind(tmp_path) == REMOTE[number]


@pytest.mark.parametrize("number", [0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0x2FC12FC1, 0x12345678])
def test_local_and_unknown_kinds_are_local(number, monkeypatch, tmp_path):
    """ext4, XFS, Btrfs, tmpfs, overlayfs, ZFS, and a number that nobody has."""
    monkeypatch.setattr(filesystems, "_type", lambda path: number)
    assert not is_remote(tmp_path)


def test_a_number_with_the_highest_bit_set_is_no_negative_one(monkeypatch):
    def statfs(path: bytes, answer: ctypes.Array[ctypes.c_char]) -> int:
        filesystems._Word.from_buffer(answer).value = 0xFF534D42 - (1 << 32)  # as a 32-bit kernel word would be widened
        return 0

    monkeypatch.setattr(filesystems._libc, "statfs", statfs)
    assert remote_kind("/") == "CIFS"


def test_only_remote_devices_are_remembered(monkeypatch, tmp_path):
    """The number of an unmounted device is used again: a remote one must never be taken for a local one."""
    asked = []

    def kind(path):
        asked.append(path)
        return 0x6969 if len(asked) > 1 else 0xEF53

    monkeypatch.setattr(filesystems, "_type", kind)
    assert not is_remote(tmp_path)
    assert [is_remote(tmp_path) for _ in range(3)] == [True] * 3
    assert len(asked) == 2


def test_the_environment_overrides(monkeypatch, tmp_path):
    monkeypatch.setenv("WENDELIN_CACHE_SEGMENTS", "always")
    assert is_remote(tmp_path)
    assert remote_kind(tmp_path) is None
    monkeypatch.setattr(filesystems, "_type", lambda path: 0x6969)
    monkeypatch.setenv("WENDELIN_CACHE_SEGMENTS", "never")
    assert not is_remote(tmp_path)
    for automatic in ("auto", ""):
        monkeypatch.setenv("WENDELIN_CACHE_SEGMENTS", automatic)
        assert is_remote(tmp_path)


def test_a_wrong_setting_names_the_right_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("WENDELIN_CACHE_SEGMENTS", "sometimes")
    with pytest.raises(UsageError, match=r"'sometimes'.*auto, always, never.*=auto"):
        is_remote(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        is_remote(tmp_path / "nothing-here")


def test_a_refusing_kernel_is_no_local_file_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        filesystems._type(tmp_path / "nothing-here")


def test_a_real_fuse_file_system_is_remote(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_bytes(b"content")
    with fuse_mount(tmp_path / "there", tmp_path / "here"):
        assert (tmp_path / "here" / "file").read_bytes() == b"content"
        assert remote_kind(tmp_path / "here" / "file") == "FUSE"
        assert is_remote(tmp_path / "here")
        assert not is_remote(tmp_path / "there")


MAP = """
import mmap, os
def shown(path):
    fd = os.open(path, os.O_RDONLY)
    pages = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    os.close(fd)
    return pages
"""


def test_why_a_broken_remote_file_kills_and_its_copy_does_not(tmp_path):
    """What the node's cache is for: the same pages, mapped where they lie and from a copy, when reading fails."""
    (tmp_path / "there").mkdir()
    for name in ("mapped", "copied"):  # two: what was copied is in the kernel's memory
        (tmp_path / "there" / name).write_bytes(b"x" * (64 << 20))  # beyond what the kernel reads ahead
    with fuse_mount(tmp_path / "there", tmp_path / "here") as broken, children(2) as (bare, careful):
        bare.do(MAP + f"pages = shown({str(tmp_path / 'here' / 'mapped')!r})")
        careful.do(MAP + COPY.format(folder=str(tmp_path / "cache"), remote=str(tmp_path / "here" / "copied")))
        broken.touch()
        assert careful.do("", "pages[60 << 20]") == ord("x")
        bare.send("", "pages[60 << 20]")
        with pytest.raises(Failed, match="died"):
            bare.receive()
        assert bare.process.wait(60) == -signal.SIGBUS


COPY = """
from pathlib import Path
from wendelin.storage.arrays.nodecache import NodeCache
def fetch(fd):
    with open({remote!r}, "rb") as file:
        while part := file.read(1 << 20):
            os.write(fd, part)
fd = NodeCache(Path({folder!r}), 1 << 30).opened("k", 64 << 20, fetch)
pages = shown(f"/proc/self/fd/{{fd}}")
"""


def test_the_fuse_server_ends_with_its_mount(tmp_path):
    """The next test that leaves a process behind should not be blamed on this one."""
    (tmp_path / "there").mkdir()
    with fuse_mount(tmp_path / "there", tmp_path / "here"):
        assert os.path.ismount(tmp_path / "here")
    assert not os.path.ismount(tmp_path / "here")
    assert Path(tmp_path / "there").is_dir()
