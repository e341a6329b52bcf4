"""The whole way on real parts: one start of the program, a scripted browser as analyst, manager and strangers.

The tests of this module share one workbench and tell one story, in order: the analyst computes, the manager looks,
others are refused, parts fail, and after Ctrl-C and a new start everything is still there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.hub import notebooks, running
from tests.hub.running import Running
from wendelin.hub_config.accounts import Account, Accounts
from wendelin.hub_config.folders import DataFolder
from wendelin.hub_config.watch import processes_of

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = "/services/dashboards/"
RENDER = f"{DASHBOARDS}voila/render/"
SOLAR = "examples/solar/solar.ipynb"
PATIENCE = 240_000  # ms: on a busy machine JupyterLab takes its time
KERNEL_ID = "01234567-0123-0123-0123-0123456789ab"


@pytest.fixture(scope="module")
def workbench() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        place = DataFolder(data)
        place.make()
        notebooks.write_dashboards(place.dashboards)
        people = Accounts(place.accounts)
        people.add(Account("oscar", ("others",), "password of oscar"))
        people.add(Account("tom", ("managers",), "password of tom"))
        people.add(Account("olga", (), "password of olga", admin=True))
        people.add(Account("udo", ("auditors",), "password of udo"))
        found = running.start(data)
        store(data, "first-light/numbers", 9)
        found.passwords |= {name: f"password of {name}" for name in ("oscar", "tom", "olga", "udo")}
        try:
            yield found
        finally:
            found.stop()
            assert found.process.stdout
            found.process.stdout.close()


def store(data: Path, name: str, rows: int) -> None:
    """Commit an array of 0, 1, … as another program of the same user would."""
    code = (
        "import transaction, wendelin; root = wendelin.connect().root();"
        f"root[{name!r}] = wendelin.ZBigArray(({rows},), 'f8'); root[{name!r}][:] = range({rows});"
        f"transaction.get().note('stored {rows} numbers'); transaction.commit()"
    )
    subprocess.run([sys.executable, "-c", code], env=running.environment(data), check=True)


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures go: into the documentation when they are to be renewed."""
    return ROOT / "docs" / "images" if os.environ.get("WENDELIN_UPDATE_SCREENSHOTS") else tmp_path


def sign_in(page: Page, workbench: Running, name: str, path: str = "/") -> None:
    page.set_default_timeout(PATIENCE)
    page.goto(workbench.url + path)
    page.fill("#username_input", name)
    page.fill("#password_input", workbench.passwords[name])
    page.click("#login_submit")
    page.wait_for_url(lambda url: "/hub/login" not in url)


def open_dashboard(page: Page, workbench: Running, path: str) -> None:
    page.goto(f"{workbench.url}{RENDER}{path}")
    page.wait_for_function("!document.getElementById('loading')")


# ---- it starts ------------------------------------------------------------------------------------------------------


def test_it_says_that_it_is_ready_in_one_line(workbench: Running):
    assert re.fullmatch(r"[a-z2-9]{4}-[a-z2-9]{4}-[a-z2-9]{4}", workbench.passwords["ada"])
    assert workbench.url == f"http://127.0.0.1:{workbench.port}"
    assert "loading the example data of solar" in workbench.stderr
    assert "could not load" not in workbench.stderr


def test_what_must_be_private_is(workbench: Running):
    assert stat.S_IMODE(workbench.data.stat().st_mode) == 0o700
    secret = ["accounts.json", "hub/cookie_secret", "hub/proxy_token", "hub/dashboards_cookie", "hub/settings.json"]
    for name in [*secret, "hub/jupyterhub.sqlite"]:
        assert stat.S_IMODE((workbench.data / name).stat().st_mode) & 0o077 == 0, name
    assert workbench.passwords["oscar"] not in (workbench.data / "accounts.json").read_text()


# ---- the anonymous --------------------------------------------------------------------------------------------------

