"""`%wendelin info`: all about one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wendelin.kernel.display import Table
from wendelin.kernel.inventory import count, entry, size_text, time_text
from wendelin.kernel.magics.command import Command, Options, Parser, at
from wendelin.storage.arrays.array import ZBigArray
from wendelin.storage.folder import Folder

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", help="what to describe, as plants/4/power")


def run(magics: WendelinMagics, options: Options) -> Table:
    """Describe one object."""
    found = at(magics, options.path)
    each = entry(options.path.strip("/") or "/", found)
    rows = [("kind", each.kind), ("class", f"{type(found).__module__}.{type(found).__qualname__}")]
    if isinstance(found, ZBigArray):
        rows += [
            ("shape", str(each.shape)),
            ("dtype", each.dtype),
            ("order", "C (rows contiguous)" if found.order == "C" else "F (columns contiguous)"),
            ("size", f"{size_text(each.nbytes)} ({found.nbytes:,} bytes)"),
            ("blocks", f"{-(-found.nbytes // found.blksize):,} of {size_text(found.blksize)}"),
        ]
    elif isinstance(found, Folder):
        rows.append(("holds", count(found)))
    rows.append(("last change", time_text(each.changed) or "not known: not committed yet, or stored with its folder"))
    oid = getattr(found, "_p_oid", None)
    rows.append(("oid", oid.hex() if oid else "none"))
    return Table(each.path, (), rows)


COMMAND = Command("info", "describe an array, a folder or another object", arguments, run, completes_paths=True)
