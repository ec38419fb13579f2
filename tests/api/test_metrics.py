"""`/metrics`: who may read it, that it is what Prometheus reads, that every number counts what it says, and that the
documentation lists what there is."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_network
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.browser import Browser
from tests.server import InProcess, Keys, in_process, serving
from userfold import __version__
from userfold.app import App
from userfold.clock import clock_ms
from userfold.engine import Engine, Limits
from userfold.storage.memory import MemoryStore
from userfold.storage.port import StoreFull

REFERENCE = Path(__file__).parent.parent.parent / "docs" / "reference" / "metrics.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(api: InProcess, host: str = "localhost:8787", address: str = "127.0.0.1", **headers: str) -> httpx.Response:
    """What a program that asks without a key is answered."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", "http://userfold.test/metrics", headers={"host": host, **sent})
    return api.send(request, address=address)


def samples(api: InProcess) -> Samples:
    reply = scrape(api)
    assert reply.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def value(of: Samples, name: str, **labels: str) -> float:
    return of.get((name, frozenset(labels.items())), 0.0)


# Who may read it.


def test_a_program_on_this_machine_needs_no_key(api: InProcess) -> None:
    reply = scrape(api)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_elsewhere_a_secret_key_is_needed(api: InProcess, other: Keys) -> None:
    for key, status in ((api.keys.secret, 200), (other.secret, 200), (api.keys.publishable, 401), ("sk_no", 401)):
        assert api.ask("GET", "/metrics", key=key, address="192.0.2.1").status_code == status
    assert scrape(api, address="192.0.2.1").json()["code"] == "unauthorized"


def test_a_key_that_may_only_read_may_read_it(api: InProcess) -> None:
    key = api.ask("POST", "/v1/project/keys", {"name": "prometheus", "read_only": True}).json()["token"]
    assert api.ask("GET", "/metrics", key=key, address="192.0.2.1").status_code == 200


@pytest.mark.parametrize("name", ["x_forwarded_for", "x_real_ip", "forwarded", "via"])
def test_what_a_proxy_on_this_machine_hands_on_is_not_local(api: InProcess, name: str) -> None:
    assert scrape(api, **{name: "127.0.0.1"}).status_code == 401


def test_a_page_that_lets_its_name_mean_this_machine_reads_nothing(api: InProcess) -> None:
    assert scrape(api, host="evil.example").status_code == 401


def test_a_trusted_proxy_does_not_lend_its_own_address(api: InProcess) -> None:
    trusting = msgspec.structs.replace(api.app.service, trusted_proxies=(ip_network("0.0.0.0/0"),))
    api.app = App(trusting)
    assert scrape(api, x_forwarded_for="127.0.0.1", address="127.0.0.1").status_code == 401
    assert scrape(api, x_forwarded_for="127.0.0.1", address="10.0.0.1").status_code == 401


# What it counts.


def test_requests_are_counted_by_route_and_class_of_status(api: InProcess) -> None:
    user = api.user(name="Ada")
    for path in (f"/v1/users/{user['id']}", "/v1/users/nobody", "/v1/nope", "/clerk/v1/users/nobody"):
        api.ask("GET", path)
    api.ask("PUT", "/v1/users")
    found = samples(api)
    counted = {
        ("native", "POST", "/v1/users", "2xx"): 1,
        ("native", "GET", "/v1/users/{id}", "2xx"): 2,  # one of them to see what was made
        ("native", "GET", "/v1/users/{id}", "4xx"): 1,
        ("native", "", "", "4xx"): 2,
        ("clerk", "GET", "/clerk/v1/users/{id}", "4xx"): 1,
        ("operations", "GET", "/metrics", "2xx"): 0,
    }
    for (name, method, route, status), count in counted.items():
        labels = {"api": name, "method": method, "route": route, "status": status}
        assert value(found, "userfold_http_requests_total", **labels) == count, labels
    refused = {("native", "user_not_found"): 1, ("native", "path_unknown"): 1, ("native", "method_not_allowed"): 1}
    for (name, code), count in (refused | {("clerk", "user_not_found"): 1}).items():
        assert value(found, "userfold_refusals_total", api=name, code=code) == count, code
    seen = {"api": "operations", "method": "GET", "route": "/metrics", "status": "2xx"}
    assert value(samples(api), "userfold_http_requests_total", **seen) == 1