PAGES = ["/hub/home", "/hub/spawn", "/hub/admin", "/hub/token", "/user/ada/lab", "/user/ada/", DASHBOARDS]
PAGES += [f"{RENDER}plant.ipynb", f"{RENDER}solar/dashboard.ipynb", f"{RENDER}../../etc/passwd"]
REFUSED = ["/hub/api/users", "/hub/api/groups", "/hub/api/services", "/hub/api/user", "/hub/api/proxy"]
REFUSED += ["/user/ada/api/contents", "/user/ada/api/kernels", "/user/ada/files/examples/solar/solar.ipynb"]
REFUSED += [f"{DASHBOARDS}{path}" for path in ("voila/static/voila.js", "voila/files/plant.ipynb", "voila/files/x.png")]
REFUSED += [f"{DASHBOARDS}voila/templates/wendelin/static/wendelin.js", f"{DASHBOARDS}voila/labextensions/x.js"]
REFUSED += [f"{DASHBOARDS}api/kernels/{KERNEL_ID}", f"{DASHBOARDS}api/kernels/{KERNEL_ID}/channels"]
REFUSED += [f"{place}wendelin/api/v1/{path}" for place in (DASHBOARDS, "/user/ada/") for path in ("", "entities")]
REFUSED += [f"{DASHBOARDS}voila/api/themes/x.css", f"{DASHBOARDS}voila/query/{KERNEL_ID}"]
REFUSED += [f"{DASHBOARDS}voila/api/contents", f"{DASHBOARDS}voila/tree/", f"{DASHBOARDS}voila/execution/{KERNEL_ID}"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_sends_the_anonymous_to_sign_in(workbench: Running, path: str):
    answer = requests.get(workbench.url + path, allow_redirects=True, timeout=60)
    assert "/hub/login" in answer.url or answer.status_code in (403, 404)
    assert "plant" not in answer.text


@pytest.mark.parametrize("path", REFUSED)
def test_everything_else_refuses_the_anonymous(workbench: Running, path: str):
    """401, 403, or a way to the sign-in page, or a route that does not exist: never content."""
    answer = requests.get(workbench.url + path, allow_redirects=False, timeout=60)
    assert answer.status_code in (302, 401, 403, 404)
    if answer.status_code == 302:
        assert re.search(r"/hub/login|/hub/api/oauth2/authorize|/hub/user/ada", answer.headers["location"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{DASHBOARDS}voila/api/shutdown/{KERNEL_ID}"),
        ("DELETE", f"{DASHBOARDS}api/kernels/{KERNEL_ID}"),
        ("POST", "/hub/api/users/ada/server"),
        ("POST", "/user/ada/api/kernels"),
        ("PUT", "/user/ada/api/contents/x.ipynb"),
    ],
)
def test_the_anonymous_cannot_change_anything(workbench: Running, method: str, path: str):
    answer = requests.request(method, workbench.url + path, allow_redirects=False, timeout=60)
    assert answer.status_code in (403, 404, 405) or "/hub/" in answer.headers.get("location", "")


@pytest.mark.parametrize(
    "path", [f"/user/ada/api/kernels/{KERNEL_ID}/channels", f"{DASHBOARDS}api/kernels/{KERNEL_ID}/channels"]
)
def test_a_websocket_refuses_the_anonymous(workbench: Running, path: str):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": workbench.url}
    answer = requests.get(workbench.url + path, headers=headers, allow_redirects=False, timeout=60)
    assert answer.status_code in (302, 403)


def test_nobody_signs_up_unless_the_operator_opens_that_page(workbench: Running):
    assert requests.get(f"{workbench.url}/hub/signup", timeout=60).status_code == 404


def test_a_wrong_password_is_refused(workbench: Running):
    with pytest.raises(AssertionError, match="could not sign in"):
        workbench.sign_in("ada", "wrong password")


# ---- the analyst ----------------------------------------------------------------------------------------------------


def menu(page: Page, *labels: str) -> None:
    page.click(f'.lm-MenuBar-itemLabel:text-is("{labels[0]}")')
    for label in labels[1:]:
        page.click(f'.lm-Menu-itemLabel:text-is("{label}")')


def wait_for_kernel(page: Page, status: str) -> None:
    page.wait_for_selector(f'.jp-Notebook-ExecutionIndicator[data-status="{status}"]')


@pytest.mark.browser
def test_the_analyst_runs_the_solar_notebook_and_finds_the_arrays_after_a_restart(
    workbench: Running, page: Page, screenshots: Path
):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(workbench.url)
    page.screenshot(path=screenshots / "sign-in.png")
    sign_in(page, workbench, "ada")
    page.wait_for_selector('.jp-LauncherCard[title="Wendelin"]')
    first = page.locator(".jp-LauncherCard").first
    assert first.get_attribute("title") == "Wendelin", "the preselected kernel comes first"
    page.goto(f"{workbench.url}/user/ada/lab/tree/{SOLAR}")
    page.wait_for_selector('.jp-Toolbar-kernelName:has-text("Wendelin")')
    wait_for_kernel(page, "idle")
    menu(page, "Run", "Run All Cells")
    wait_for_kernel(page, "busy")
    wait_for_kernel(page, "idle")
    menu(page, "File", "Save Notebook")
    check_all_cells_ran(workbench.data / "users/ada/notebooks" / SOLAR)
    page.mouse.move(760, 400)
    page.mouse.wheel(0, -700)
    page.locator(".jp-Notebook .bk-Figure").first.scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    page.screenshot(path=screenshots / "jupyterlab.png")

    menu(page, "Kernel", "Restart Kernel…")
    page.click('.jp-Dialog button:has-text("Restart")')
    wait_for_kernel(page, "idle")
    page.keyboard.press("Escape")
    page.click(".jp-Notebook .jp-Cell >> nth=-1")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.insert_text(
        "# After a restart of the kernel\n"
        "assert 'measurements' not in globals()\n"
        "found = root['solar/4/measurements']\n"
        "root['first-light/of-ada'] = 'stored in a cell'\n"
        "print('found', len(found), 'rows')"
    )
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector("text=/found 59\\d{3} rows/")
    wait_for_kernel(page, "idle")


def check_all_cells_ran(path: Path) -> None:
    """In the saved file: JupyterLab keeps only the cells that are in view on its page."""
    end = time.monotonic() + 60
    while not all(cell["execution_count"] for cell in code_cells(path)) and time.monotonic() < end:
        time.sleep(0.5)
    cells = code_cells(path)
    errors = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert errors == []
    assert all(cell["execution_count"] for cell in cells)


def code_cells(path: Path) -> list[dict[str, Any]]:
    end = time.monotonic() + 30
    while True:
        try:
            return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        except ValueError:  # it is just being written
            assert time.monotonic() < end
            time.sleep(0.1)


# ---- the manager ----------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_the_manager_lands_on_the_list_of_dashboards(workbench: Running, page: Page, screenshots: Path):
    page.set_viewport_size({"width": 1280, "height": 800})
    sign_in(page, workbench, "mara")
    page.wait_for_selector("h1:text-is('Dashboards')")
    assert page.url == workbench.url + DASHBOARDS
    assert page.locator(".wd-cards h2").all_inner_texts() == ["Failing plant", "Solar fleet", "Test plant"]
    assert "What Test plant tells." in page.inner_text(".wd-cards")
    page.screenshot(path=screenshots / "dashboards.png")


SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.mark.browser
def test_the_manager_sees_plots_and_numbers_at_any_size(workbench: Running, page: Page, screenshots: Path):
    sign_in(page, workbench, "mara")
    for scheme in ("light", "dark"):
        for name, size in SIZES.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)  # type: ignore[arg-type]
            open_dashboard(page, workbench, "solar/dashboard.ipynb")
            page.wait_for_selector("text=/Golden, Colorado/ >> nth=0")
            page.wait_for_selector("text=/95 % interval −0\\.\\d\\d/ >> nth=0")
            page.wait_for_function(DRAWN)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], "nothing sticks out"
            assert page.title() == "Solar fleet – Wendelin"
            assert page.locator("#wd-notice").count() == 0
            paper = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
            assert (max(map(int, paper)) < 64) == (scheme == "dark")
            page.screenshot(path=screenshots / f"dashboard-{name}-{scheme}.png")
            if scheme == "light":
                page.locator(".bk-Figure").first.scroll_into_view_if_needed()
                page.screenshot(path=screenshots / f"dashboard-{name}-plots.png")


