"""What a user sees of the catalogue: ranks, errors, pages, and what happens in several transactions at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import transaction
from ZODB.POSException import ConflictError, UndoError

import wendelin
from tests.storage.database.children import children
from tests.storage.database.servers import zeo_server
from wendelin.storage.errors import QueryError
from wendelin.storage.ubm.catalogue import catalogue as module
from wendelin.storage.ubm.catalogue import folding, ordering
from wendelin.storage.ubm.catalogue.catalogue import Catalogue

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(number: int, words: str = "", **values: Any) -> dict[str, Any]:
    reference = f"S-{number}"
    plain = {"type": "sensor", "state": "draft", "reference": reference, "created": NOW, "modified": NOW}
    return {"uid": f"{number:032x}", **plain, "words": words, **values}


def put(catalogue: Catalogue, *rows: dict[str, Any]) -> None:
    for each in rows:
        catalogue.index(each["uid"], each)


def references(rows: Any) -> list[str]:
    return [each["reference"] for each in rows]


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Any]:
    connection = wendelin.connect(f"file://{tmp_path}/db")
    connection.root()["catalogue"] = Catalogue()
    transaction.commit()
    yield connection
    transaction.abort()
    connection.close()


@pytest.fixture
def catalogue(conn: Any) -> Any:
    return conn.root()["catalogue"]


@pytest.fixture
def other(conn: Any) -> Iterator[Any]:
    manager = transaction.TransactionManager()
    connection = wendelin.connect(conn.url, transaction_manager=manager)
    yield connection.root()["catalogue"]
    manager.abort()
    connection.close()


@pytest.mark.parametrize("folded", [False, True])
def test_rarer_words_more_often_in_shorter_texts_come_first(folded: bool):
    """Recent rows are weighed by how rare words are in the trees."""
    catalogue = Catalogue()
    put(catalogue, *(row(number, "power") for number in range(10, 20)), row(20, "inverter"))
    catalogue.fold_here()
    put(
        catalogue,
        row(1, "power power inverter"),
        row(2, "inverter inverter power"),
        row(3, "power and much else that nobody looks for inverter"),
    )
    if folded:
        catalogue.fold_here()
    assert references(catalogue.search(text="inverter power")) == ["S-2", "S-1", "S-3"]
    assert references(catalogue.search(text="inverter power", sort="-rank")) == ["S-3", "S-1", "S-2"]
    assert references(catalogue.search(text="inverter power", sort="reference")) == ["S-1", "S-2", "S-3"]
    assert references(catalogue.search(text="INVERT*", limit=2)) == ["S-20", "S-2"]


def test_pages_by_rank_hold_each_row_once():
    catalogue = Catalogue()
    put(catalogue, *(row(number, "same words " + "more " * (number % 3)) for number in range(40)))
    catalogue.fold_here()
    put(catalogue, *(row(number, "same words") for number in range(30, 50)))
    for sort in ("rank", "-rank"):
        found: list[str] = []
        after = None
        while after or not found:
            page = catalogue.search(text="same", sort=sort, limit=7, after=after)
            found, after = found + references(page), page.next
            assert page.total == 50
        assert sorted(found) == sorted(f"S-{number}" for number in range(50))


@pytest.mark.parametrize("sort", ["title", "-title", "created", "-modified", "start"])
@pytest.mark.parametrize("loaded", [0, 500])
def test_pages_of_rows_that_sort_alike_hold_each_once(sort: str, loaded: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ordering, "_LOADED", loaded)
    catalogue = Catalogue()
    put(catalogue, *(row(number, title="the same title") for number in range(20)))
    catalogue.fold_here()
    put(catalogue, *(row(number, title="the same title") for number in range(15, 25)))
    found: list[str] = []
    after = None
    while after or not found:
        page = catalogue.search(sort=sort, limit=4, after=after)
        found, after = found + references(page), page.next
    assert sorted(found) == sorted(f"S-{number}" for number in range(25))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"kind": "sensor"}, "'kind' is nothing to search by; There are type, role, state, reference, relation, text"),
        ({"stat": "draft"}, "did you mean state"),
        ({"type": 3}, "type = 3: give a string"),
        ({"created": NOW}, "give two times"),
        ({"start": (datetime(2026, 1, 1), None)}, "is no time with a zone"),  # noqa: DTZ001
        ({"relation": "owner"}, "give names with uids"),
        ({"sort": "size"}, "sort = 'size': there are reference, title"),
        ({"sort": "rank"}, "sort = 'rank': there are"),
        ({"limit": -1}, "limit = -1"),
        ({"limit": "5"}, "limit = '5'"),
        ({"after": "nonsense"}, "give what the page before has as `next`"),
        ({"after": "WzFd"}, "give what the page before has as `next`"),
    ],
)
def test_what_cannot_be_asked_is_told(query: dict[str, Any], message: str):
    with pytest.raises(QueryError, match=message):
        Catalogue().search(**query)


def test_a_cursor_belongs_to_its_order():
    catalogue = Catalogue()
    put(catalogue, *(row(number) for number in range(3)))
    after = catalogue.search(limit=1).next
    assert references(catalogue.search(after=after)) == ["S-1", "S-2"]
    with pytest.raises(QueryError, match="the same sort"):
        catalogue.search(after=after, sort="-reference")


def test_rows_move_into_the_trees_after_a_commit_and_not_before(catalogue: Any, caplog):
    put(catalogue, *(row(number) for number in range(module.PART_ROWS * module.PARTS)))
    assert catalogue.search().total == module.PART_ROWS * module.PARTS
    assert not catalogue.trees.numbers
    transaction.abort()
    assert catalogue.search().total == 0
    put(catalogue, *(row(number) for number in range(module.PART_ROWS * module.PARTS)))
    transaction.commit()
    transaction.begin()
    assert len(catalogue.trees.numbers) == len(catalogue) == module.PART_ROWS * module.PARTS
    assert not catalogue.recent()
    assert catalogue.lease == 0
    assert not caplog.records


def test_a_fold_that_fails_is_not_the_users_failure(catalogue: Any, monkeypatch, caplog):
    monkeypatch.setattr(Catalogue, "fold_here", lambda *_: 1 / 0)
    put(catalogue, *(row(number) for number in range(2000)))
    transaction.commit()
    assert "searches get slower" in caplog.text
    assert catalogue.search().total == 2000


def test_nobody_folds_while_another_one_does(conn: Any, catalogue: Any):
    catalogue.hold()
    put(catalogue, *(row(number) for number in range(2000)))
    transaction.commit()
    assert len(catalogue.recent()) == 2000
    catalogue.lease = time.time() - 1
    transaction.commit()
    assert folding.fold(conn.db(), catalogue._p_oid) == 2000


def test_a_fold_meets_changes_and_deletions_of_what_it_moves(conn: Any, catalogue: Any, other: Any):
    put(catalogue, row(1, "old"), row(2, "old"), row(3, "old"))
    transaction.commit()
    other._p_jar.transaction_manager.begin()
    put(other, row(1, "new"))
    other.unindex(row(2)["uid"])
    put(other, row(4, "new"))
    assert folding.fold(conn.db(), catalogue._p_oid, all_rows=True) == 3
    other._p_jar.transaction_manager.commit()
    transaction.begin()
    assert references(catalogue.search(text="new", sort="reference")) == ["S-1", "S-4"]
    assert references(catalogue.search(text="old")) == ["S-3"]
    folding.fold(conn.db(), catalogue._p_oid, all_rows=True)
    transaction.begin()
    assert references(catalogue.search(text="new", sort="reference")) == ["S-1", "S-4"]
    assert references(catalogue.search(text="old")) == ["S-3"]


@pytest.mark.parametrize("folded", [False, True])
def test_an_undo_takes_a_row_back_or_is_refused_when_it_is_in_the_trees(
    conn: Any, catalogue: Any, folded: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Catalogue, "_part", lambda self, uid: self.parts[0])
    put(catalogue, row(1), row(2))
    transaction.commit()
    put(catalogue, row(3))
    transaction.commit()
    made = conn.db().undoInfo(0, 1)[0]["id"]
    put(catalogue, row(4))
    transaction.commit()
    if folded:
        folding.fold(conn.db(), catalogue._p_oid, all_rows=True)
    transaction.begin()
    conn.db().undo(made)
    if folded:
        with pytest.raises(UndoError):
            transaction.commit()
        transaction.abort()
    else:
        transaction.commit()
    transaction.begin()
    assert references(catalogue.rows()) == ["S-1", "S-2", *(["S-3"] if folded else []), "S-4"]


def test_the_same_entity_indexed_twice_at_the_same_time_conflicts(catalogue: Any, other: Any):
    other._p_jar.transaction_manager.begin()
    put(catalogue, row(1, "ours"))
    put(other, row(1, "theirs"), row(2, "theirs"))
    transaction.commit()
    with pytest.raises(ConflictError):
        other._p_jar.transaction_manager.commit()


def test_a_rebuilding_keeps_what_others_create_meanwhile(catalogue: Any, other: Any):
    put(catalogue, row(1, "lost"), row(2))
    transaction.commit()
    other._p_jar.transaction_manager.begin()
    ticks: list[int] = []
    assert catalogue.rebuild([row(2), row(3)], lambda: ticks.append(1)) == 2
    put(other, row(4))
    other._p_jar.transaction_manager.commit()
    transaction.commit()
    transaction.begin()
    assert references(catalogue.rows()) == ["S-2", "S-3", "S-4"]
    assert len(ticks) == 2


def test_a_rebuilding_conflicts_with_a_fold_unless_folds_are_held(conn: Any, catalogue: Any):
    put(catalogue, row(1))
    transaction.commit()
    catalogue.rebuild([row(1)])
    assert folding.fold(conn.db(), catalogue._p_oid, all_rows=True) == 1
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.abort()
    catalogue.hold()
    put(catalogue, row(2))
    transaction.commit()
    catalogue.rebuild([row(1), row(2)])
    assert folding.fold(conn.db(), catalogue._p_oid, all_rows=True) == 0
    transaction.commit()
    assert catalogue.lease == 0
    assert references(catalogue.rows()) == ["S-1", "S-2"]


def test_a_server_that_merges_needs_no_numpy():
    code = (
        "import sys, wendelin; wendelin.CatalogueRecent; "
        "assert not {'numpy', 'pydantic', 'pint', 'dask'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_CREATE = """
