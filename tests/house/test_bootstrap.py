"""bootstrap.py from a bare machine: ways to uv, what it says when there is none, doing nothing twice, moving."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.house.repository import ROOT

MACHINE = os.uname().machine
FAKE_UV = "#!/bin/sh\necho uv 9.9.9\n"
GET_UV = "import sys; sys.path.insert(0, '.ci'); from house.uv import get_uv; print('FOUND', get_uv())"


def wheel_of(script: str) -> bytes:
    """A wheel of uv 9.9.9 whose program is a shell script."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("uv-9.9.9.data/scripts/uv", script)
    return buffer.getvalue()


@dataclass
class Machine:
    """A machine with a Python, an empty PATH, an empty home, and a clone whose bootstrap.lock pins uv 9.9.9."""

    folder: Path
    python: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def clone(self) -> Path:
        return self.folder / "clone"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.clone,
            env={"PATH": str(self.folder / "bin"), "HOME": str(self.folder / "home"), **self.env},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def without(self, module: str) -> None:
        """Let a module of this Python be there and not work, as Debian splits off ensurepip."""
        package = self.folder / "broken" / module
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise ImportError('{module} is a package of its own here')\n")
        self.env["PYTHONPATH"] = str(self.folder / "broken")

    def program(self, name: str, script: str) -> None:
        """Put a shell script on PATH; `sh`, `cp`, `mkdir` and `ln` come along for it."""
        for helper in ("sh", "cp", "mkdir", "ln", "chmod", "cat"):
            found = shutil.which(helper)
            link = self.folder / "bin" / helper
            if found and not link.exists():
                link.symlink_to(found)
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """No pip, no ensurepip that works, no uv, no apt-get, no settings."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "python"], check=True)
    for name in ("bin", "home", "clone"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "bootstrap.py", tmp_path / "clone")
    shutil.copytree(ROOT / ".ci", tmp_path / "clone" / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    made = Machine(tmp_path, tmp_path / "python" / "bin" / "python")
    made.without("ensurepip")
    pin(made, wheel_of(FAKE_UV))
    return made


def pin(machine: Machine, wheel: bytes) -> None:
    """Let the clone's bootstrap.lock name this wheel."""
    named = hashlib.sha256(wheel).hexdigest()
    lock = f"other==1.0 \\\n    --hash=sha256:{'0' * 64}\nuv==9.9.9 \\\n    --hash=sha256:{named}\n"
    (machine.clone / "bootstrap.lock").write_text(lock)


class IndexHandler(http.server.BaseHTTPRequestHandler):
    """A simple index (PEP 503) with one project; may ask for a password."""

    wheel: bytes = b""
    password: str | None = None

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
        if self.password and self.headers.get("Authorization") != wanted:
            self.send_error(401)
            return
        files = [f"uv-9.9.9-py3-none-manylinux_2_17_{name}.whl" for name in ("pdp11", MACHINE)]
        files += [f"uv-9.9.9-py3-none-musllinux_1_1_{MACHINE}.whl", f"uv-8.0.0-py3-none-manylinux_2_17_{MACHINE}.whl"]
        if self.path == "/simple/uv/":
            body = "".join(f'<a href="../../files/{file}#sha256=00">{file}</a>\n' for file in files).encode()
        elif self.path == f"/files/{files[1]}":
            body = self.wheel
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep the terminal quiet."""


@pytest.fixture
def index() -> Iterator[tuple[type[IndexHandler], str]]:
    """A package index on loopback: the handler, to be told what it serves, and host:port."""
    handler = type("Handler", (IndexHandler,), {"wheel": wheel_of(FAKE_UV)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_uv_on_path_is_taken(machine: Machine) -> None:
    machine.program("uv", "echo uv 9.9.9")
    assert f"FOUND {machine.folder}/bin/uv" in machine.run("-c", GET_UV).stdout


def test_a_uv_on_path_that_does_not_run_is_not_taken(machine: Machine) -> None:
    """Version managers leave such programs on PATH."""
    machine.program("uv", "exit 127")
    assert "FOUND" not in machine.run("-c", GET_UV).stdout


def test_pip_is_used_where_it_is(machine: Machine) -> None:
    """pip gets the pinned requirement, hashes required, and a folder of ours."""
    package = machine.folder / "broken" / "pip"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import sys, pathlib\n"
        "assert '--require-hashes' in sys.argv and '--no-deps' in sys.argv, sys.argv\n"
        "assert 'uv==9.9.9' in pathlib.Path(sys.argv[sys.argv.index('-r') + 1]).read_text()\n"
        "assert 'other' not in pathlib.Path(sys.argv[sys.argv.index('-r') + 1]).read_text()\n"
        "uv = pathlib.Path(sys.argv[sys.argv.index('--target') + 1]) / 'bin' / 'uv'\n"
        "uv.parent.mkdir(parents=True); uv.write_text('#!/bin/sh\\n'); uv.chmod(0o755)\n"
    )
    machine.program("sh-is-there", "")
    assert f"FOUND {machine.clone}/.tools/uv/bin/uv" in machine.run("-c", GET_UV).stdout


@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "pip.conf", "pip.conf in the home"])
def test_without_pip_the_index_of_the_settings_serves(
    machine: Machine, index: tuple[type[IndexHandler], str], setting: str
) -> None:
    """… whichever of pip's places names it; the wheel for this machine is chosen."""
    url = f"http://{index[1]}/simple/"
    machine.program("sh-is-there", "")
    if setting.startswith("pip.conf"):
        file = machine.folder / "home" / (".config/pip/pip.conf" if "home" in setting else "my.conf")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"[global]\nindex-url = {url}\nunusual = 100%\n")
        machine.env["PIP_CONFIG_FILE"] = str(file) if setting == "pip.conf" else ""
    else:
        machine.env[setting] = url
    result = machine.run("-c", GET_UV)
    assert f"FOUND {machine.clone}/.tools/uv/bin/uv" in result.stdout, result.stderr
    assert (machine.clone / ".tools/uv/bin/uv").read_text() == FAKE_UV