# A Bokeh plot lies in a shadow tree and is drawn once its canvas has pixels of several colours.
DRAWN = """() => [...document.querySelectorAll(".bk-Figure")].some((figure) => {
  const canvas = [...figure.shadowRoot.querySelectorAll("*")].map((each) => each.shadowRoot?.querySelector("canvas"))
    .find((each) => each?.width > 100);
  if (!canvas) return false;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size > 8;
})"""


def test_what_is_the_analysts_refuses_the_manager(workbench: Running):
    session = workbench.sign_in("mara")
    ada = workbench.url + "/user/ada/"
    for url in (f"{workbench.url}/hub/spawn", f"{ada}lab", f"{ada}api/contents", f"{workbench.url}/hub/admin"):
        assert session.get(url, timeout=60).status_code == 403, url
    headers = {"X-XSRFToken": running.xsrf(session, "/hub/"), "Referer": f"{workbench.url}/hub/home"}
    answer = session.post(f"{workbench.url}/hub/api/users/mara/server", headers=headers, timeout=60)
    assert answer.status_code in (403, 404)
    assert session.get(f"{workbench.url}/hub/api/users", headers=headers, timeout=60).status_code == 403


@pytest.mark.browser
def test_the_refusal_is_a_page_that_explains(workbench: Running, page: Page, screenshots: Path):
    sign_in(page, workbench, "mara")
    answer = page.goto(f"{workbench.url}/hub/spawn")
    assert answer
    assert answer.status == 403
    assert "may not open this page" in page.inner_text("[role=alert]")
    page.screenshot(path=screenshots / "refused.png")


