"""`milana-js/react` as Milana's own documentation uses it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser.site import Site, bundle
from tests.browser.tab import Backend, Tab

PAGES = Path(__file__).parent / "pages"


def test_the_upgrade_button_of_milanas_documentation(tab: Tab, site: Site, backend: Backend) -> None:
    keys = {
        "product": backend.keys["USERFOLD_PRODUCT_ID"],
        "client": backend.keys["USERFOLD_PUBLISHABLE_KEY"],
        "endpoint": backend.endpoint,
    }
    site.put("app.js", bundle((PAGES / "upgrade_button.tsx").read_text(), "--jsx=automatic", loader="tsx"))
    script = f"<script>const keys = {json.dumps(keys)}</script><script type=module src=app.js></script>"
    tab.page.goto(site.put("upgrade.html", f"<!doctype html><main></main>{script}"))
    with tab.page.expect_response(backend.endpoint + "/update") as answered:
        tab.page.click("text=Upgrade")
    session = answered.value.json()
    assert (session["success"], session["sampled"]) == (True, True)
    assert tab.page.title() == "paid for pro"
    user = backend.user("u-1")
    assert (user["traits"], user["name"]) == ({"plan": "pro"}, None)
    assert backend.session(session["sessionId"])["user_id"] == user["id"]
