"""The page about the REST door, from the routing table.

python -m wendelin.extensions.server.reference > docs/reference/rest.md
"""

from __future__ import annotations

import sys

from wendelin.extensions.server.door import PREFIX
from wendelin.extensions.server.endpoint import Endpoint
from wendelin.extensions.server.problems import KINDS
from wendelin.extensions.server.roles import MATRIX, Role
from wendelin.extensions.server.routes import ENDPOINTS

_HEAD = f"""# The REST door

A Jupyter server with the extra `server` answers below `{PREFIX}`; `{PREFIX}/` links to all there is, and
`{PREFIX}/openapi.json` is the OpenAPI document. Send a token of the server or the hub: `Authorization: token …`.
Roles come from the hub's groups analysts, managers, operators, auditors and admins; who owns a server of its own may
do all. They bind whoever comes through this door: a person with a kernel opens the database itself. How to use it:
[](../how-to/rest.md).
"""


def page() -> str:
    """The page, in Markdown."""
    roles = list(Role)
    head = ["| | | " + " | ".join(roles) + " |", "|---|---|" + "---|" * len(roles)]
    kinds = [f"| {status} | `{kind}` | {title} |" for kind, (status, title) in KINDS.items()]
    rows = [_row(endpoint) for endpoint in ENDPOINTS]
    problems = ["## Problems", "", "| status | kind | |", "|---|---|---|", *kinds]
    return "\n".join([_HEAD, "## Operations", "", *head, *rows, "", *problems, ""])


def _row(endpoint: Endpoint) -> str:
    cells = " | ".join("yes" if role in MATRIX[endpoint.name] else "" for role in Role)
    return f"| `{endpoint.method} {endpoint.path}` | {endpoint.summary} | {cells} |"


if __name__ == "__main__":
    sys.stdout.write(page())