def test_the_dashboards_refuse_other_groups(workbench: Running):
    session = workbench.sign_in("oscar")
    for path in (DASHBOARDS, f"{RENDER}plant.ipynb"):
        answer = session.get(workbench.url + path, timeout=60)
        assert answer.status_code == 403
        assert "plant" not in answer.text
    assert session.get(f"{workbench.url}{DASHBOARDS}voila/static/voila.js", timeout=60).status_code == 403
    home = session.get(f"{workbench.url}/hub/home", timeout=60)
    assert "in no group yet" in home.text


def test_an_analyst_sees_dashboards_too(workbench: Running):
    session = workbench.sign_in("ada")
    assert "Solar fleet" in session.get(workbench.url + DASHBOARDS, timeout=60).text


def test_sources_cannot_be_fetched(workbench: Running):
    session = workbench.sign_in("mara")
    for path in ("plant.ipynb", "solar/dashboard.ipynb", "../accounts.json", "%2e%2e/accounts.json"):
        answer = session.get(f"{workbench.url}{DASHBOARDS}voila/files/{path}", timeout=60)
        assert answer.status_code in (403, 404), path
    page = session.get(f"{workbench.url}{RENDER}plant.ipynb", timeout=120)
    assert page.status_code == 200
    assert "wait_for_request" not in page.text, "the source is stripped"
    assert "wendelin.connect" not in page.text


# Sends what a manager with a little knowledge would try, and returns the types of the kernel's answers.
INTRUDE = """([kernel, code]) => new Promise((resolve) => {
  const address = `${location.origin.replace("http", "ws")}/services/dashboards/api/kernels/${kernel}/channels`;
  const socket = new WebSocket(address), answers = [];
  const send = (type, channel, content) => socket.send(JSON.stringify({
    channel, content, metadata: {}, parent_header: {}, buffers: [],
    header: {msg_id: crypto.randomUUID(), msg_type: type, session: "intruder", username: "", version: "5.3", date: ""},
  }));
  socket.onopen = () => {
    send("execute_request", "shell", {code, silent: false, store_history: true, allow_stdin: false});
    send("execute_request", "control", {code, silent: false, store_history: true, allow_stdin: false});
    send("debug_request", "control", {type: "request", seq: 1, command: "evaluate", arguments: {expression: code}});
    send("inspect_request", "shell", {code: "connection", cursor_pos: 3, detail_level: 1});
    setTimeout(() => send("kernel_info_request", "shell", {}), 500);
  };
  socket.onmessage = (event) => {
    const found = JSON.parse(event.data).header.msg_type;
    answers.push(found);
    if (found === "kernel_info_reply") setTimeout(() => { socket.close(); resolve(answers); }, 500);
  };
  socket.onerror = () => resolve(["refused"]);
})"""


