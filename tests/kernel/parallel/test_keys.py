"""What makes two tasks the same: function, code, arguments."""

from __future__ import annotations

import functools
from random import random
from typing import Any

import numpy as np
import pytest

from wendelin.kernel.parallel.keys import Keys


def key(function: Any, *args: Any, **kwargs: Any) -> str:
    return Keys().of(function, args, kwargs)


def function(text: str) -> Any:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    return names["f"]


@pytest.mark.parametrize("text", ["def f(x): return x + 2", "def f(x): return x - 1", "def f(x, y=1): return x + 1"])
def test_another_body_or_default_is_another_function(text: str) -> None:
    same = "def f(x): return x + 1"
    assert key(function(same), 1) == key(function(same), 1)
    assert key(function(same), 1) != key(function(text), 1)


def test_what_a_closure_holds_counts() -> None:
    def adder(n: Any) -> Any:
        return lambda x: x + n

    assert key(adder(1), 1) == key(adder(1), 1)
    assert key(adder(1), 1) != key(adder(2), 1)


def test_a_function_that_calls_itself_has_a_key() -> None:
    def outer() -> Any:
        def down(n: int) -> int:
            return n and down(n - 1)

        return down

    assert key(outer(), 3) == key(outer(), 3)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3), np.ones(3)),
        (np.zeros(3), np.zeros(3, "f4")),
        ({"a": [1]}, {"a": [2]}),
        (1, 1.5),
        (functools.partial(max, 1), functools.partial(max, 2)),
    ],
)
def test_arguments_are_compared_by_value(one: Any, other: Any) -> None:
    assert key(len, one) == key(len, one)
    assert key(len, one) != key(len, other)
    assert key(len, a=one) != key(len, one)


def test_equal_tasks_of_one_call_are_different_draws() -> None:
    keys = Keys()
    first, second = keys.of(random, (), {}), keys.of(random, (), {})
    assert first != second
    again = Keys()
    assert (again.of(random, (), {}), again.of(random, (), {})) == (first, second)
