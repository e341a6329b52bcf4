"""Dates as people write them."""

from __future__ import annotations

import pandas as pd


def day(stamp: pd.Timestamp) -> str:
    """``"4 August 2018"``."""
    return f"{stamp.day} {stamp:%B %Y}"


def month(stamp: pd.Timestamp) -> str:
    """``"August 2018"``."""
    return f"{stamp:%B %Y}"
