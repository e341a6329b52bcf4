"""The REST door: an extension of Jupyter Server that gives entities, arrays and activities to other programs.

One table, `routes`, says what there is; handlers, the OpenAPI document, the checks of what comes in and the pages of
the reference are made from it. One file a task:

- `app`: the extension, with its settings
- `routes`, `endpoint`: the table, and what one line of it says
- `door`: the handlers, which let nobody in without a name and a role
- `access`, `roles`: who asks, and what each role may do
- `incoming`, `negotiation`, `versions`: what a request brings, which format it wants, which state it knows
- `work`: one connection, one transaction and one thread a request
- `problems`: errors, as RFC 9457 has them
- `services/`: what the endpoints do, one file a kind of resource
- `openapi`, `reference`: the document, and the page made from it
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    from wendelin.extensions.server.app import WendelinServer

    return [{"module": "wendelin.extensions.server", "app": WendelinServer}]
