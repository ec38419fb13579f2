"""Each page of docs/howto/use-milana-js.md, taken from there, built by its own command and used in Chromium."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import expect

from tests.browser.guide import GUIDE, Guided, files
from tests.browser.site import Site
from tests.browser.tab import Backend, Tab
from tests.server import BOUND_S, userfold, wait_until

USER = "user-42"


@pytest.fixture
def guided(tmp_path: Path, backend: Backend) -> Guided:
    """Somebody who follows the guide."""
    folder = tmp_path / "app"
    folder.mkdir()
    return Guided(folder, backend)


def upgrade(tab: Tab, backend: Backend) -> None:
    """Press the button that every page of the guide has, and wait until the server has answered."""
    with tab.page.expect_response(backend.endpoint + "/update"):
        tab.page.click("#upgrade")


def is_identified(backend: Backend) -> bool:
    return any(user["external_id"] == USER and user["name"] == "Ada Lovelace" for user in backend.users())


def caller_types(tab: Tab) -> set[str]:
    return {request.headers["x-milana-caller-type"] for request in tab.sent}


def test_the_page_for_npm(tab: Tab, site: Site, backend: Backend, guided: Guided) -> None:
    tab.page.goto(guided.put(site, page="index.html", script="main.js"))
    wait_until(lambda: is_identified(backend), "the page identifies its user")
    assert backend.user(USER)["traits"] == {"plan": "free"}
    assert backend.user(USER)["contact_email"] == "ada@example.com"
    tab.wait_until_it_records()
    upgrade(tab, backend)
    expect(tab.page.locator("#plan")).to_have_text("pro")
    assert backend.user(USER)["traits"] == {"plan": "pro"}
    tab.leave()
    assert backend.wait_for_event(USER, "upgrade_clicked")["properties"] == {"plan": "pro"}
    assert caller_types(tab) == {"core"}


def test_the_page_for_react(tab: Tab, site: Site, backend: Backend, guided: Guided) -> None:
    tab.page.goto(guided.put(site, page="react.html", script="app.jsx"))
    wait_until(lambda: is_identified(backend), "the page identifies its user")
    upgrade(tab, backend)
    expect(tab.page.locator("#plan")).to_have_text("pro")
    assert backend.user(USER)["traits"] == {"plan": "pro"}
    assert caller_types(tab) == {"react"}
    assert len(tab.sent_to("/session")) == 1


def test_the_page_with_a_script_tag(tab: Tab, site: Site, backend: Backend, guided: Guided) -> None:
    tab.page.goto(guided.put(site, page="tag.html", script="milana-script.js"))
    wait_until(lambda: is_identified(backend), "what was queued before the script came is replayed")
    session = backend.session(tab.session_id() or "")
    assert session["user_id"] == backend.user(USER)["id"]
    upgrade(tab, backend)
    assert backend.user(USER)["traits"] == {"plan": "pro"}
    assert caller_types(tab) == {"cdn"}
    with tab.page.expect_console_message(lambda said: "no command nothing" in said.text):
        tab.page.evaluate("Milana('nothing', 1)")
    with tab.page.expect_response(backend.endpoint + "/batch"):
        tab.page.evaluate("Milana('stopRecording')")
    assert backend.session(session["id"])["status"] == "ended"


# Verified.


def identity_secret(backend: Backend) -> str:
    """What the guide's command prints."""
    made = userfold("keys", "create", "identity tokens", "--identity", "--data", backend.server.data)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def python_module(guided: Guided) -> ModuleType:
    guided.write("identity_token.py")
    spec = importlib.util.spec_from_file_location("identity_token", guided.folder / "identity_token.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signed_by_node(guided: Guided, secret: str) -> str:
    guided.write("identity-token.mjs")
    script = (
        f"import {{ identityToken }} from './identity-token.mjs'; console.log(identityToken('{USER}', {{seats: 3}}))"
    )
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        cwd=guided.folder,
        env=os.environ | {"IDENTITY_SECRET": secret},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def signed_by_python(guided: Guided, secret: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_SECRET", secret)
        token: str = python_module(guided).identity_token(USER, {"seats": 3})
    return token


@pytest.mark.parametrize("sign", [signed_by_node, signed_by_python], ids=["node", "python"])
def test_the_page_of_a_project_that_asks_for_proof(
    tab: Tab, site: Site, backend: Backend, guided: Guided, sign: object
) -> None:
    assert callable(sign)
    token = sign(guided, identity_secret(backend))
    backend.set(browser_identity="verified")
    site.put("identity-token.json", json.dumps({"token": token}))
    (guided.folder / "index.html").write_text(files()["index.html"])
    tab.page.goto(guided.put(site, page="index.html", script="verified.js"))
    wait_until(lambda: is_identified(backend), "the page identifies its user")
    upgrade(tab, backend)
    expect(tab.page.locator("#plan")).to_have_text("pro")
    user = backend.user(USER)
    assert (user["traits"], user["public_metadata"]) == ({"plan": "pro"}, {"seats": 3})
    assert {change["trust"] for change in backend.history(USER)} == {"verified"}
    assert token not in json.dumps(backend.history(USER)) + backend.server.log()


def test_the_guide_begins_with_what_is_kept_and_every_page_of_it_is_used_here() -> None:
    first = GUIDE.read_text().splitlines()[2]
    assert first.startswith("Userfold keeps identity, metadata and tracked events; it discards recordings.")
    here = Path(__file__).read_text()
    assert [name for name in files() if f'"{name}"' not in here] == []