def test_a_name_of_a_user_is_in_no_metric(api: InProcess) -> None:
    user = api.user(name="Ada", external_id="ada@example.com")
    api.ask("GET", f"/v1/users/{user['id']}")
    api.ask("GET", "/v1/nope/ada@example.com")
    text = scrape(api).text
    assert user["id"] not in text
    assert "ada" not in text


def test_updates_are_what_changed_something(api: InProcess) -> None:
    before = samples(api)
    user = api.user(name="Ada")
    path = f"/v1/users/{user['id']}"
    api.ask("PATCH", path, {"name": "Ada"})
    api.ask("PATCH", path, {"name": "Bea"})
    api.ask("PATCH", path + "?dry_run=true", {"name": "Cleo"})
    api.ask("PATCH", path, {"name": 7})
    after = samples(api)
    counted = {"userfold_commands_total": 5, "userfold_updates_total": 2, "userfold_batches_total": 5}
    for name, count in (counted | {"userfold_batch_size_count": 5, "userfold_batch_size_sum": 5}).items():
        assert value(after, name) - value(before, name) == count, name
    assert value(after, "userfold_queue_length") == 0


def test_sizes_of_batches_are_counted_up_to_each_bound(api: InProcess) -> None:
    user = api.user()
    before = samples(api)

    async def update(number: int) -> httpx.Response:
        transport = httpx.ASGITransport(api.app)
        headers = {"authorization": f"Bearer {api.keys.secret}"}
        async with httpx.AsyncClient(transport=transport, headers=headers) as client:
            url = f"http://userfold.test/v1/users/{user['id']}"
            return await client.patch(url, json={"traits": {"n": number}})

    async def update_often() -> None:
        await asyncio.gather(*(update(number) for number in range(5)))

    api.runner.run(update_often())
    after = samples(api)
    grown = {le: value(after, "userfold_batch_size_bucket", le=le) for le in ("1", "4", "16", "64", "256", "+Inf")}
    grown = {le: count - value(before, "userfold_batch_size_bucket", le=le) for le, count in grown.items()}
    batches = value(after, "userfold_batches_total") - value(before, "userfold_batches_total")
    assert value(after, "userfold_batch_size_sum") - value(before, "userfold_batch_size_sum") == 5
    assert list(grown.values()) == sorted(grown.values())  # each bucket holds those before it
    assert grown["+Inf"] == grown["16"] == batches
    assert grown["1"] < batches or batches == 5


def test_commits_are_counted_with_how_long_they_took(api: InProcess) -> None:
    before = samples(api)
    for _ in range(3):
        api.user()
    after = samples(api)
    for name in ("userfold_commit_seconds_count", "userfold_commit_seconds_bucket"):
        labels = {"le": "+Inf"} if name.endswith("bucket") else {}
        assert value(after, name, **labels) - value(before, name, **labels) == 3
    assert 0 <= value(after, "userfold_commit_seconds_sum") - value(before, "userfold_commit_seconds_sum") < 60


def test_what_is_beyond_a_rate_limit_is_counted_by_kind(browser: Browser) -> None:
    browser.limit(new_users_per_minute=1, new_sessions_per_minute=0, writes_per_minute=4)
    for number in (1, 1, 2):
        browser.identify(f"u-{number}", traits={"n": number})
    browser.ask("POST", "/sessions")
    for _ in range(3):
        browser.ask("POST", "/batch")
    found = samples(browser.api)
    kinds = {"new_users": 1, "new_sessions": 1, "writes": 2}
    assert {kind: value(found, "userfold_rate_limited_total", kind=kind) for kind in kinds} == kinds
    assert value(found, "userfold_refusals_total", api="browser", code="rate_limited") == 2
    assert value(found, "userfold_rate_limit_buckets") == 3


