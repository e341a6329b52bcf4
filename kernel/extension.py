"""`%load_ext wendelin`: the magics, `db`, `root`, `ubm`, `np` and `wendelin` in any IPython, a terminal or a kernel.

Everything but transactions of cells, which change what a cell means: `%wendelin cells on` or the setting
`c.WendelinMagics.cells = True` switch them on.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wendelin.kernel import completion, display
from wendelin.kernel.cells import Cells
from wendelin.kernel.magics import WendelinMagics
from wendelin.kernel.session import Missing, Session, no_database
from wendelin.kernel.tracebacks import say
from wendelin.kernel.waiting import notebook_bar
from wendelin.storage.activities import active

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(eq=False)
class Attached:
    """What Wendelin put into a shell."""

    session: Session
    cells: Cells
    magics: WendelinMagics


_attached: WeakKeyDictionary[InteractiveShell, Attached] = WeakKeyDictionary()


def attach(shell: InteractiveShell, *, cells: bool) -> Attached:
    """Give a shell the magics, completion and displays; the database opens later. Once a shell.

    `cells`: whether cells are transactions, unless the configuration says otherwise.
    """
    known = _attached.get(shell)
    if known is not None:
        return known
    session = Session(shell.user_ns, partial(shell.push, interactive=False))
    transactions = Cells(shell, session)
    magics = WendelinMagics(shell, session, transactions)
    shell.register_magics(magics)
    completion.register(shell, session)
    display.register(shell)
    if cells if magics.cells is None else magics.cells:
        transactions.on()
    atexit.register(session.close)
    if start_node not in active.after_commit:
        active.after_commit.append(start_node)
    if notebook_bar not in active.while_waiting:
        active.while_waiting.append(notebook_bar)
    attached = _attached[shell] = Attached(session, transactions, magics)
    return attached


def start_node(url: str) -> None:
    """After a commit that left activities: somebody must work on them."""
    from wendelin.kernel.activity import embedded

    embedded.ensure(url)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%load_ext wendelin`. Comes up without a database, too, and says how to get one."""
    session = attach(shell, cells=False).session
    session.ensure_open()
    if session.problem is not None:
        say(f"Wendelin: no database is open. {no_database(session.problem)}")


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%unload_ext wendelin`: abort, close, and leave the shell as it was."""
    attached = _attached.pop(shell, None)
    if attached is None:
        return
    attached.cells.off()
    for name in ("db", "root", "ubm"):
        held = shell.user_ns.get(name)
        if held is not None and (
            isinstance(held, Missing) or getattr(held, "_p_jar", held) is attached.session.connection
        ):
            del shell.user_ns[name]
    attached.session.close()
    atexit.unregister(attached.session.close)
    completion.unregister(shell)
    display.unregister(shell)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("wendelin", None)
