"""Which messages may run now: dependencies, dates, serialization, priority, groups. Plain values, nothing stored.

A message that waits for a tag, a method or an object is blocked as long as *any other* message has it, also one that
was created later, also a failed one: so what an activity leaves behind in its own transaction keeps those waiting that
wait for the whole. Messages that wait for each other in a circle would wait for ever; `circle` names them.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from wendelin.storage.activities.options import Options

#: What a message is, or waits for: ("tag", x), ("method", x), ("path", x), ("path method", x, y), ("tag method", x, y).
Key = tuple[str, ...]

#: Options in which messages of one call agree.
_SAME = ("group_method_id", "node", "priority", "timeout")

#: Messages of other kinds that are passed over in the search for what goes into one call.
_LOOKED_AT = 64


@dataclass(eq=False)
class Item:
    """A message as far as its turn depends on it."""

    uid: str
    oid: bytes
    path: str
    method_id: str
    options: Options
    not_before: float = 0.0
    failed: bool = False
    committed: float = 0.0
    """When it could have begun for the first time, had a worker been free; 0.0: not of interest."""
    number: int = 0
    keys: tuple[Key, ...] = field(default=(), repr=False)
    waits_for: tuple[Key, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        tag, method, path = self.options.tag, self.method_id, self.path
        keys: list[Key] = [("method", method)]
        if tag:
            keys += [("tag", tag), ("tag method", tag, method)]
        if path:
            keys += [("path", path), ("path method", path, method)]
        self.keys = tuple(keys)
        self.waits_for = tuple(_waits_for(self.options))


def _waits_for(options: Options) -> Iterator[Key]:
    for kind, names in (
        ("tag", options.after_tag), ("method", options.after_method_id), ("path", options.after_path),
    ):  # fmt: skip
        for name in names:
            yield kind, name
    for kind, pairs in (
        ("path method", options.after_path_and_method_id),
        ("tag method", options.after_tag_and_method_id),
    ):
        for first, second in pairs:
            yield kind, first, second


class Order:
    """All messages on the board, and which of them may start."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.running: set[str] = set()
        self._numbers = itertools.count()
        self._now = 0.0
        self._present: Counter[Key] = Counter()
        self._blocked: dict[Key, set[str]] = defaultdict(set)
        self._ready: list[tuple[int, int, str]] = []
        self._later: list[tuple[float, int, str]] = []
        self._serial: Counter[str] = Counter()
        self._parked: dict[str, list[str]] = defaultdict(list)
        self._unique: dict[tuple[str, str, str], str] = {}

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: Item) -> bool:
        """Take a message in. False for a `unique` one whose like waits already: it is not taken."""
        if item.uid in self.items:
            return True
        if item.options.unique:
            like = _like(item)
            known = self.items.get(self._unique.get(like, ""))
            if known is not None and known.uid not in self.running and not known.failed:
                return False
            self._unique[like] = item.uid
        item.number = next(self._numbers)
        self.items[item.uid] = item
        self._present.update(item.keys)
        self._place(item)
        return True

    def ended(self, uid: str) -> None:
        """A message is done, or a person stopped it: it is gone, and others may go on."""
        item = self.items.pop(uid, None)
        if item is None:
            return
        if uid in self.running:
            self.running.discard(uid)
            self._free(item)
        if item.options.unique and self._unique.get(_like(item)) == uid:
            del self._unique[_like(item)]
        self._present.subtract(item.keys)
        for key in item.keys:
            if self._present[key] <= 1:
                for waiting in self._blocked.pop(key, ()):
                    if waiting in self.items:
                        self._place(self.items[waiting])
            if not self._present[key]:
                del self._present[key]

    def again(self, uid: str, not_before: float = 0.0, *, failed: bool = False) -> None:
        """A message was not ended by its run: it waits for its next turn, or for a person when it has `failed`."""
        item = self.items.get(uid)
        if item is None:
            return
        if uid in self.running:
            self.running.discard(uid)
            self._free(item)
        item.not_before, item.failed = not_before, failed
        if not failed:
            self._place(item)

    def start(
        self,
        now: float,
        most: int,
        nodes: Collection[str] | None = None,
        together: Callable[[Item], int] | None = None,
    ) -> list[list[Item]]:
        """Up to `most` calls of messages that run from now on.

        `nodes`: leave out those that want another one. `together`: how many of a message's method may share its call.
        """
        self._now = now
        while self._later and self._later[0][0] <= now:
            uid = heapq.heappop(self._later)[2]
            if uid in self.items:
                self._place(self.items[uid])
        out: list[list[Item]] = []
        elsewhere: list[tuple[int, int, str]] = []
        while self._ready and len(out) < most:
            entry = heapq.heappop(self._ready)
            wanted = self.items[entry[2]].options.node if entry[2] in self.items else ""
            if wanted and nodes is not None and wanted not in nodes:
                elsewhere.append(entry)
                continue
            item = self._startable(entry[2])
            if item is not None:
                out.append(self._together(item, together(item) if together is not None else 1))
        for entry in elsewhere:
            heapq.heappush(self._ready, entry)
        return out

    @property
    def ready(self) -> int:
        """About how many could start."""
        return len(self._ready)

    def next_date(self) -> float | None:
        """When the next message that waits for a date wants its turn."""
        return self._later[0][0] if self._later else None

    def circle(self) -> list[Item]:
        """Messages that wait for each other, when nothing runs and nothing else can help; else none."""
        waiting = {item.uid: item for item in self.items.values() if not item.failed and self._obstacles(item)}
        if self.running or self._later or self._ready:
            return []
        changed = True
        while changed:  # leave out those that wait for something outside, such as a failed message
            outside = Counter(key for item in self.items.values() if item.uid not in waiting for key in item.keys)
            stuck = [uid for uid, item in waiting.items() if any(outside[key] for key in item.waits_for)]
            changed = bool(stuck)
            for uid in stuck:
                del waiting[uid]
        return list(waiting.values())

    # -- the work

    def _place(self, item: Item) -> None:
        """Put a message where it waits: behind a key, for a date, or for its turn."""
        obstacles = self._obstacles(item)
        if obstacles:
            self._blocked[obstacles[0]].add(item.uid)
        elif item.not_before > self._now:
            heapq.heappush(self._later, (item.not_before, item.number, item.uid))
        else:
            heapq.heappush(self._ready, (item.options.priority, item.number, item.uid))

    def _obstacles(self, item: Item) -> list[Key]:
        return [key for key in item.waits_for if self._present[key] > (key in item.keys)]

    def _startable(self, uid: str) -> Item | None:
        item = self.items.get(uid)
        if item is None or item.failed or uid in self.running:
            return None
        if self._obstacles(item):  # something came since that it waits for
            self._place(item)
            return None
        serial = item.options.serialization_tag
        if serial and self._serial[serial]:
            self._parked[serial].append(uid)
            return None
        self._run(item)
        return item

    def _run(self, item: Item) -> None:
        self.running.add(item.uid)
        if item.options.serialization_tag:
            self._serial[item.options.serialization_tag] += 1

    def _free(self, item: Item) -> None:
        serial = item.options.serialization_tag
        if serial and self._serial[serial]:
            self._serial[serial] -= 1
            if not self._serial[serial]:
                del self._serial[serial]
            for uid in self._parked.pop(serial, ()):
                if uid in self.items:
                    self._place(self.items[uid])

    def _together(self, first: Item, most: int) -> list[Item]:
        """With others of the same call: of its group as many as that has room for; else up to `most` of its method."""
        group, cost = first.options.group_method_id, first.options.group_method_cost
        out = [first]
        passed: list[tuple[int, int, str]] = []
        while self._ready and len(passed) <= _LOOKED_AT and (group is not None or len(out) < most):
            entry = heapq.heappop(self._ready)
            item = self.items.get(entry[2])
            if item is None or item.uid in self.running:
                continue
            full = group is not None and cost + item.options.group_method_cost > 1.0 + 1e-9
            if full or not _are_alike(first, item):
                passed.append(entry)
                if full:
                    break
                continue
            if self._startable(item.uid) is not None:
                out.append(item)
                cost += item.options.group_method_cost
        for entry in passed:
            heapq.heappush(self._ready, entry)
        return out


def _like(item: Item) -> tuple[str, str, str]:
    """What `unique` ones have in common."""
    return item.path, item.method_id, item.options.tag


def _are_alike(one: Item, other: Item) -> bool:
    """Whether both may be of one call."""
    if one.options is not other.options and any(
        getattr(one.options, name) != getattr(other.options, name) for name in _SAME
    ):
        return False
    return one.options.group_method_id is not None or one.method_id == other.method_id
