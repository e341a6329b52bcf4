"""Warnings of the scientific packages that a plant's analyst can do nothing about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence third parties inside the block, never our own code around it.

    pvlib 0.16, pvanalytics 0.2 and RdTools 3.2 use names that pandas has renamed, warn about days without values, and
    announce that soiling is experimental. Errors pass. Until Python 3.14 filters of warnings belong to the process: a
    thread beside this one may lose a warning meanwhile.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
