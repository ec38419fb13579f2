"""The least that an update can cost: the rows that Userfold writes, durably, and nothing else.

    python -m bench.bare --data DIR [--port 0]

Its own asyncio protocol over httptools (no framework, no ASGI, no task per request), no engine, no rules: a key in a
dict, the user's row, a deep merge that notes the difference as it goes, the same two rows written, COMMIT, the answer.
One transaction per request, so it is a comparison for one connection. It trusts its callers, and a malformed request
ends the connection. SQLite copies the log back as it does by default, in every thousandth page's commit.
Imports nothing of userfold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import os
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Any, cast

import apsw
import httptools
import msgspec
import uvloop

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    project_id TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, last_change_id TEXT NOT NULL,
    document TEXT NOT NULL, PRIMARY KEY (project_id, id)
);
CREATE TABLE IF NOT EXISTS changes (
    project_id TEXT NOT NULL, id TEXT NOT NULL, previous_id TEXT, version INTEGER NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (project_id, id)
) WITHOUT ROWID;
"""
SELECT_USER = "SELECT document, last_change_id FROM users WHERE project_id = ?1 AND id = ?2"
INSERT_USER = "INSERT INTO users (project_id, id, version, last_change_id, document) VALUES (?1, ?2, ?3, ?4, ?5)"
UPDATE_USER = (
    "UPDATE users SET version = ?3, last_change_id = ?4, document = ?5"
    " WHERE project_id = ?1 AND id = ?2 AND version = ?6"
)
INSERT_CHANGE = "INSERT INTO changes (project_id, id, previous_id, version, document) VALUES (?1, ?2, ?3, ?4, ?5)"

# What Userfold's document says besides what was given, so that the rows are of one size.
BLANK: dict[str, Any] = {
    "usercom_id": None,
    "name": None,
    "username": None,
    "email_addresses": [],
    "phone_numbers": [],
    "contact_email": None,
    "contact_phone": None,
    "unsafe_metadata": {},
    "disabled": False,
    "locked": False,
    "second_factor_policy": "optional",
    "segments": [],
    "owned": ["external_id", "first_name", "last_name", "locale", "timezone"],
    "external_id_aliases": [],
    "image": None,
    "legal_accepted_at": None,
    "delete_self_enabled": True,
    "create_organization_enabled": True,
    "create_organizations_limit": None,
    "bypass_client_trust": False,
    "password_enabled": False,
    "password_compromised": False,
    "totp_enabled": False,
    "backup_codes_enabled": False,
    "second_factor_enabled_at": None,
    "second_factor_disabled_at": None,
}

Document = dict[str, Any]
encode = msgspec.json.encode
decode = msgspec.json.decode


class Users:
    """The database."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        self._db.pragma("journal_mode", "WAL")
        self._db.pragma("synchronous", "FULL")
        self._db.execute(SCHEMA)

    def create(self, project_id: str, actor: str, external_id: str, fields: Document) -> Document:
        """The new user."""
        user, change_id = new_user(external_id, fields), new_id("chg_")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(INSERT_CHANGE, (project_id, change_id, None, 1, change(change_id, user, actor, [])))
        self._db.execute(INSERT_USER, (project_id, user["id"], 1, change_id, encode(user).decode()))
        self._db.execute("COMMIT")
        return user

    def read(self, project_id: str, user_id: str) -> str:
        """The document as text."""
        return cast("str", self._row(project_id, user_id)[0])

    def update(self, project_id: str, actor: str, user_id: str, patch: Document) -> Document:
        """The user once `patch` was merged into it, with the operations that made the difference."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        text, last_change_id = self._row(project_id, user_id)
        before = decode(text)
        operations: list[Document] = []
        after = merge(before, patch, "", operations)
        after["version"] += 1
        after["updated_at"] = now_ms()
        change_id = new_id("chg_")
        row = (project_id, change_id, last_change_id, after["version"], change(change_id, after, actor, operations))
        db.execute(INSERT_CHANGE, row)
        values = (after["version"], change_id, encode(after).decode(), before["version"])
        db.execute(UPDATE_USER, (project_id, user_id, *values))
        db.execute("COMMIT")
        return {**after, "changes": operations}

    def _row(self, project_id: str, user_id: str) -> tuple[Any, ...]:
        (row,) = self._db.execute(SELECT_USER, (project_id, user_id))
        return cast("tuple[Any, ...]", row)


def new_user(external_id: str, fields: Document) -> Document:
    """The document of a user who is made with `fields`."""
    now = now_ms()
    addresses = [
        {
            "id": new_id("idn_"),
            "email_address": address,
            "verified": False,
            "primary": True,
            "created_at": now,
            "updated_at": now,
        }
        for address in fields["email_addresses"]
    ]
    user = {"id": new_id("user_"), "external_id": external_id, **BLANK, **fields, "email_addresses": addresses}
    return user | {"usercom_id": secrets.randbits(53), "created_at": now, "updated_at": now, "version": 1}


def merge(target: Document, patch: Document, path: str, operations: list[Document]) -> Document:
    """RFC 7396, and the difference that it makes."""
    merged = dict(target)
    for name, value in patch.items():
        here = f"{path}/{name}"
        old = merged.get(name)
        if value is None:
            merged.pop(name, None)
            operations.append({"op": "remove", "path": here, "old": old})
        elif isinstance(value, dict) and isinstance(old, dict):
            merged[name] = merge(old, value, here, operations)
        elif old != value:
            merged[name] = value
            operations.append({"op": "replace", "path": here, "old": old, "new": value})
    return merged


def change(change_id: str, user: Document, actor: str, operations: list[Document]) -> str:
    """The row of the history."""
    document = {
        "id": change_id,
        "user_id": user["id"],
        "version": user["version"],
        "at": user["updated_at"],
        "source": "native",
        "actor": actor,
        "trust": "backend",
        "request_id": "req_" + secrets.token_hex(12),
        "operations": operations,
    }
    return encode(document).decode()


def new_id(prefix: str) -> str:
    """Sorted by time, and as long as Userfold's."""
    return f"{prefix}{now_ms():011x}{secrets.token_hex(8)[1:]}"


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Connection(asyncio.Protocol):
    """One connection. Requests are answered where their last byte arrives."""

    def __init__(self, users: Users, keys: dict[str, tuple[str, str]]) -> None:
        self._users = users
        self._keys = keys
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""
        self._token = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._token = value.removeprefix(b"Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        known = self._keys.get(hashlib.sha256(self._token).hexdigest())
        if known is None:
            self._answer(b"401 Unauthorized", b"{}")
            return
        method = self._parser.get_method()
        name = self._path.rpartition(b"/")[2].decode()
        if method == b"PUT":
            self._answer(b"201 Created", encode(self._users.create(*known, name, decode(self._body))))
        elif method == b"GET":
            self._answer(b"200 OK", self._users.read(known[0], name).encode())
        else:
            self._answer(b"200 OK", encode(self._users.update(*known, name, decode(self._body))))

    def _answer(self, status: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)


async def serve(users: Users, keys: dict[str, tuple[str, str]], listener: socket.socket) -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(lambda: Connection(users, keys), sock=listener)
    print(f"Bare is ready at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await stop.wait()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    users = Users(arguments.data / "bare.db")
    token = os.environ["BENCH_TOKEN"].encode()
    keys = {hashlib.sha256(token).hexdigest(): (new_id("prj_"), new_id("ak_"))}
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # as `userfold/server.py` has it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(users, keys, listener))


if __name__ == "__main__":
    main()