def test_an_index_with_a_password(machine: Machine, index: tuple[type[IndexHandler], str]) -> None:
    """A password in the address is sent, percent signs decoded."""
    index[0].password = "se/cret"
    machine.program("sh-is-there", "")
    machine.env["PIP_INDEX_URL"] = f"http://user:se%2Fcret@{index[1]}/simple"
    assert "FOUND" in machine.run("-c", GET_UV).stdout


def test_a_wheel_with_another_hash_is_refused(machine: Machine, index: tuple[type[IndexHandler], str]) -> None:
    """Whatever the index says of its own file: bootstrap.lock decides."""
    index[0].wheel = wheel_of("#!/bin/sh\necho something else\n")
    machine.env["PIP_INDEX_URL"] = f"http://{index[1]}/simple"
    result = machine.run("-c", GET_UV)
    assert "has a hash that bootstrap.lock does not name" in result.stderr
    assert not (machine.clone / ".tools/uv").exists()


def test_when_nothing_works_it_says_what_to_do(machine: Machine) -> None:
    """One line for each way that was tried, and what to install or set; no traceback."""
    for name in ("requirements.lock", "pyproject.toml"):
        (machine.clone / name).write_text("")
    result = machine.run("bootstrap.py", "install")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    for part in (
        "uv here: none",
        "uv by pip: this Python has no pip",
        "uv by index: neither PIP_INDEX_URL",
        "needs root",
    ):
        assert part in result.stderr
    assert "apt-get install python3-pip" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="Debian packages are installed by root only")
