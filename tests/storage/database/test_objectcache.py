"""A cache that is inconsistent empties itself; whoever uses it goes on."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from ZODB.utils import p64

from wendelin.storage.database.objectcache import ObjectCache


def filled(count: int) -> ObjectCache:
    cache = ObjectCache(1 << 16)
    for number in range(1, count + 1):
        cache.store(p64(number), p64(100 + number), None, bytes(4000))
    return cache


def lose_the_index(cache: ObjectCache) -> None:
    for number in list(cache.current):
        del cache.current[number]


def move_the_index(cache: ObjectCache) -> None:
    for number in list(cache.current):
        cache.current[number] += 1


@pytest.mark.parametrize("damage", [lose_the_index, move_the_index])
def test_an_inconsistent_cache_begins_anew(damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    cache = filled(10)
    damage(cache)
    with caplog.at_level(logging.WARNING):
        assert [cache.load(p64(number)) for number in range(1, 11)] == [None] * 10
        assert cache.loadBefore(p64(3), p64(200)) is None
    cache.close()
    cache = filled(10)
    damage(cache)
    with caplog.at_level(logging.WARNING):
        for number in range(1, 30):
            cache.invalidate(p64(number), p64(1000 + number))
            cache.store(p64(number), p64(1000 + number), None, b"new" * 1000)
    assert "begins anew" in caplog.text
    assert cache.load(p64(29)) == (b"new" * 1000, p64(1029))
    cache.close()


def test_it_says_nothing_when_all_is_well(caplog: pytest.LogCaptureFixture) -> None:
    cache = filled(100)
    assert cache.load(p64(100)) == (bytes(4000), p64(200))
    assert cache.load(p64(1)) is None
    assert caplog.text == ""
    cache.close()