import transaction, wendelin
from datetime import UTC, datetime
conn = wendelin.connect({url!r})
catalogue = conn.root()["catalogue"]
for number in range({count}):
    uid = "{{:032x}}".format({who} * 100000 + number)
    now = datetime.now(UTC)
    catalogue.index(uid, dict(type="sensor", reference="S-{who}-" + str(number), created=now, modified=now, words="w"))
    transaction.commit()
"""


@pytest.mark.slow
def test_four_processes_create_500_each_without_any_conflict(tmp_path: Path):
    """A ConflictError of a creator fails the test; folds happen meanwhile."""
    with zeo_server(tmp_path / "s", tcp=True) as server, children(4) as processes:
        manager = transaction.TransactionManager()
        connection = wendelin.connect(server.url, transaction_manager=manager)
        catalogue = connection.root()["catalogue"] = Catalogue()
        manager.commit()
        for who, child in enumerate(processes):
            child.send(_CREATE.format(url=server.url, count=500, who=who))
        for child in processes:
            child.receive()
        for child in processes:
            child.do("conn.close()")
        manager.begin()
        assert len(catalogue.trees.numbers) > 200, "no fold happened, so none was met"
        expected = sorted(f"S-{who}-{number}" for who in range(4) for number in range(500))
        assert sorted(references(catalogue.rows())) == expected
        manager.abort()
        connection.close()
