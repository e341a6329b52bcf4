"""Where files lie, and that sockets are private and short."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wendelin.storage.database import paths
from wendelin.storage.errors import ResourceError


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("WENDELIN_HOME", str(tmp_path / "w"))
    assert paths.home() == tmp_path / "w"
    monkeypatch.setenv("WENDELIN_HOME", "~/w2")
    assert paths.home() == tmp_path / "w2"
    monkeypatch.delenv("WENDELIN_HOME")
    assert paths.home() == tmp_path / "data" / "wendelin"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert paths.home() == tmp_path / ".local" / "share" / "wendelin"


def test_a_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WENDELIN_HOME", "here")
    assert paths.home() == tmp_path / "here"


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    assert paths.private_folder(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"/file/b'.*WENDELIN_HOME"):
        paths.private_folder(tmp_path / "file" / "b")


def test_sockets_lie_in_the_sessions_runtime_folder(wendelin_home: Path) -> None:
    folder = paths.runtime_folder()
    assert folder == wendelin_home / "run" / "wendelin"
    assert folder.stat().st_mode & 0o777 == 0o700


def fallback() -> Path:
    return Path("/tmp") / f"wendelin-{os.getuid()}"


@pytest.mark.parametrize("unusable", ["missing", "open to others", "a link", "too long", "a file"])
def test_an_unusable_runtime_folder_is_replaced(
    unusable: str, wendelin_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = wendelin_home / "session"
    if unusable == "open to others":
        session.mkdir(mode=0o755)
    elif unusable == "a link":
        session.symlink_to(wendelin_home / "run")
    elif unusable == "too long":
        session = wendelin_home / ("x" * 90)
        session.mkdir(mode=0o700)
    elif unusable == "a file":
        session.touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert paths.runtime_folder() == fallback()
    assert fallback().stat().st_mode & 0o777 == 0o700


def test_somebody_elses_runtime_folder_is_refused(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    uid = os.getuid()
    stranger = uid + 54321
    (Path("/tmp") / f"wendelin-{stranger}").mkdir(mode=0o700)
    try:
        # We cannot become another user without root; to the code, a changed uid is the same as a foreign folder.
        monkeypatch.setattr(os, "getuid", lambda: stranger)
        with pytest.raises(ResourceError, match="XDG_RUNTIME_DIR"):
            paths.runtime_folder()
    finally:
        monkeypatch.setattr(os, "getuid", lambda: uid)
        (Path("/tmp") / f"wendelin-{stranger}").rmdir()


def test_sockets_are_short_whatever_the_home_is(wendelin_home: Path) -> None:
    deep = wendelin_home / Path(*["a-very-long-name-" * 5] * 10)
    assert len(os.fsencode(paths.socket_path(deep))) <= paths.LONGEST_SOCKET_PATH


def test_a_folder_has_one_socket_by_whatever_path_it_is_reached(wendelin_home: Path) -> None:
    (wendelin_home / "real").mkdir()
    (wendelin_home / "link").symlink_to("real")
    assert paths.socket_path(wendelin_home / "link") == paths.socket_path(wendelin_home / "real")
    assert paths.socket_path(wendelin_home / "other") != paths.socket_path(wendelin_home / "real")
