"""Whose turn it is: plain values, without a database."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wendelin.storage.activities.options import checked
from wendelin.storage.activities.order import Item, Order

_numbers = itertools.count()


def item(method: str = "m", path: str = "p", not_before: float = 0.0, **options: Any) -> Item:
    return Item(f"{next(_numbers)}", b"", path, method, checked(options), not_before)


def order(*items: Item) -> Order:
    made = Order()
    for one in items:
        assert made.add(one)
    return made


def started(some: Order, now: float = 0.0, most: int = 100, node: str | None = None) -> list[list[str]]:
    return [[one.method_id for one in group] for group in some.start(now, most, None if node is None else {node})]


def test_priority_then_age() -> None:
    some = order(item("late", priority=5), item("first"), item("second"), item("urgent", priority=-128))
    assert started(some) == [["urgent"], ["first"], ["second"], ["late"]]
    assert started(some) == []


@pytest.mark.parametrize(
    ("waits", "blocks", "lets"),
    [
        ({"after_tag": "t"}, {"tag": "t"}, {"tag": "u"}),
        ({"after_tag": ["s", "t"]}, {"tag": "t"}, {"tag": "u"}),
        ({"after_method_id": "x"}, {"method": "x"}, {"method": "y"}),
        ({"after_path": "a"}, {"path": "a"}, {"path": "b"}),
        ({"after_path_and_method_id": ("a", "x")}, {"path": "a", "method": "x"}, {"path": "a", "method": "y"}),
        ({"after_path_and_method_id": (["b", "a"], ["x"])}, {"path": "a", "method": "x"}, {"path": "c", "method": "x"}),
        ({"after_tag_and_method_id": ("t", "x")}, {"tag": "t", "method": "x"}, {"tag": "t", "method": "y"}),
    ],
)
def test_what_waits_for_what(waits: dict[str, Any], blocks: dict[str, Any], lets: dict[str, Any]) -> None:
    """Also for those that came later; not for itself."""
    first, other = item(**blocks), item(**lets)
    waiting = item("waiting", "w", **waits, **({"tag": blocks["tag"]} if set(blocks) == {"tag"} else {}))
    later = item(**blocks)
    some = order(waiting, first, other, later)
    assert {name for group in started(some) for name in group} == {first.method_id, other.method_id}
    some.ended(other.uid)
    some.ended(first.uid)
    assert started(some) == [], "the one that came later is left"
    some.ended(later.uid)
    assert started(some) == [["waiting"]]


def test_a_failed_one_blocks_until_somebody_decides() -> None:
    first = item(tag="t")
    some = order(first, item("waiting", after_tag="t"))
    assert started(some) == [["m"]]
    some.again(first.uid, failed=True)
    assert started(some, now=1e12) == []
    assert some.circle() == []
    some.again(first.uid)
    assert started(some) == [["m"]]
    some.ended(first.uid)
    assert started(some) == [["waiting"]]


def test_dates() -> None:
    some = order(item("later", not_before=20.0), item("soon", not_before=10.0), item("now"))
    assert started(some, now=5) == [["now"]]
    assert some.next_date() == 10
    assert started(some, now=10) == [["soon"]]
    assert started(some, now=30) == [["later"]]
    assert some.next_date() is None


def test_one_at_a_time_of_a_serialization_tag() -> None:
    items = [item(f"{number}", serialization_tag="s") for number in range(3)]
    some = order(*items, item("other"))
    assert started(some) == [["0"], ["other"]]
    some.again(items[0].uid, 5.0)
    assert started(some) == [["1"]]
    some.ended(items[2].uid)  # a person cancelled it while it waited: the one that runs still has the tag
    assert started(some, now=9.0) == []
    some.ended(items[1].uid)
    assert started(some, now=9.0) == [["0"]]


def test_what_wants_another_node_waits_for_it() -> None:
    some = order(item("there", node="b"), item("anywhere"), item("serial there", node="b", serialization_tag="s"))
    assert started(some, node="a") == [["anywhere"]]
    assert started(some, node="a") == []
    assert some.running == {one.uid for one in some.items.values() if one.method_id == "anywhere"}
    assert started(some, node="b") == [["there"], ["serial there"]]


def test_groups_are_of_one_kind_and_cost_one_at_most() -> None:
    alike = [item(f"{number}", group_method_id="g", group_method_cost=0.25) for number in range(6)]
    others = [
        item("alone"),
        item("other group", group_method_id="h"),
        item("other node", group_method_id="g", node="b"),
        item("other time-out", group_method_id="g", timeout=3),
    ]
    found = started(order(*alike[:3], *others, *alike[3:]))
    assert sorted(found) == sorted([["0", "1", "2", "3"], ["4", "5"], *([one.method_id] for one in others)])


def test_short_ones_of_a_method_share_a_call() -> None:
    some = order(*(item(method) for _ in range(4) for method in "ab"), item("a", priority=2))
    assert some.ready == 9
    called = [
        [one.method_id for one in call] for call in some.start(0, 3, None, lambda one: 3 - 2 * (one.method_id == "b"))
    ]
    assert called == [["a"] * 3, ["b"], ["b"]]
    called = [[one.method_id for one in call] for call in some.start(0, 9, None, lambda one: 9)]
    assert called == [["b", "b"], ["a"], ["a"]], "another priority is another call"


def test_unique_ones() -> None:
    some = Order()
    first = item(unique=True, tag="t")
    assert some.add(first)
    assert not some.add(item(unique=True, tag="t"))
    assert some.add(item(unique=True, tag="u"))
    assert some.add(item("n", unique=True, tag="t"))
    started(some)
    assert some.add(item(unique=True, tag="t")), "the first one runs already, and may not see what this one is for"


def test_a_unique_one_does_not_become_one_with_what_has_failed() -> None:
    some = Order()
    first = item(unique=True, tag="t")
    assert some.add(first)
    started(some)
    some.again(first.uid, failed=True)
    assert some.add(item(unique=True, tag="t")), "it would wait for a person"
    assert not some.add(item(unique=True, tag="t"))


def test_what_has_ended_leaves_nothing() -> None:
    some = Order()
    for number in range(3):
        one = item(unique=True, tag=f"{number}", serialization_tag=f"{number}")
        some.add(one)
        started(some)
        some.ended(one.uid)
    left = {name: value for name, value in vars(some).items() if name not in ("_numbers", "_now")}
    assert not any(left.values()), left


def test_a_circle_is_found_and_what_waits_for_something_else_is_not() -> None:
    a, b = item("a", tag="a", after_tag="b"), item("b", tag="b", after_tag="a")
    behind = item("behind", after_tag="a")
    some = order(a, b, behind)
    assert started(some) == []
    assert {one.method_id for one in some.circle()} == {"a", "b", "behind"}
    outside = item("outside", tag="b")
    some.add(outside)
    assert some.circle() == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3), st.integers(-2, 2), st.booleans()), max_size=20))
def test_everything_runs_once_in_an_order_that_keeps_the_rules(plan: list[tuple[int, int, int, bool]]) -> None:
    """Tags wait for lower tags only, so there is no circle: all must run, none before what it waits for."""
    some = Order()
    items: list[Item] = []
    for tag, after, priority, serial in plan:
        options: dict[str, Any] = {"tag": str(tag), "priority": priority, "serialization_tag": "s" if serial else ""}
        if after >= 0 and tag > 0:
            options["after_tag"] = str(min(after, tag - 1))
        items.append(item(**options))
        some.add(items[-1])
    ran: list[Item] = []
    while groups := some.start(0.0, 2):
        assert sum(bool(one.options.serialization_tag) for group in groups for one in group) <= 1
        for group in groups:
            for one in group:
                left = [other for other in items if other not in ran and other is not one]
                assert not any(other.options.tag in one.options.after_tag for other in left)
        for group in groups:
            for one in group:
                ran.append(one)
                some.ended(one.uid)
    assert sorted(one.uid for one in ran) == sorted(one.uid for one in items)
    assert len(some) == 0
