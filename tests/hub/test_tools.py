from __future__ import annotations

import json
from pathlib import Path

import pytest

from wendelin.hub_config.errors import ToolMissingError
from wendelin.hub_config.tools import find_tools


def test_the_named_file_says_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("node", "script.js"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("script.js")
    known = {"node": str(tmp_path / "node"), "configurable-http-proxy": str(tmp_path / "link")}
    (tmp_path / "tools.json").write_text(json.dumps(known))
    monkeypatch.setenv("WENDELIN_TOOLS", str(tmp_path / "tools.json"))
    assert find_tools().proxy_command == [str(tmp_path / "node"), str(tmp_path / "script.js")]


def test_a_missing_one_is_named_with_the_next_call_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tools.json").write_text(json.dumps({"node": None}))
    monkeypatch.setenv("WENDELIN_TOOLS", str(tmp_path / "tools.json"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match=r"'node'.*bootstrap\.py install"):
        find_tools()
