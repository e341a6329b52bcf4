"""The hub's configuration in sorted parts, each one checked.

- A part is a file `NN_name.py` with one function `configure(c, settings)`. The package's parts lie in `conf.d/`,
  a deployment's own ones in `<data>/conf.d/`; both are sorted together by file name, so a deployment can go between.
- Parts only set; of two that set the same, the later one holds.
- traitlets accepts `c.Spwaner.cmd = …` in silence and starts with something else. Here it is fatal, and the message
  names the file and the nearest right name: a deployment must not run with half of its security configured.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

from traitlets.config import Config, Configurable

from wendelin.hub_config.errors import HubConfigError
from wendelin.hub_config.settings import Settings

PARTS = Path(__file__).parent / "conf.d"

Part = Callable[[Config, Settings], None]


def configure(c: Config, settings: Settings, folders: Iterable[Path] = (), known: Iterable[type] | None = None) -> None:
    """Run all parts of `folders` (default: the package's and the deployment's) on `c`.

    `known` are the configurable classes (default: the hub's). Raises `HubConfigError` after the first bad part.
    """
    sections = _sections(known if known is not None else hub_classes())
    for path in sorted_parts(folders or (PARTS, settings.folder.parts)):
        load(path)(c, settings)
        check(c, sections, path)


def sorted_parts(folders: Iterable[Path]) -> list[Path]:
    """The part files of `folders`, by file name."""
    files = [path for folder in folders for path in folder.glob("*.py") if not path.name.startswith("_")]
    return sorted(files, key=lambda path: (path.name, str(path)))


def load(path: Path) -> Part:
    """The `configure` function of the part in `path`."""
    spec = importlib.util.spec_from_file_location(f"wendelin_hub_part_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "configure", None)
    if not callable(found):
        raise HubConfigError(f"{path} defines no function configure(c, settings): add it, or move the file away")
    part: Part = found
    return part


def check(c: Config, sections: dict[str, set[str]], source: Path) -> None:
    """Raise `HubConfigError`, which names `source`, for a section or setting of `c` that no class has."""
    for section, values in c.items():
        if section not in sections:
            raise HubConfigError(f"{source} sets c.{section}, which no class reads{_nearest(section, sections)}")
        for name in values:
            if name not in sections[section]:
                hint = _nearest(name, sections[section])
                raise HubConfigError(f"{source} sets c.{section}.{name}, but {section} has no such setting{hint}")


def hub_classes() -> list[type]:
    """The classes that the hub configures, with those that our parts and spawners bring."""
    from jupyterhub.app import JupyterHub
    from jupyterhub.proxy import ConfigurableHTTPProxy
    from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner

    from wendelin.hub_config.sign_in import WendelinAuthenticator

    ours = [ConfigurableHTTPProxy, LocalProcessSpawner, SimpleLocalProcessSpawner, WendelinAuthenticator]
    return [JupyterHub, *JupyterHub().classes, *ours]


def _sections(classes: Iterable[type]) -> dict[str, set[str]]:
    """The settings of each class by its name; a base class may set what only its subclasses have not."""
    found: dict[str, set[str]] = {}
    for leaf in classes:
        for each in leaf.__mro__:
            if issubclass(each, Configurable):
                found.setdefault(each.__name__, set()).update(each.class_trait_names(config=True))
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f": did you mean {near[0]}?" if near else ""
