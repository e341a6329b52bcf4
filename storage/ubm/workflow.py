"""States and the ways between them. Workflows are data: the REST door, reprs and checks read them."""

from __future__ import annotations

from dataclasses import dataclass

#: Roles of users. Who has which is the hub's business; who may do what stands in the transitions.
ANALYST, MANAGER, OPERATOR, AUDITOR, ADMIN = ROLES = ("analyst", "manager", "operator", "auditor", "admin")

_WRITERS = frozenset((ANALYST, MANAGER, OPERATOR, ADMIN))
_DECIDERS = frozenset((MANAGER, ADMIN))
_WORKERS = frozenset((OPERATOR, MANAGER, ADMIN))


@dataclass(frozen=True)
class Transition:
    """A way from some states to one, and the roles that may take it."""

    name: str
    sources: tuple[str, ...]
    target: str
    roles: frozenset[str]
    title: str = ""

    def to_json(self) -> dict[str, object]:
        """A plain dict."""
        return {
            "name": self.name,
            "from": list(self.sources),
            "to": self.target,
            "roles": sorted(self.roles),
            "title": self.title,
        }


@dataclass(frozen=True)
class Workflow:
    """States, the first of which new entities have, and the transitions between them."""

    name: str
    states: tuple[str, ...]
    transitions: tuple[Transition, ...]

    @property
    def initial(self) -> str:
        """The state of new entities."""
        return self.states[0]

    def possible(self, state: str) -> tuple[Transition, ...]:
        """The transitions from a state."""
        return tuple(each for each in self.transitions if state in each.sources)

    def find(self, name: str) -> Transition | None:
        """The transition of that name."""
        return next((each for each in self.transitions if each.name == name), None)

    def to_json(self) -> dict[str, object]:
        """A plain dict."""
        transitions = [each.to_json() for each in self.transitions]
        return {"name": self.name, "states": list(self.states), "transitions": transitions}


def _ways(*rows: tuple[str, str, str, frozenset[str], str]) -> tuple[Transition, ...]:
    return tuple(Transition(name, tuple(sources.split()), *rest) for name, sources, *rest in rows)  # type: ignore[arg-type]


#: Of nodes, resources, items, events and documents.
VALIDATION = Workflow(
    "validation",
    ("draft", "validated", "archived"),
    _ways(
        ("validate", "draft archived", "validated", _WRITERS, "It is right, use it"),
        ("archive", "draft validated", "archived", _DECIDERS, "Keep it, use it no more"),
    ),
)

#: Of paths: `default` is the one that is taken when no validated one matches.
REGISTRATION = Workflow(
    "registration",
    ("draft", "validated", "default", "invalidated"),
    _ways(
        ("validate", "draft default invalidated", "validated", _DECIDERS, "It is in force"),
        ("make_default", "draft validated", "default", _DECIDERS, "It is in force where no other one matches"),
        ("invalidate", "draft validated default", "invalidated", _DECIDERS, "It is in force no more"),
    ),
)

#: Of movements.
SIMULATION = Workflow(
    "simulation",
    ("draft", "planned", "confirmed", "started", "stopped", "delivered", "cancelled"),
    _ways(
        ("plan", "draft", "planned", _WRITERS, "It is meant to happen"),
        ("confirm", "draft planned", "confirmed", _DECIDERS, "It is to happen"),
        ("start", "confirmed stopped", "started", _WORKERS, "It happens"),
        ("stop", "started", "stopped", _WORKERS, "It has happened"),
        ("deliver", "stopped", "delivered", _WORKERS, "Its result is accepted"),
        ("cancel", "draft planned confirmed started stopped", "cancelled", _DECIDERS, "It does not happen"),
    ),
)

#: Of tickets.
HANDLING = Workflow(
    "handling",
    ("open", "in_progress", "resolved", "closed"),
    _ways(
        ("accept", "open", "in_progress", _WRITERS, "Somebody works on it"),
        ("resolve", "open in_progress", "resolved", _WRITERS, "It is done"),
        ("reopen", "resolved closed", "open", _WRITERS, "It is not done after all"),
        ("close", "open in_progress resolved", "closed", _WRITERS, "Nothing more is to do"),
    ),
)
