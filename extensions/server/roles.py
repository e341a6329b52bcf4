"""Who may do what at the door: one table, which handlers ask, the OpenAPI document shows, and tests try cell by cell.

Roles bind whoever comes through this door. A person with a kernel of their own opens the database itself.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a person is to the deployment; who has several may do what any of them may."""

    ANALYST = "analyst"
    MANAGER = "manager"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


#: The hub's group of each role.
GROUPS: dict[str, Role] = {
    "analysts": Role.ANALYST,
    "managers": Role.MANAGER,
    "operators": Role.OPERATOR,
    "auditors": Role.AUDITOR,
    "admins": Role.ADMIN,
}

_EVERYONE = frozenset(Role)
_A, _M, _O, _U, _ADMIN = (frozenset({role}) for role in Role)

#: Operation → the roles that may call it.
MATRIX: dict[str, frozenset[Role]] = {
    "getRoot": _EVERYONE,
    "getDocument": _EVERYONE,
    "listProblems": _EVERYONE,
    "getProblem": _EVERYONE,
    "listTransactions": _EVERYONE,
    "listTypes": _EVERYONE,
    "getType": _EVERYONE,
    "listEntities": _EVERYONE,
    "getEntity": _EVERYONE,
    "createEntity": _A | _M | _O | _ADMIN,
    "updateEntity": _A | _M | _O | _ADMIN,
    "deleteEntity": _M | _ADMIN,
    "listTransitions": _EVERYONE,
    "doTransition": _A | _M | _O | _ADMIN,
    "getTrail": _M | _O | _U | _ADMIN,
    "listArrays": _EVERYONE,
    "getArray": _EVERYONE,
    "getArrayData": _EVERYONE,
    "listVersions": _EVERYONE,
    "appendRows": _A | _O | _ADMIN,
    "getEntityArray": _EVERYONE,
    "getEntityArrayData": _EVERYONE,
    "listEntityArrayVersions": _EVERYONE,
    "appendEntityRows": _A | _O | _ADMIN,
    "listActivities": _EVERYONE,
    "getActivity": _EVERYONE,
    "watchActivities": _EVERYONE,
    "retryActivity": _A | _O | _ADMIN,
    "cancelActivity": _O | _ADMIN,
    "skipActivity": _O | _ADMIN,
}


def may(roles: frozenset[Role], operation: str) -> bool:
    """Whether somebody with these roles may call the operation."""
    return bool(roles & MATRIX[operation])
