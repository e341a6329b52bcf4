"""uv, which makes the environment: here, by pip, by ensurepip, by the index that pip's settings name, by Debian.

Each way is a function that gives the program or raises; `get_uv` goes through them and, when none works, tells
what each of them said. However it comes, bootstrap.lock names its hash.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import hashlib
import html.parser
import importlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from house.debian import apt_install, may_install
from house.steps import TOOLS, StopError, one_pin, step


def get_uv() -> Path:
    """The uv to work with: the first way that works, or an error that tells what each of them said."""
    said: list[str] = []
    for way in (uv_here, uv_by_pip, uv_by_ensurepip, uv_by_index, uv_by_debian):
        try:
            return way()
        except (StopError, OSError) as error:
            said.append(f"  - {way.__name__.replace('_', ' ')}: {str(error).strip().splitlines()[-1]}")
    raise StopError(
        "uv, which makes the environment, cannot be had on this machine:\n"
        + "\n".join(said)
        + "\nInstall uv or pip by the means of your system (on Debian, as root: apt-get install python3-pip),"
        "\nor set PIP_INDEX_URL to a package index this machine reaches; then run the same command again."
    )


def uv_here() -> Path:
    """One fetched before, or one on PATH."""
    for candidate in (str(TOOLS / "uv" / "bin" / "uv"), shutil.which("uv")):
        if (
            candidate
            and shutil.which(candidate)
            and subprocess.run([candidate, "-V"], capture_output=True, check=False).returncode == 0
        ):
            return Path(candidate)
    raise StopError("none in .tools, none on PATH")


def uv_by_pip(python: str = sys.executable) -> Path:
    """Into .tools with an interpreter's pip; nothing else of that interpreter is touched."""
    if python == sys.executable and importlib.util.find_spec("pip") is None:
        raise StopError("this Python has no pip")
    command = [python, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--upgrade", "--require-hashes"]
    step(
        "uv by pip",
        [*command, "--target", TOOLS / "uv", "-r", one_pin("uv")],
        hint="Check that pip reaches its package index.",
        env={**os.environ, "PIP_USER": "0"},
    )
    return uv_here()


def uv_by_ensurepip() -> Path:
    """By the pip that ensurepip puts into a throw-away environment."""
    try:
        importlib.import_module("ensurepip")
    except ImportError as error:
        raise StopError(f"this Python has no ensurepip: {error}") from error
    step("pip by ensurepip", [sys.executable, "-m", "venv", "--clear", TOOLS / "pip"], hint="ensurepip did not work.")
    return uv_by_pip(str(TOOLS / "pip" / "bin" / "python"))


def uv_by_debian() -> Path:
    """By Debian's pip, where this process may install it."""
    if not may_install():
        raise StopError("needs root and apt-get")
    apt_install(["python3-pip"])
    return uv_by_pip(shutil.which("python3", path="/usr/bin") or sys.executable)


def index_address() -> str | None:
    """The package index that this machine's own settings name, in uv's and pip's order; None when none is named."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    home, xdg = Path.home(), Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    files = [os.environ.get("PIP_CONFIG_FILE"), Path(sys.prefix) / "pip.conf", xdg / "pip/pip.conf"]
    for file in [*files, home / ".pip/pip.conf", "/etc/xdg/pip/pip.conf", "/etc/pip.conf"]:
        settings = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(configparser.Error, OSError):
            settings.read([file] if file else [])
        for section in ("install", "global"):
            for key in ("index-url", "index_url"):
                if settings.has_option(section, key):
                    return settings.get(section, key)
    return None


def fetch(url: str) -> bytes:
    """The body at a URL; a user and password in the URL are sent as pip sends them."""
    parts = urllib.parse.urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())  # noqa: S310 - the owner's own setting
    if user:
        secret = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_header("Authorization", f"Basic {secret}")
    with urllib.request.urlopen(request, timeout=180) as answer:  # noqa: S310 - checked by hash
        return bytes(answer.read())


class Links(html.parser.HTMLParser):
    """The links of an index page (PEP 503)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def wheel_suits(file: str) -> bool:
    """Whether a uv wheel is for this machine: uv needs no Python tag, only system and processor."""
    machine = os.uname().machine
    libc = "manylinux" if os.confstr("CS_GNU_LIBC_VERSION") else "musllinux"
    system = "macosx" if sys.platform == "darwin" else libc
    return file.endswith(f"_{machine}.whl") and f"-{system}" in file


def uv_by_index() -> Path:
    """Without any pip: the wheel from the index that pip's settings name, checked against bootstrap.lock."""
    index = index_address()
    if index is None:
        raise StopError("neither PIP_INDEX_URL, UV_DEFAULT_INDEX nor a pip.conf names a package index")
    pin = one_pin("uv").read_text()
    version, hashes = re.findall(r"^uv==([^ \n]+)", pin)[0], set(re.findall(r"sha256:([0-9a-f]{64})", pin))
    page_url = index.rstrip("/") + "/uv/"
    for link in Links(fetch(page_url).decode()).found:
        file = urllib.parse.unquote(urllib.parse.urlsplit(link).path.rpartition("/")[2])
        if not file.startswith(f"uv-{version}-") or not wheel_suits(file):
            continue
        wheel = fetch(urllib.parse.urljoin(page_url, link.partition("#")[0]))
        if hashlib.sha256(wheel).hexdigest() not in hashes:
            raise StopError(f"{file} from the index of pip's settings has a hash that bootstrap.lock does not name")
        target = TOOLS / "uv" / "bin" / "uv"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(zipfile.ZipFile(io.BytesIO(wheel)).read(f"uv-{version}.data/scripts/uv"))
        target.chmod(0o755)
        return uv_here()
    raise StopError(f"the index of pip's settings has no wheel of uv {version} for this machine")


def certificates() -> dict[str, str]:
    """pip's own certificates for uv and npm: whoever set PIP_CERT has a proxy that the others meet as well."""
    file = os.environ.get("PIP_CERT")
    return {"SSL_CERT_FILE": file, "NODE_EXTRA_CA_CERTS": file} if file else {}


def uv_environment() -> dict[str, str]:
    """This process's environment, with pip's index and certificates for uv where uv has no settings of its own."""
    # Without byte code the first kernel takes three times as long to start.
    chosen = {"UV_HTTP_TIMEOUT": "180", "UV_COMPILE_BYTECODE": "1", "UV_PYTHON_DOWNLOADS": "never"}
    env = {**chosen, **certificates(), **os.environ}
    own = [Path.home() / ".config/uv/uv.toml", Path("/etc/uv/uv.toml")]
    index = None if any(file.exists() for file in own) else index_address()
    if index:
        env.setdefault("UV_DEFAULT_INDEX", index)
    return env
