"""The joblib backend "wendelin": `with joblib.parallel_config(backend="wendelin")`.

| module | what it knows |
|---|---|
| `backend` | joblib's side: one object a `parallel_config` |
| `calls` | one `Parallel` call: its batches, what happens when a worker dies |
| `pool` | an engine, the thread that hears from it, and the engine of this process |
| `pickling` | what travels: references to persistent arrays, files of large ones, the rest by value |
| `files` | large arrays of a call, once on this node, in files without names |
| `recent`, `upload` | what workers keep mapped for a moment; what they are given when they run on other machines |
| `work` | the other side: what a worker does with a batch |
| `kept`, `keys` | finished batches in the database (`durable=True`), and what they are found by |
| `progress` | the bar |

joblib asks nobody for backends that it does not know. So `import wendelin` registers it when joblib is there, else it
leaves a finder that does so once joblib is imported, and is gone then: joblib takes a while, and few programs use it.
"""

from __future__ import annotations

from typing import Any

NAME = "wendelin"


def register() -> None:
    """Let joblib know the backend, importing joblib; to call it again changes nothing."""
    from joblib.parallel import register_parallel_backend

    register_parallel_backend(NAME, make_backend)


def make_backend(**options: Any) -> Any:
    """What joblib calls: a `WendelinBackend`, whose module is imported at its first use."""
    from wendelin.kernel.parallel.backend import WendelinBackend

    return WendelinBackend(**options)


def close() -> None:
    """End the workers of this process's own engine; what runs is cancelled. The next call starts new ones."""
    from wendelin.kernel.parallel import pool

    pool.close()


__all__ = ["NAME", "close", "make_backend", "register"]