@pytest.mark.browser
def test_a_manager_cannot_run_code(workbench: Running, page: Page, tmp_path: Path):
    sign_in(page, workbench, "mara")
    open_dashboard(page, workbench, "plant.ipynb")
    kernel = json.loads(page.locator("#jupyter-config-data").inner_text(timeout=PATIENCE) or "{}")["kernelId"]
    target = tmp_path / "intruded"
    code = f"open({str(target)!r}, 'w').close()"
    answers = page.evaluate(INTRUDE, [kernel, code])
    assert "kernel_info_reply" in answers, "the socket itself works"
    assert not {"execute_reply", "execute_input", "debug_reply", "inspect_reply"} & set(answers)
    assert not target.exists()


@pytest.mark.browser
def test_a_callback_cannot_write_to_the_database_or_see_the_hubs_token(workbench: Running, page: Page):
    sign_in(page, workbench, "mara")
    open_dashboard(page, workbench, "plant.ipynb")
    page.wait_for_selector("#sum:has-text('sum 36')")  # of the stored numbers
    page.click("button:has-text('Write')")
    page.wait_for_selector("#sum:has-text('ReadOnlyError')")
    assert page.inner_text("#sum") == "ReadOnlyError []"


def test_a_right_that_is_taken_away_is_gone_at_the_next_request(workbench: Running):
    session, administrator = workbench.sign_in("tom"), workbench.sign_in("olga")
    address = workbench.url + DASHBOARDS
    assert session.get(address, timeout=60).status_code == 200
    answer = administrator.delete(
        f"{workbench.url}/hub/api/groups/managers/users",
        json={"users": ["tom"]},
        headers={"X-XSRFToken": running.xsrf(administrator, "/hub/"), "Referer": f"{workbench.url}/hub/admin"},
        timeout=60,
    )
    assert answer.status_code == 200
    assert session.get(address, timeout=60).status_code == 403


def test_signing_out_of_the_hub_signs_out_of_the_dashboards(workbench: Running):
    session = workbench.sign_in("mara")
    address = workbench.url + DASHBOARDS
    assert session.get(address, timeout=60).status_code == 200
    token = {cookie.name: cookie.value for cookie in session.cookies if cookie.path == DASHBOARDS}
    session.get(f"{address}logout", timeout=60)
    # A stolen cookie is worth nothing either.
    stolen: dict[str, Any] = {name: value for name, value in token.items() if value}
    answer = requests.get(address, cookies=stolen, allow_redirects=False, timeout=60)
    assert answer.status_code == 302
    assert "oauth2/authorize" in answer.headers["location"]


def test_a_dashboard_follows_its_file(workbench: Running):
    """Added, changed, deleted: the next visitor sees it, though a kernel waits with the earlier notebook."""
    session, file = workbench.sign_in("mara"), workbench.data / "dashboards" / "new" / "words.ipynb"
    address = f"{workbench.url}{RENDER}new/words.ipynb"
    file.parent.mkdir()
    for word in ("Alder", "Birch"):
        notebooks.write_words(file, word)
        assert word in session.get(workbench.url + DASHBOARDS, timeout=60).text
        pages = [session.get(address, timeout=120).text for _ in range(3)]
        assert all(f"printed {word}" in page for page in pages)
    file.unlink()
    assert session.get(address, timeout=60).status_code == 404
    assert "Birch" not in session.get(workbench.url + DASHBOARDS, timeout=60).text


# ---- the REST door --------------------------------------------------------------------------------------------------

REST = f"{DASHBOARDS}wendelin/api/v1"
REFUSALS = (401, 403)


def visitor(workbench: Running, name: str, page: str = DASHBOARDS) -> requests.Session:
    """Somebody whose browser has opened a page there, and so has its cookie."""
    session = workbench.sign_in(name)
    session.get(workbench.url + page, timeout=60)
    return session


def token_of(workbench: Running, session: requests.Session, name: str, **options: Any) -> dict[str, str]:
    """The header of a token that a person makes on the hub's page."""
    answer = session.post(
        f"{workbench.url}/hub/api/users/{name}/tokens",
        json={"note": "a script", "expires_in": 3600, **options},
        headers={"X-XSRFToken": running.xsrf(session, "/hub/"), "Referer": f"{workbench.url}/hub/token"},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"token {answer.json()['token']}"}