class Full(MemoryStore):
    """A store that stores nothing once it is full."""

    full = False

    async def run(self, make_fold):  # type: ignore[no-untyped-def] # as the port has it
        if self.full:
            raise StoreFull("no space left")
        return await super().run(make_fold)


def test_batches_that_were_not_stored_are_counted_by_why(runner: asyncio.Runner) -> None:
    store = Full()
    with in_process(runner, store) as api:
        before = samples(api)
        store.full = True
        assert api.ask("POST", "/v1/users", {}).status_code == 507
        after = samples(api)
    assert value(after, "userfold_batches_failed_total", code="store_full") == 1
    assert value(after, "userfold_refusals_total", api="native", code="store_full") == 1
    assert value(after, "userfold_batches_total") == value(before, "userfold_batches_total")


def test_what_finds_no_room_is_counted(api: InProcess) -> None:
    service = api.app.service
    narrow = Engine(service.store, clock_ms=clock_ms, limits=Limits(queue_bytes_max=10))
    api.app = App(msgspec.structs.replace(service, engine=narrow))
    assert api.ask("POST", "/v1/users", {"name": "Ada Lovelace"}).status_code == 503
    assert value(samples(api), "userfold_overloaded_total") == 1


def test_it_says_what_runs_and_for_how_long(api: InProcess) -> None:
    found = samples(api)
    (labels,) = [dict(labels) for name, labels in found if name == "userfold_build_info"]
    assert labels["version"] == __version__
    assert 0 <= value(found, "userfold_uptime_seconds") <= value(samples(api), "userfold_uptime_seconds")


def test_a_real_server_over_sqlite_shows_them_to_a_scraper_beside_it(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        with server.client() as client:
            assert client.post("/v1/users", json={}).status_code == 201
        reply = httpx.get(f"{server.url}/metrics", trust_env=False)
        handed_on = httpx.get(f"{server.url}/metrics", headers={"x-forwarded-for": "203.0.113.7"}, trust_env=False)
    assert (reply.status_code, handed_on.status_code) == (200, 401)
    numbers = dict(re.findall(r"^(\w+) (\S+)$", reply.text, re.MULTILINE))
    assert float(numbers["userfold_wal_pages"]) > 0
    assert float(numbers["userfold_commit_seconds_sum"]) > 0
    assert float(numbers["userfold_updates_total"]) == 2  # the first project, and a user


# What it is called.


def types(text: str) -> set[tuple[str, str]]:
    return {(name, kind) for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)}


def documented() -> set[tuple[str, str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", REFERENCE.read_text(), re.MULTILINE)
    return {(name, kind) for name, kind in rows}


def test_every_metric_is_documented_and_what_is_documented_is_there(api: InProcess) -> None:
    # The process's own need /proc.
    there = types(scrape(api).text)
    own = {(name, kind) for name, kind in documented() if Path("/proc/self/stat").exists() or "process_" not in name}
    assert len(there) > 20
    assert there == own


def test_labels_are_those_that_are_documented(browser: Browser) -> None:
    browser.limit(new_sessions_per_minute=0)
    browser.ask("POST", "/sessions")
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*)\|", REFERENCE.read_text(), re.MULTILINE)
    labels = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
    for name, given in samples(browser.api):
        family = re.sub(r"_(bucket|sum|count)$", "", name) if name not in labels else name
        wanted = labels[family] - ({"le"} if not name.endswith("_bucket") else set())
        assert {label for label, _ in given} == wanted, name


def test_names_follow_the_conventions(api: InProcess) -> None:
    for name, kind in types(scrape(api).text):
        assert name.startswith(("userfold_", "process_"))
        assert name.endswith("_total") == (kind == "counter"), name
