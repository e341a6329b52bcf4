"""The catalogue of 100,000 synthetic entities on a database server, beside sqlite3 with indexes and FTS5.

Both answer with the first 50 rows and with how many rows fit. Warm: the median of a connection that has asked before.
Cold: the first question of a new process, without what it takes to connect. Rows are random, of a fixed seed.
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import transaction

import wendelin
from tests.storage.database.children import children
from wendelin.storage.database.status import stop
from wendelin.storage.ubm.catalogue import folding
from wendelin.storage.ubm.catalogue.catalogue import Catalogue

NAME = "Entities: searching the catalogue"

COUNT, ROUNDS, RECENT = 100_000, 21, 500
START = datetime(2026, 1, 1, tzinfo=UTC)

_TYPES = ["sensor"] * 5 + ["plant", "device", "data_stream", "analysis", "ticket"]
_STATES = ["draft", "validated", "validated", "invalidated"]
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

_PAGE = "order by reference limit 50"
_MATCH = "uid in (select uid from texts where texts match ?)"


def rows(count: int) -> list[dict[str, Any]]:
    """Synthetic rows: titles of rare and frequent words, one entity in 50 is an inverter."""
    chance = random.Random(1)
    words = [
        "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randint(3, 9))) for _ in range(5000)
    ]
    uids = [f"{chance.getrandbits(128):032x}" for _ in range(count)]
    return [_row(chance, words, uid, uids[number // 200 * 200]) for number, uid in enumerate(uids)]


def _row(chance: random.Random, words: list[str], uid: str, asset: str) -> dict[str, Any]:
    kind = chance.choice(_TYPES)
    reference = f"{kind[:3].upper()}-{''.join(chance.choice(_LETTERS) for _ in range(6))}"
    title = " ".join(words[min(int(chance.expovariate(1 / 600)), 4999)] for _ in range(3))
    title += " inverter" if chance.random() < 0.02 else ""
    created = START + timedelta(seconds=chance.random() * 3e7)
    return {
        "uid": uid, "type": kind, "roles": ("item",), "state": chance.choice(_STATES), "reference": reference,
        "title": title, "relations": {"asset": [asset]}, "created": created, "modified": created, "start": None,
        "stop": None, "words": f"{reference} {kind} {title}",
    }  # fmt: skip


Question = tuple[str, dict[str, Any], str, list[Any]]


def questions(found: list[dict[str, Any]]) -> list[Question]:
    """What is asked: name, our query, the peer's condition and order, its values."""
    some = found[len(found) // 2]
    asset, week = some["relations"]["asset"][0], (START, START + timedelta(days=7))
    begins = some["reference"][:5]
    related = "uid in (select uid from relations where name = 'asset' and target = ?)"
    span = [each.isoformat() for each in week]
    return [
        ("type (half of all)", {"type": "sensor"}, f"type = ? {_PAGE}", ["sensor"]),
        ("state (a quarter)", {"state": "draft"}, f"state = ? {_PAGE}", ["draft"]),
        ("one reference", {"reference": some["reference"]}, f"reference = ? {_PAGE}", [some["reference"]]),
        ("references that begin so", {"reference": begins}, f"reference glob ? {_PAGE}", [begins + "*"]),
        ("references with a pattern", {"reference": "*7K3"}, f"reference glob ? {_PAGE}", ["*7K3"]),
        ("relation", {"relation": {"asset": asset}}, f"{related} {_PAGE}", [asset]),
        ("a week", {"created": week}, f"created >= ? and created < ? {_PAGE}", span),
        ("a word, best first", {"text": "inverter"}, "texts match ? order by rank limit 50", ["inverter"]),
        ("words that begin so, best first", {"text": "inver*"}, "texts match ? order by rank limit 50", ["inver*"]),
        (
            "type, state, time and words",
            {"type": "sensor", "state": "validated", "created": (START, None), "text": "inver*", "sort": "title"},
            f"type = ? and state = ? and created >= ? and {_MATCH} order by title limit 50",
            ["sensor", "validated", START.isoformat(), "inver*"],
        ),
        (
            "latest of a type",
            {"type": "plant", "sort": "-created"},
            "type = ? order by created desc limit 50",
            ["plant"],
        ),
        ("all by title", {"sort": "title"}, "1 order by title limit 50", []),
        ("a word that is nowhere", {"text": "zzzzzzzzzz"}, f"{_MATCH} {_PAGE}", ["zzzzzzzzzz"]),
    ]


def main() -> str:
    found = rows(COUNT)
    asked = questions(found)
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as place:
        peer = Peer(Path(place) / "peer.sqlite", found)
        url = f"local://{place}/db"
        try:
            ours, facts = measured(url, Path(place), found, asked)
        finally:
            stop(url)
        theirs = [(peer.warm(each), peer.cold(each)) for each in asked]
        peer.close()
    head = (
        f"| first 50 of {COUNT:,} | rows that fit | warm | with {RECENT} recent rows | cold | sqlite3 warm | cold |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    lines = [
        f"| {each[0]} | {total:,} | {ms(warm)} | {ms(recent)} | {ms(cold)} | {ms(other[0])} | {ms(other[1])} |"
        for each, (total, warm, recent, cold), other in zip(asked, ours, theirs, strict=True)
    ]
    facts += [
        ("bytes a row, sqlite3", f"{peer.size / COUNT:,.0f}"),
        ("filling sqlite3 with all", f"{peer.seconds:,.1f} s"),
    ]
    more = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return head + "\n".join(lines) + "\n\n| | |\n|---|---|\n" + more


def measured(
    url: str, place: Path, found: list[dict[str, Any]], asked: list[Question]
) -> tuple[list[tuple[int, float, float, float]], list[tuple[str, str]]]:
    """Our figures: of each question, and of indexing."""
    connection = wendelin.connect(url)
    catalogue = connection.root()["catalogue"] = Catalogue()
    transaction.commit()
    before = used(place)
    rebuilding = timed(lambda: (catalogue.rebuild(found), transaction.commit()))
    size = used(place) - before
    cold = [ask_cold(url, each) for each in asked]
    totals = [catalogue.search(**each[1]).total for each in asked]
    warm = [median(partial(catalogue.search, **each[1])) for each in asked]
    catalogue.hold()
    transaction.commit()
    seconds = [timed(partial(index_one, catalogue, each)) for each in found[:RECENT]]
    recent = [median(partial(catalogue.search, **each[1])) for each in asked]
    catalogue.lease = 0.0
    transaction.commit()
    folded = timed(lambda: folding.fold(connection.db(), catalogue._p_oid, all_rows=True))
    connection.close()
    facts = [
        ("bytes a row, after a rebuilding", f"{size / COUNT:,.0f}"),
        ("rebuilding all, with its commit", f"{rebuilding:,.1f} s"),
        ("indexing one row, with its commit", ms(statistics.median(seconds))),
        (f"moving {RECENT} recent rows into the trees, after a commit", ms(folded)),
    ]
    return list(zip(totals, warm, recent, cold, strict=True)), facts


def index_one(catalogue: Any, each: dict[str, Any]) -> None:
    catalogue.index(each["uid"], {**each, "modified": each["modified"] + timedelta(days=1)})
    transaction.commit()


def ask_cold(url: str, question: Question) -> float:
    """The first question of a new process that has loaded the modules, and the catalogue's own record."""
    query = json.dumps(question[1], default=lambda moment: {"moment": moment.isoformat()})
    with children(1) as [child]:
        child.do(
            "import json, time, wendelin; from datetime import datetime\n"
            "from wendelin.storage.ubm.catalogue.catalogue import Catalogue\n"
            "as_it_was = lambda found: datetime.fromisoformat(found['moment']) if 'moment' in found else found\n"
            f"query = json.loads({query!r}, object_hook=as_it_was)\n"
            "Catalogue().search(**query)\n"
            f"c = wendelin.connect({url!r}); catalogue = c.root()['catalogue']; catalogue.lease\n"
            "started = time.perf_counter(); catalogue.search(**query); took = time.perf_counter() - started"
        )
        return float(child.do("c.close()", "took"))


class Peer:
    """sqlite3: a table with indexes, relations, FTS5."""

    def __init__(self, file: Path, found: list[dict[str, Any]]) -> None:
        self.file, self.db = file, sqlite3.connect(file)
        started = time.perf_counter()
        self.db.executescript(_TABLES)
        names = ("uid", "type", "state", "reference", "title")
        values = ((*(each[name] for name in names), each["created"].isoformat()) for each in found)
        self.db.executemany("insert into entities values (?, ?, ?, ?, ?, ?)", values)
        self.db.executemany(
            "insert into relations values (?, 'asset', ?)",
            ((each["uid"], each["relations"]["asset"][0]) for each in found),
        )
        self.db.executemany("insert into texts values (?, ?)", ((each["uid"], each["words"]) for each in found))
        self.db.commit()
        self.seconds, self.size = time.perf_counter() - started, file.stat().st_size

    def ask(self, db: sqlite3.Connection, question: Question) -> None:
        _, _, condition, values = question
        table = "texts join entities using (uid)" if condition.startswith("texts") else "entities"
        db.execute(f"select * from {table} where {condition}", values).fetchall()
        db.execute(f"select count(*) from {table} where {condition.partition(' order by')[0]}", values).fetchall()

    def warm(self, question: Question) -> float:
        return median(lambda: self.ask(self.db, question))

    def cold(self, question: Question) -> float:
        """A new connection; the file is in the system's cache."""
        db = sqlite3.connect(self.file)
        try:
            return timed(lambda: self.ask(db, question))
        finally:
            db.close()

    def close(self) -> None:
        self.db.close()


_TABLES = """
create table entities (uid text primary key, type text, state text, reference text, title text, created text);
create index by_type on entities (type, reference);
create index by_state on entities (state, reference);
create index by_reference on entities (reference);
create index by_title on entities (title);
create index by_created on entities (created);
create table relations (uid text, name text, target text);
create index by_target on relations (name, target);
create virtual table texts using fts5 (uid unindexed, words,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3');
"""


def used(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*.fs"))


def median(call: Callable[[], object]) -> float:
    call()
    return statistics.median(timed(call) for _ in range(ROUNDS))


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def ms(seconds: float) -> str:
    return f"{1000 * seconds:,.2f} ms"