def test_each_person_has_the_roles_of_their_groups_at_the_door(workbench: Running):
    roles = {}
    for name in ("ada", "mara", "udo"):
        session = visitor(workbench, name)
        root = session.get(workbench.url + REST + "/", timeout=60)
        assert root.status_code == 200, root.text
        assert root.json()["user"] == name
        roles[name] = root.json()["roles"]
    assert roles == {"ada": ["analyst"], "mara": ["manager"], "udo": ["auditor"]}
    stranger = visitor(workbench, "oscar").get(workbench.url + REST + "/", timeout=60)
    assert stranger.status_code in REFUSALS


def test_a_cookie_writes_with_the_xsrf_token_only(workbench: Running):
    session = visitor(workbench, "mara")
    address, wanted = f"{workbench.url}{REST}/entities", {"type": "project", "title": "From a browser"}
    assert session.get(address, timeout=60).status_code == 200
    refused = session.post(address, json=wanted, timeout=60)
    assert refused.status_code in REFUSALS
    assert refused.headers["Content-Type"] == "application/problem+json"
    headers = {"X-XSRFToken": running.xsrf(session, DASHBOARDS)}
    made = session.post(address, json=wanted, headers=headers, timeout=60)
    assert made.status_code == 201, made.text
    assert made.json()["creator"] == "mara"
    place = workbench.url + made.headers["Location"]
    assert session.delete(place, headers=headers, timeout=60).status_code == 204


def test_tokens_open_the_door_as_far_as_their_persons_and_scopes_may(workbench: Running):
    mara, udo = (token_of(workbench, workbench.sign_in(name), name) for name in ("mara", "udo"))
    address, wanted = f"{workbench.url}{REST}/entities", {"type": "project", "title": "By a script"}
    made = requests.post(address, json=wanted, headers=mara, timeout=60)
    assert made.status_code == 201, made.text
    place = workbench.url + made.json()["_links"]["self"]["href"]
    assert requests.get(place, headers=udo, timeout=60).json()["title"] == "By a script"
    assert requests.get(f"{place}/trail", headers=udo, timeout=60).status_code == 200
    for answer in (
        requests.post(address, json=wanted, headers=udo, timeout=60),
        requests.delete(place, headers=udo, timeout=60),
    ):
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (403, "not-allowed")
    narrow = token_of(workbench, workbench.sign_in("mara"), "mara", scopes=["read:users:name!user"])
    for refused in (narrow, {"Authorization": "token wrong"}):
        assert requests.get(address, headers=refused, timeout=60).status_code in REFUSALS
    assert requests.delete(place, headers=mara, timeout=60).status_code == 204


def test_an_analysts_own_server_has_the_door_and_refuses_others(workbench: Running):
    """The server that the analyst's browser has started above."""
    session = visitor(workbench, "ada", "/user/ada/lab")
    address = f"{workbench.url}/user/ada/wendelin/api/v1"
    root = session.get(f"{address}/", timeout=60)
    assert root.status_code == 200, root.text
    assert (root.json()["user"], root.json()["roles"]) == ("ada", ["analyst"])
    assert session.get(f"{address}/entities?type=plant", timeout=60).json()["total"] > 0
    assert visitor(workbench, "mara", "/user/ada/lab").get(f"{address}/", timeout=60).status_code in REFUSALS
    mara = token_of(workbench, workbench.sign_in("mara"), "mara")
    assert requests.get(f"{address}/entities", headers=mara, timeout=60).status_code in REFUSALS


def test_a_role_that_is_taken_away_is_gone_at_the_doors_next_request(workbench: Running):
    administrator, udo = workbench.sign_in("olga"), token_of(workbench, workbench.sign_in("udo"), "udo")
    address = f"{workbench.url}{REST}/entities"
    assert requests.get(address, headers=udo, timeout=60).status_code == 200
    answer = administrator.delete(
        f"{workbench.url}/hub/api/groups/auditors/users",
        json={"users": ["udo"]},
        headers={"X-XSRFToken": running.xsrf(administrator, "/hub/"), "Referer": f"{workbench.url}/hub/admin"},
        timeout=60,
    )
    assert answer.status_code == 200
    assert requests.get(address, headers=udo, timeout=60).status_code in REFUSALS


