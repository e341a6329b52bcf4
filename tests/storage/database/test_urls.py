"""Names of databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from wendelin.storage.database import default_url
from wendelin.storage.database.urls import FileURL, LocalURL, PostgresqlURL, SqliteURL, ZeoURL, parse
from wendelin.storage.errors import DatabaseURLError, WendelinError

RIGHT = {
    "local:///srv/plant": LocalURL(Path("/srv/plant")),
    "file:///srv/plant": FileURL(Path("/srv/plant")),
    "file:///srv//a/../plant/": FileURL(Path("/srv/plant")),
    "file:///srv/two%20words%23": FileURL(Path("/srv/two words#")),
    "FILE:///srv/plant": FileURL(Path("/srv/plant")),
    "sqlite:///srv/plant": SqliteURL(Path("/srv/plant")),
    "zeo://db.example:8100": ZeoURL(("db.example", 8100)),
    "zeo://[::1]:8100": ZeoURL(("::1", 8100)),
    "zeo:///run/zeo.sock": ZeoURL("/run/zeo.sock"),
    "zeo://h:1?storage=main&wait_timeout=2.5&cache_size=100MB&blob_dir=/b&blob_cache_size=1GB": ZeoURL(
        ("h", 1), "main", 2.5, 100 << 20, Path("/b"), shared=False, blob_cache_size=1 << 30
    ),
    "zeo:///s?shared_blob_dir=/srv/blobs": ZeoURL("/s", blob_dir=Path("/srv/blobs"), shared=True),
    "postgresql://ada:x%40%2Fy@h:5433/plant?blob_dir=/b&sslmode=require": PostgresqlURL(
        "plant", "ada", "x@/y", "h", 5433, Path("/b"), parameters=(("sslmode", "require"),)
    ),
    "postgresql:///plant?host=/run/pg": PostgresqlURL("plant", parameters=(("host", "/run/pg"),)),
    "postgresql://h/plant?shared_blob_dir=/b": PostgresqlURL("plant", host="h", blob_dir=Path("/b"), shared=True),
}

WRONG = {
    "": "must begin with one of local://, zeo://, file://, postgresql://, sqlite://",
    "plant": "must begin with",
    "http://h/x": "must begin with",
    "file:/srv/x": "must begin with",
    "/srv/plant": "this is a path; its URL is file:///srv/plant",
    "~/plant": "this is a path; its URL is file:///",
    "./plant": "this is a path; its URL is file:///",
    "file://srv/plant": "a path has three slashes",
    "file://": "the path is missing",
    "file:///": "the path is missing",
    "local://": "the path is missing",
    "file:///x?cache=1": "no parameter 'cache'",
    "file:///x#1": "write # in a path as %23",
    "zeo://host": "the port is missing",
    "zeo://:8100": "the port is missing",
    "zeo://host:port": "ort",
    "zeo://host:99999": "Port out of range",
    "zeo://host:8100/tmp/socket": "three slashes: zeo:///tmp/socket",
    "zeo://ada@host:1": "no user names",
    "zeo://": "the path is missing",
    "zeo:///" + "x" * 107: "at most 107 bytes",
    "zeo://h:1?cache_size=many": "no number of bytes",
    "zeo://h:1?wait_timeout=0": "no number of seconds",
    "zeo://h:1?wait_timeout=soon": "no number of seconds",
    "zeo://h:1?storage=1&storage=2": "given twice",
    "zeo://h:1?blob_dir=/a&shared_blob_dir=/b": "exclude each other",
    "zeo://h:1?blob_dir=a": "begins at the root",
    "zeo://h:1?nonsense": "bad query field",
    "postgresql://h": "the name of the database is missing",
    "postgresql://h/a/b": "the name of the database is missing",
    "postgresql://h/a?nonsense=1": "no parameter 'nonsense'",
}


@pytest.mark.parametrize("url", RIGHT)
def test_a_right_url_becomes_its_record(url: str) -> None:
    assert parse(url) == RIGHT[url]


@pytest.mark.parametrize("url", [url for url in RIGHT if "ada" not in url])
def test_the_shown_url_names_the_same_database(url: str) -> None:
    assert parse(parse(url).url) == parse(url)


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_url_says_what_is_wrong_and_what_is_right(url: str) -> None:
    with pytest.raises(DatabaseURLError) as caught:
        parse(url)
    message = str(caught.value)
    assert repr(url) in message
    assert WRONG[url] in message
    assert "zeo://host:port" in message
    assert "For example: wendelin.connect('file:///srv/plant')" in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, WendelinError)


@pytest.mark.parametrize("url", [5, b"file:///x", Path("/srv/plant")])
def test_a_url_is_text(url: object) -> None:
    with pytest.raises(DatabaseURLError, match="a URL is text, not"):
        parse(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:geheim@h/plant?nonsense=1",
        "postgresql://ada:geheim@h:port/plant",
        "postgresql://ada:ge/geheim@x@h:port/plant",
        "postgres://ada:geheim@h/plant",
        "postgresql://ada@h/plant?password=geheim",
        "zeo://ada:geheim@h:1",
    ],
)
def test_no_message_holds_a_password(url: str) -> None:
    with pytest.raises(DatabaseURLError) as caught:
        parse(url)
    assert "geheim" not in str(caught.value)
    assert "***" in str(caught.value)


def test_no_repr_and_no_shown_url_holds_a_password() -> None:
    database = parse("postgresql://ada:geheim@h:1/plant")
    assert isinstance(database, PostgresqlURL)
    assert database.password == "geheim"
    assert "geheim" not in repr(database) + database.url
    assert database.url == "postgresql://ada@h:1/plant"


def test_the_default_is_the_users_own_database(wendelin_home: Path) -> None:
    assert default_url() == f"local://{wendelin_home}/db/default"
    assert parse() == LocalURL(wendelin_home / "db" / "default")


def test_the_environment_names_the_default(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_DB", "file:///srv/plant")
    assert parse() == FileURL(Path("/srv/plant"))


def test_a_wrong_default_says_where_it_comes_from(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_DB", "nonsense")
    with pytest.raises(DatabaseURLError, match=r"\$WENDELIN_DB"):
        parse()
