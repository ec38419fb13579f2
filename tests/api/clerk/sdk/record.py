"""Records `captures/*.json` anew: what the unmodified SDKs send in the conversations of `SCRIPTS`, and the answers.

    python -m tests.api.clerk.sdk.record

writes them all. A proxy stands between an SDK and a real server and writes down what passes, each id by the same name
wherever it occurs. `test_captures.py` compares what would be recorded now with what is stored; a difference that is
wanted (an SDK of a newer version, another answer) is recorded, looked at with `git diff`, and committed.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.api.clerk.replay import FOLDER, PUBLIC_URL, Mask, shape
from tests.api.clerk.sdk.calls import Sdk, javascript_sdk, python_sdk
from tests.server import Server, serving

# What belongs to one connection, or to the Python or the Node that runs the SDK. That a body is empty is kept.
_OF_THE_CONNECTION = {
    "accept-encoding",
    "accept-language",
    "connection",
    "host",
    "sec-fetch-mode",
    "transfer-encoding",
}
BOUNDARY = "boundary"  # instead of one that is new each time

# 1 × 1 pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"

METADATA = {
    "plan": "free",
    "prefs": {"theme": "light", "lang": "en", "nested": {"keep": 1, "drop": 2}},
    "tags": ["a", "b"],
    "camelCaseKey": {"innerKey": True, "snake_key": 1},
    "uni": "Zoë 🦊",
}
PRIVATE = {"stripeId": "cus_1", "flags": {"a": True}}
JS_ADA = {
    "emailAddress": ["zq.one@example.com"],
    "firstName": "Ada",
    "lastName": "Lovelace",
    "username": "ada_l",
    "externalId": "ext-zq-1",
    "skipPasswordChecks": True,
    "publicMetadata": METADATA,
    "privateMetadata": PRIVATE,
    "unsafeMetadata": {"step": 1},
    "createdAt": {"$date": 1704164645678},
}
PYTHON_ADA = {
    "email_address": ["zq.one@example.com"],
    "first_name": "Ada",
    "last_name": "Lovelace",
    "username": "ada_l",
    "external_id": "ext-zq-1",
    "skip_password_checks": True,
    "public_metadata": METADATA,
    "private_metadata": PRIVATE,
    "unsafe_metadata": {"step": 1},
    "created_at": "2024-01-02T03:04:05.678Z",
}


@dataclass(frozen=True)
class Script:
    """A conversation: functions and their arguments, in which `{user_1}` stands for the first user that was seen."""

    title: str
    calls: tuple[tuple[str, Any], ...]


SCRIPTS = {
    "js_create_user": Script(
        "JS createUser, the same again, and getUser; without a field it has no body",
        (
            ("users.createUser", [JS_ADA]),
            ("users.getUser", ["{user_1}"]),
            ("users.createUser", [JS_ADA]),
            ("users.createUser", [JS_ADA | {"emailAddress": ["zq.two@example.com"]}]),
            ("users.createUser", [JS_ADA | {"emailAddress": ["zq.two@example.com"], "username": "other"}]),
            ("users.createUser", [{}]),
            ("users.getUser", ["user_nobody"]),
        ),
    ),
    "js_create_user_with_password": Script(
        "JS createUser with a password; then it is verified, another one is not, and it is removed",
        (
            ("users.createUser", [JS_ADA | {"password": "correct horse"}]),
            ("users.verifyPassword", [{"userId": "{user_1}", "password": "correct horse"}]),
            ("users.verifyPassword", [{"userId": "{user_1}", "password": "wrong horse"}]),
            ("users.removePassword", ["{user_1}"]),
        ),
    ),
    "js_update_user_metadata": Script(
        "JS updateUserMetadata: nested objects are merged, null removes at two depths, no field sends no body",
        (
            ("users.createUser", [JS_ADA]),
            (
                "users.updateUserMetadata",
                ["{user_1}", {"publicMetadata": {"prefs": {"theme": "dark", "nested": {"add": 3}}}}],
            ),
            (
                "users.updateUserMetadata",
                ["{user_1}", {"publicMetadata": {"plan": None, "prefs": {"nested": {"drop": None}}}}],
            ),
            ("users.updateUserMetadata", ["{user_1}", {}]),
            ("users.updateUserMetadata", ["user_nobody", {"publicMetadata": {}}]),
        ),
    ),
    "js_update_user": Script(
        "JS updateUser with metadata sends two requests; without a field, one without a body",
        (
            ("users.createUser", [{"firstName": "Ada", "unsafeMetadata": {"old": 1}}]),
            ("users.updateUser", ["{user_1}", {"firstName": "Ada", "unsafeMetadata": {"fresh": {"x": None}}}]),
            ("users.updateUser", ["{user_1}", {}]),
        ),
    ),
    "js_users": Script(
        "JS getUserList asks for the count beside the list; ban, lock and delete send no body",
        (
            ("users.createUser", [{"firstName": "Ada", "createdAt": {"$date": 1704067200000}}]),
            ("users.createUser", [{"firstName": "Eve", "createdAt": {"$date": 1704153600000}}]),
            ("users.getUserList", [{"query": "zq", "orderBy": "+created_at"}]),
            (
                "users.getUserList",
                [{"emailAddress": ["zq.one@example.com", "zq.three@example.com"], "orderBy": "+created_at"}],
            ),
            ("users.getUserList", [{"query": "a", "limit": 2, "offset": 0, "orderBy": "+created_at"}]),
            ("users.getUserList", [{"limit": 2, "offset": 1, "orderBy": "+created_at"}]),
            ("users.getUserList", [{"userId": ["+{user_1}", "-{user_2}"], "startingAfter": "{user_2}"}]),
            ("users.banUser", ["{user_1}"]),
            ("users.getUserList", [{"banned": True}]),
            ("users.unbanUser", ["{user_1}"]),
            ("users.lockUser", ["{user_2}"]),
            ("users.unlockUser", ["{user_2}"]),
            ("users.deleteUser", ["{user_2}"]),
            ("users.getUserList", []),
        ),
    ),
    "js_profile_image": Script(
        "JS updateUserProfileImage sends a form with the part file, which is called blob",
        (
            ("users.createUser", [{"firstName": "Ada"}]),
            ("users.updateUserProfileImage", ["{user_1}", {"file": {"$png": PNG}}]),
            ("users.deleteUserProfileImage", ["{user_1}"]),
        ),
    ),
    "js_addresses": Script(
        "JS email addresses: a PATCH without a field has no body",
        (
            ("users.createUser", [{"firstName": "Ada"}]),
            ("emailAddresses.createEmailAddress", [{"userId": "{user_1}", "emailAddress": "zq.one@example.com"}]),
            (
                "emailAddresses.createEmailAddress",
                [{"userId": "{user_1}", "emailAddress": "zq.two@example.com", "verified": True, "primary": True}],
            ),
            ("emailAddresses.getEmailAddress", ["{idn_1}"]),
            ("emailAddresses.updateEmailAddress", ["{idn_1}", {"verified": True}]),
            ("emailAddresses.updateEmailAddress", ["{idn_1}", {}]),
            ("emailAddresses.deleteEmailAddress", ["{idn_1}"]),
            ("users.getUser", ["{user_1}"]),
            ("emailAddresses.deleteEmailAddress", ["{idn_2}"]),
        ),
    ),
    "js_sessions": Script(
        "JS getSessionList asks for a page",
        (
            ("users.createUser", [{"firstName": "Ada"}]),
            ("sessions.createSession", [{"userId": "{user_1}"}]),
            ("sessions.getSessionList", [{"userId": "{user_1}"}]),
            ("sessions.getSession", ["{ses_1}"]),
            ("sessions.revokeSession", ["ses_nobody"]),
        ),
    ),
    "python_create_user": Script(
        "Python users.create, the same again, and users.get; without an argument it sends {}",
        (
            ("users.create", PYTHON_ADA),
            ("users.get", {"user_id": "{user_1}"}),
            ("users.create", PYTHON_ADA),
            ("users.create", {}),
            ("users.get", {"user_id": "user_nobody"}),
        ),
    ),
    "python_update_metadata": Script(
        "Python users.update_metadata and users.replace_metadata; no argument sends {}",
        (
            ("users.create", PYTHON_ADA),
            (
                "users.update_metadata",
                {"user_id": "{user_1}", "public_metadata": {"prefs": {"theme": "dark", "nested": {"add": 3}}}},
            ),
            ("users.update_metadata", {"user_id": "{user_1}", "public_metadata": {"plan": None}}),
            ("users.update_metadata", {"user_id": "{user_1}"}),
            ("users.replace_metadata", {"user_id": "{user_1}", "public_metadata": {"only": {"x": None}}}),
            ("users.replace_metadata", {"user_id": "{user_1}"}),
            ("users.update", {"user_id": "{user_1}", "last_name": None}),
            ("users.update_metadata", {"user_id": "user_nobody"}),
        ),
    ),
    "python_users": Script(
        "Python users.list always sends limit, offset and order_by; ban has no content type, bulk_ban a body",
        (
            ("users.create", {"first_name": "Ada", "created_at": "2024-01-01T00:00:00.000Z"}),
            ("users.create", {"first_name": "Eve", "created_at": "2024-01-02T00:00:00.000Z"}),
            ("users.list", {}),
            ("users.list", {"request": {"email_address": ["zq.two@example.com"]}}),
            ("users.count", {"request": {"query": "zq"}}),
            ("users.list", {"request": {"banned": False, "user_id": ["-{user_1}"], "order_by": "+created_at"}}),
            ("users.ban", {"user_id": "{user_1}"}),
            ("users.bulk_ban", {"user_ids": ["{user_1}", "{user_2}"]}),
            ("users.bulk_unban", {"user_ids": ["{user_1}", "{user_2}"]}),
            ("users.delete", {"user_id": "{user_2}"}),
        ),
    ),
    "python_profile_image": Script(
        "Python users.set_profile_image sends a form with the part file, and the name of the file",
        (
            ("users.create", {"first_name": "Ada"}),
            (
                "users.set_profile_image",
                {
                    "user_id": "{user_1}",
                    "file": {"file_name": "me.png", "content": base64.b64decode(PNG), "content_type": "image/png"},
                },
            ),
            ("users.delete_profile_image", {"user_id": "{user_1}"}),
        ),
    ),
    "python_addresses": Script(
        "Python phone numbers, and replaced addresses",
        (
            ("users.create", {"first_name": "Ada"}),
            ("phone_numbers.create", {"request": {"user_id": "{user_1}", "phone_number": "+442079460001"}}),
            ("phone_numbers.update", {"phone_number_id": "{idn_1}", "verified": True}),
            ("phone_numbers.replace_for_user", {"user_id": "{user_1}", "phone_number": "+442079460002"}),
            ("email_addresses.replace_for_user", {"user_id": "{user_1}", "email_address": "zq.one@example.com"}),
            ("phone_numbers.get", {"phone_number_id": "{idn_2}"}),
            ("phone_numbers.delete", {"phone_number_id": "{idn_2}"}),
            ("phone_numbers.get", {"phone_number_id": "{idn_2}"}),
        ),
    ),
    "python_sessions": Script(
        "Python sessions.list asks for a list",
        (
            ("users.create", {"first_name": "Ada"}),
            ("sessions.create", {"request": {"user_id": "{user_1}"}}),
            ("sessions.list", {"user_id": "{user_1}"}),
            ("sessions.revoke", {"session_id": "ses_nobody"}),
        ),
    ),
}


def record(name: str, server: Server, folder: Path) -> dict[str, Any]:
    """What would be in the capture of that name if it were recorded now. The server's public URL is `PUBLIC_URL`.

    Nobody is left in the server afterwards, so that the next conversation begins as this one did.
    """
    script = SCRIPTS[name]
    with proxy(server) as recorder:
        if name.startswith("js_"):
            with javascript_sdk(recorder.url, server.secret_key, folder) as javascript:
                recorder.play(script, javascript)
        else:
            with python_sdk(recorder.url, server.secret_key) as python:
                recorder.play(script, python)
    with server.client() as client:
        for user in client.get("/clerk/v1/users?limit=500").json():
            client.delete(f"/clerk/v1/users/{user['id']}").raise_for_status()
    headers = _common_headers(recorder.exchanges)
    exchanges = [_without(headers, exchange) for exchange in recorder.exchanges]
    return {"title": script.title, "headers": headers, "exchanges": exchanges}


class Recorder(ThreadingHTTPServer):
    """Hands requests on to a server, one at a time, and writes down what passes."""

    daemon_threads = True

    def __init__(self, server: Server, client: httpx.Client) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upstream = server.url
        self.secret_key = server.secret_key
        self.client = client
        self.turn = threading.Lock()
        self.mask = Mask()
        self.exchanges: list[dict[str, Any]] = []

    def play(self, script: Script, sdk: Sdk) -> None:
        """Make the calls of a script. What one of them asks at once is written down in the order of its paths."""
        for function, arguments in script.calls:
            before = len(self.exchanges)
            sdk.call(function, self.filled_in(arguments))
            made = self.exchanges[before:]
            if all(exchange["request"]["method"] == "GET" for exchange in made):
                self.exchanges[before:] = sorted(made, key=lambda exchange: "/count" in exchange["request"]["path"])

    def filled_in(self, value: Any) -> Any:
        """`value` with ids instead of their names."""
        if isinstance(value, dict):
            return {name: self.filled_in(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.filled_in(item) for item in value]
        return self.mask.unmasked(value) if isinstance(value, str) else value

    def handed_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """The server's answer, after it was written down."""
        with self.turn:
            upstream = {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION}
            reply = self.client.request(method, self.upstream + path, headers=upstream, content=body)
            request = self._request(method, path, headers, body)
            answer = {"status": reply.status_code} | _answer(self.mask(reply.json()))
            self.exchanges.append({"request": request, "answer": answer})
        return reply

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        kept = {
            name: value.replace(self.secret_key, "<secret key>")
            for name, value in headers.items()
            if name.lower() not in _OF_THE_CONNECTION and (name.lower() != "content-length" or value == "0")
        }
        request = {"method": method, "path": self.named(path), "headers": kept}
        for name, value in kept.items():
            boundary = re.fullmatch(r"(multipart/form-data; boundary=)(.+)", value)
            if boundary is not None:
                kept[name] = boundary[1] + BOUNDARY
                form = body.replace(boundary[2].encode(), BOUNDARY.encode())
                return request | {"body_base64": base64.b64encode(form).decode()}
        return request | {"body": json.loads(self.named(body.decode()))} if body else request

    def named(self, text: str) -> str:
        """`text` with the names of ids instead of them, as `unmasked` takes them."""
        for id_, name in self.mask.names.items():
            text = text.replace(id_, "{" + name[1:-1] + "}")
        return text


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and a body are two writes, and the second would wait for 40 ms
    server: Recorder

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        reply = self.server.handed_on(self.command, self.path, dict(self.headers.items()), body)
        self.send_response(reply.status_code)
        self.send_header("content-type", reply.headers["content-type"])
        self.send_header("content-length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 (http.server looks for these names)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _answer(body: Any) -> dict[str, Any]:
    """An answer as `replay.py` reads it: users by how they differ from the empty one."""
    if isinstance(body, dict) and body.get("object") == "user" and "deleted" not in body:
        return {"user": _difference(body)}
    if isinstance(body, list) and all(item["object"] == "user" for item in body):
        return {"users": [_difference(user) for user in body]}
    return {"body": body}


def _difference(user: dict[str, Any]) -> dict[str, Any]:
    empty = shape("empty_user")
    assert user.keys() == empty.keys()
    return {name: value for name, value in user.items() if value != empty[name]}


def _common_headers(exchanges: list[dict[str, Any]]) -> dict[str, str]:
    """The headers that all requests have."""
    first, *others = (exchange["request"]["headers"] for exchange in exchanges)
    return {name: value for name, value in first.items() if all(headers.get(name) == value for headers in others)}


def _without(common: dict[str, str], exchange: dict[str, Any]) -> dict[str, Any]:
    """An exchange without those headers of its request."""
    request = exchange["request"]
    own = {name: value for name, value in request["headers"].items() if name not in common}
    kept = {name: value for name, value in (request | {"headers": own}).items() if name != "headers" or own}
    return exchange | {"request": kept}


@contextmanager
def proxy(server: Server) -> Iterator[Recorder]:
    """A recorder before a server."""
    with httpx.Client(trust_env=False, timeout=60) as client, Recorder(server, client) as recorder:
        thread = threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield recorder
        finally:
            recorder.shutdown()
            thread.join()


def text_of(capture: dict[str, Any]) -> str:
    """What a file of a capture holds."""
    return json.dumps(capture, indent=2, ensure_ascii=False) + "\n"


def record_all() -> None:
    """Write all captures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "data", USERFOLD_PUBLIC_URL=PUBLIC_URL) as server,
    ):
        for name in SCRIPTS:
            (FOLDER / "captures" / f"{name}.json").write_text(text_of(record(name, server, Path(folder))))


if __name__ == "__main__":
    record_all()