# ---- things fail ----------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_a_failing_dashboard_says_so_without_a_traceback(workbench: Running, page: Page, screenshots: Path):
    page.set_viewport_size({"width": 1280, "height": 800})
    sign_in(page, workbench, "mara")
    open_dashboard(page, workbench, "failing.ipynb")
    page.wait_for_selector(".wd-failure")
    assert "stopped here" in page.inner_text(".wd-failure")
    assert notebooks.SECRET not in page.content()
    assert notebooks.SECRET in workbench.log, "the operator finds the reason"
    page.screenshot(path=screenshots / "dashboard-failed.png")
    answer = page.goto(f"{workbench.url}{RENDER}none.ipynb")
    assert answer
    assert answer.status == 404
    assert "no such dashboard" in page.inner_text(".wd-failure")


@pytest.mark.browser
def test_while_it_loads_and_when_it_is_lost_the_page_says_so(workbench: Running, page: Page, screenshots: Path):
    page.set_viewport_size({"width": 390, "height": 844})
    sign_in(page, workbench, "mara")
    page.route("**/voila/static/voila.js", slowly)
    page.goto(f"{workbench.url}{RENDER}plant.ipynb", wait_until="commit")
    page.wait_for_selector("#loading_text")
    page.screenshot(path=screenshots / "dashboard-loading.png")
    page.wait_for_function("!document.getElementById('loading')")
    page.wait_for_selector("#sum")

    kernel = json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"]
    os.kill(kernel_process(workbench, kernel), signal.SIGKILL)
    page.wait_for_selector("#wd-notice:has-text('ended at')")

    page.unroute("**/voila/static/voila.js")
    page.click("#wd-notice button")
    page.wait_for_function("!document.getElementById('loading')")
    page.wait_for_selector("#sum")
    service = next(each for each in processes_of(workbench.run) if "wendelin.hub_config.dashboards" in each.cmdline())
    service.kill()
    page.wait_for_selector("#wd-notice:has-text('Connection lost')")
    page.screenshot(path=screenshots / "dashboard-lost.png")


def slowly(route: Route) -> None:
    time.sleep(2)
    route.continue_()


def kernel_process(workbench: Running, kernel: str) -> int:
    return next(each.pid for each in processes_of(workbench.run) if any(kernel in part for part in each.cmdline()))


def test_the_hub_brings_killed_dashboards_back(workbench: Running):
    session = workbench.sign_in("mara")
    end = time.monotonic() + 200
    while (status := session.get(workbench.url + DASHBOARDS, timeout=60).status_code) != 200:
        assert time.monotonic() < end, status
        time.sleep(0.5)


# ---- it ends, and starts again --------------------------------------------------------------------------------------


def test_after_ctrl_c_nothing_runs_and_everything_is_there_again(workbench: Running):
    mark, passwords = workbench.run, dict(workbench.passwords)
    notebook = (workbench.data / "users/ada/notebooks" / SOLAR).read_bytes()
    assert len(list(processes_of(mark))) > 5, "notebook server and kernels too"
    assert workbench.stop() == 0
    assert list(processes_of(mark)) == []
    assert "ended what was left" not in workbench.stderr, "all ended in order, nothing had to be forced"
    assert subprocess.run(["pgrep", "-f", str(workbench.data)], capture_output=True, check=False).stdout == b""

    again = running.start(workbench.data, port=workbench.port)
    try:
        assert {name: again.passwords[name] for name in ("ada", "mara")} == {
            name: passwords[name] for name in ("ada", "mara")
        }
        assert "loading the example data" not in again.stderr
        session = again.sign_in("mara")
        assert "Solar fleet" in session.get(again.url + DASHBOARDS, timeout=60).text
        again.sign_in("oscar", passwords["oscar"])
        assert (again.data / "users/ada/notebooks" / SOLAR).read_bytes() == notebook
        code = (
            "import wendelin; root = wendelin.connect().root();"
            "print(root['first-light/numbers'][:].sum(), list(root['solar']), list(root))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code],
            env=running.environment(again.data),
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.startswith("36.0 ['1278', '1300', '1403', '1422', '4'")
        assert "written-by-a-manager" not in found.stdout
    finally:
        assert again.stop() == 0
        assert again.process.stdout
        again.process.stdout.close()
    assert list(processes_of(again.run)) == []
