"""`%wendelin new`: a new array in the database."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from wendelin.kernel.magics.command import Command, Options, Parser, root

if TYPE_CHECKING:
    from wendelin.kernel.magics import WendelinMagics
    from wendelin.storage.arrays.array import ZBigArray

DETAILS = (
    "Lengths and the dtype may name Python variables: %wendelin new plants/4/power (n, 8) f4. A length of 0 along the "
    "first axis makes an array to append to. Nothing is stored before the commit."
)


def arguments(parser: Parser) -> None:
    """Fill the parser."""
    parser.add_argument("path", help="its name, folders before it: plants/4/power")
    parser.add_argument("shape", nargs="+", help="a length, or lengths: 1000, (0, 8), n,8")
    parser.add_argument("dtype", help="a NumPy dtype: f4, int64, datetime64[s], 'i8,f4'")
    parser.add_argument("--order", choices=("C", "F"), default="C", help="layout in memory (C: rows contiguous)")


def run(magics: WendelinMagics, options: Options) -> ZBigArray:
    """Make the array."""
    from wendelin.storage.arrays.array import ZBigArray

    top: Any = root(magics)
    names = magics.session.namespace
    try:
        if options.path in top:
            raise UsageError(f"{options.path!r} exists: choose another name, or del root[{options.path!r}] first")
        array = ZBigArray(_shape(" ".join(options.shape), names), _dtype(options.dtype, names), order=options.order)
        top[options.path] = array
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(str(error.args[0] if error.args else error)) from None
    return array


def _shape(text: str, names: MutableMapping[str, Any]) -> Any:
    try:
        return eval(text, {}, names)  # noqa: S307  # the user's own line, in the user's own shell
    except Exception as error:  # noqa: BLE001  # whatever that line raises
        raise UsageError(f"shape {text!r}: {error}; write lengths or variables, as 1000 or (0, 8)") from None


def _dtype(text: str, names: MutableMapping[str, Any]) -> Any:
    import numpy as np

    if text in names:
        return names[text]
    try:
        return np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        raise UsageError(f"dtype {text!r} is neither a NumPy dtype, as f4 or int64, nor a variable") from None


COMMAND = Command("new", "make an array", arguments, run, DETAILS, completes_paths=True)