def test_debians_pip_is_the_last_way(machine: Machine) -> None:
    """apt-get is called, quietly and without questions; its failure is told in words."""
    machine.program("apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {machine.folder}/apt; [ "$1" = update ]')
    result = machine.run("-c", GET_UV)
    told = (machine.folder / "apt").read_text()
    assert "noninteractive update -q\nnoninteractive install -y -q --no-install-recommends python3-pip" in told
    assert "uv by debian: See the log." in result.stderr


def fake_installation(machine: Machine) -> Path:
    """Programs that note how they are called and make what the real ones make; returns the notes' file."""
    notes = machine.folder / "notes"
    make = f"mkdir -p $5/bin && ln -s {machine.python} $5/bin/python && echo $5 > $5/bin/activate"
    machine.program(
        "uv", f'[ "$1" = -V ] && exit; echo "uv $1 $2" >> {notes}; [ "$1" = venv ] && {{ {make}; }}; exit 0'
    )
    machine.program("node", "echo v20.1.0")
    machine.program("npm", f'echo "npm $1" >> {notes}')
    for name in ("chromium", "initdb"):
        machine.program(name, "exit 0")
    (machine.clone / "requirements.lock").write_text("something==1\n")
    (machine.clone / "wendelin/hub_config/proxy").mkdir(parents=True)
    (machine.clone / "wendelin/hub_config/proxy/package-lock.json").write_text("{}")
    (machine.clone / "share").mkdir()
    (machine.clone / "share" / "kernel.json").write_text("{}")
    (machine.clone / "pyproject.toml").write_text(
        "[project]\nname='x'\n[tool.hatch.build.targets.wheel.shared-data]\nshare='share'\n"
    )
    return notes


def test_installing_twice_does_nothing_the_second_time(machine: Machine) -> None:
    """Only what changed is made again: the lock, the project's metadata, its shared data, the proxy's lock."""
    notes = fake_installation(machine)

    def calls() -> list[str]:
        notes.write_text("")
        result = machine.run("bootstrap.py", "install")
        assert result.returncode == 0, result.stdout + result.stderr
        return notes.read_text().split("\n")[:-1]

    assert calls() == ["uv venv --clear", "uv pip sync", "uv pip install", "npm ci"]
    assert calls() == []
    (machine.clone / "share" / "kernel.json").write_text('{"changed": 1}')
    assert calls() == ["uv pip install"]
    (machine.clone / "requirements.lock").write_text("something==2\n")
    assert calls() == ["uv pip sync", "uv pip install"]
    (machine.clone / "wendelin/hub_config/proxy/package-lock.json").write_text('{"changed": 1}')
    assert calls() == ["npm ci"]
    assert calls() == []


def test_other_stores_are_installed_by_their_benchmark_alone(machine: Machine) -> None:
    """Neither running nor testing needs them; a machine that cannot get them still measures what it has."""
    notes = fake_installation(machine)
    (machine.clone / "bench.lock").write_text("other==1\n")
    assert machine.run("bootstrap.py", "install").returncode == 0

    def calls(*arguments: str) -> list[str]:
        notes.write_text("")
        machine.run("bootstrap.py", *arguments)
        return notes.read_text().split("\n")[:-1]

    assert calls("lint") == calls("bench", "arrays") == []
    assert calls("bench", "storage", "--write") == ["uv pip install"]
    assert calls("bench") == []
    (machine.clone / "requirements.lock").write_text("something==2\n")
    assert calls("bench", "storage") == ["uv pip sync", "uv pip install", "uv pip install"]
    (machine.clone / "bench.lock").write_text("other==2\n")
    machine.program("uv", '[ "$1" = -V ] && exit; echo no index today; exit 3')
    told = machine.run("bootstrap.py", "bench", "storage").stdout
    assert "no index today" in told
    assert "it says which are missing" in told


def test_a_moved_clone_is_made_anew(machine: Machine) -> None:
    """The scripts in an environment name its place."""
    notes = fake_installation(machine)
    assert machine.run("bootstrap.py", "install").returncode == 0
    moved = machine.folder / "moved"
    machine.clone.rename(moved)
    notes.write_text("")
    machine.clone.symlink_to(moved)  # bootstrap.py finds its real place
    assert machine.run("bootstrap.py", "install").returncode == 0
    assert notes.read_text().startswith("uv venv --clear\nuv pip sync\nuv pip install\n")


def test_an_interrupted_installation_goes_on(machine: Machine) -> None:
    """A step that fails leaves no stamp; it says its log's tail, where the log is, and what to do."""
    notes = fake_installation(machine)
    machine.program("npm", "echo no registry today; exit 3")
    result = machine.run("bootstrap.py", "install")
    assert result.returncode == 1
    for part in ("no registry today", "exit status 3", ".tools/log/proxy-of-the-hub.log", "npm ping"):
        assert part in result.stderr
    machine.program("npm", f'echo "npm $1" >> {notes}')
    notes.write_text("")
    assert machine.run("bootstrap.py", "install").returncode == 0
    assert notes.read_text() == "npm ci\n"


def test_what_is_missing_is_named_with_what_it_skips(machine: Machine) -> None:
    """Without apt-get (or without root) nothing fails, but nothing is skipped in silence either."""
    fake_installation(machine)
    (machine.folder / "bin" / "chromium").unlink()
    result = machine.run("bootstrap.py", "install")
    assert result.returncode == 0
    assert "missing: chromium; skipped by it: the browser tests" in result.stdout
    assert '"chromium": null' in (machine.clone / ".tools/tools.json").read_text()


def test_npm_trusts_what_pip_was_told_to_trust(machine: Machine) -> None:
    """PIP_CERT is set where a proxy signs for everybody; npm meets the same proxy. A setting of its own wins."""
    notes = fake_installation(machine)
    machine.program("npm", f'echo "$NODE_EXTRA_CA_CERTS" >> {notes}')
    machine.env["PIP_CERT"] = "/etc/company.pem"
    assert machine.run("bootstrap.py", "install").returncode == 0
    assert notes.read_text().splitlines()[-1] == "/etc/company.pem"
    shutil.rmtree(machine.clone / ".tools" / "proxy")
    machine.env["NODE_EXTRA_CA_CERTS"] = "/etc/own.pem"
    assert machine.run("bootstrap.py", "install").returncode == 0
    assert notes.read_text().splitlines()[-1] == "/etc/own.pem"


def test_two_at_a_time_take_turns(machine: Machine) -> None:
    """A second bootstrap.py in the same clone waits, and says so; then it finds everything done."""
    notes = fake_installation(machine)
    gate = machine.folder / "gate"
    os.mkfifo(gate)
    machine.program("npm", f'echo "npm $1" >> {notes}; cat {gate} >/dev/null')
    env = {"PATH": str(machine.folder / "bin"), "HOME": str(machine.folder / "home"), **machine.env}
    command = [machine.python, "-u", "bootstrap.py", "install"]
    start = functools.partial(subprocess.Popen, command, cwd=machine.clone, env=env, stdout=subprocess.PIPE, text=True)
    with start() as first:
        assert first.stdout is not None
        opened = gate.open("w")  # returns when the first one's npm reads
        with start() as second:
            assert second.stdout is not None
            assert "waiting for another bootstrap.py" in second.stdout.readline()
            opened.close()
            assert (first.wait(), second.wait()) == (0, 0)
            first.stdout.read(), second.stdout.read()
    assert notes.read_text().count("npm ci") == 1


def test_an_unknown_argument_is_not_swallowed(machine: Machine) -> None:
    result = machine.run("bootstrap.py", "lint", "--fsat")
    assert result.returncode == 2
    assert "unknown argument: --fsat" in result.stderr
