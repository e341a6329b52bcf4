"""Databases: named by URLs, opened by `connect`, served on demand.

What each module knows: `urls` the grammar of names, `paths` where files lie, `connect` which databases this process
has open, `opening` how each kind opens (`client` ZEO, `relational` RelStorage, `files` FileStorage), `ondemand` the
server of a folder and `server` that process, `connection` arrays at transaction boundaries, `watch` who wants to
hear of commits, `history` what was committed, `past` the earlier states that this process was sent references to.
"""

from __future__ import annotations

from wendelin.storage.database.connect import connect
from wendelin.storage.database.history import TransactionInfo, last_transactions
from wendelin.storage.database.urls import default_url
from wendelin.storage.database.watch import watch

__all__ = ["TransactionInfo", "connect", "default_url", "last_transactions", "watch"]
