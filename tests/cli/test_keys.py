"""`userfold keys` beside a running server, and the other things that a person asks the command line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.inside import Inside, add_project
from tests.identity import elliptic_key, pem_of, private_pem_of
from tests.server import Server, serving, userfold, wait_until
from userfold import __version__


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("keys") / "data") as server:
        yield server


def keys(server: Server, *arguments: str) -> str:
    """What a `userfold keys` command printed."""
    done = userfold("keys", *arguments, "--data", server.data)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def status(server: Server, key: str) -> int:
    with server.client(key) as client:
        return client.get("/v1/users/nobody").status_code


def listed(server: Server, name: str) -> dict[str, Any]:
    (found,) = [key for key in json.loads(keys(server, "list", "--json")) if key["name"] == name]
    assert isinstance(found, dict)
    return found


def test_a_key_made_beside_the_server_works_and_once_revoked_does_not(server: Server) -> None:
    printed = keys(server, "create", "for a test")
    assert re.fullmatch(r"sk_[A-Za-z0-9_-]{43}\n", printed)
    token = printed.strip()
    wait_until(lambda: status(server, token) == 404, "the server takes the new key")
    with server.client(token) as client:
        user = client.post("/v1/users", json={}).json()
        (change,) = client.get(f"/v1/users/{user['id']}/history").json()["data"]
    key = listed(server, "for a test")
    assert change["actor"] == key["id"]
    assert key["revoked_at"] is None
    assert keys(server, "revoke", key["id"]) == f"{key['id']} is revoked.\n"
    wait_until(lambda: status(server, token) == 401, "the server refuses the revoked key")
    assert listed(server, "for a test")["revoked_at"] >= key["created_at"]
    assert status(server, server.secret_key) == 404
    keys(server, "revoke", key["id"])


def test_a_publishable_key_is_made_on_request_and_opens_nothing(server: Server) -> None:
    token = keys(server, "create", "for browsers", "--publishable").strip()
    assert re.fullmatch(r"key_[0-9a-f]{32}", token)
    assert listed(server, "for browsers")["kind"] == "publishable"
    assert listed(server, "for browsers")["token"] == token
    assert status(server, token) == 401


def test_a_key_that_may_only_read_is_made_on_request_and_changes_nothing(server: Server) -> None:
    made = json.loads(keys(server, "create", "to read", "--read-only", "--json"))
    assert made == {**listed(server, "to read"), "token": made["token"]}
    assert made["read_only"] is True
    wait_until(lambda: status(server, made["token"]) == 404, "the server takes the new key")
    with server.client(made["token"]) as client:
        assert client.post("/v1/users", json={}).status_code == 403
    (line,) = [line for line in keys(server, "list").splitlines() if "to read" in line]
    assert line.split()[:4] == [made["id"], made["project_id"], "secret", "read"]
    done = userfold("keys", "create", "x", "--read-only", "--publishable", "--data", server.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--read-only is for secret keys" in done.stderr


def test_a_key_needs_a_name(server: Server) -> None:
    before = keys(server, "list")
    for name in ("", "n" * 256):
        done = userfold("keys", "create", name, "--data", server.data)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("userfold: The value at /name")
    assert keys(server, "list") == before


def test_keys_of_one_project_are_listed_on_request(inside: Inside) -> None:
    first = inside.ok("projects", "list", "--json").json()[0]["id"]
    second = add_project(inside.data, "second")

    def owners(*arguments: str) -> list[str]:
        return [key["project_id"] for key in inside.ok("keys", "list", "--json", *arguments).json()]

    assert sorted(owners()) == [first, first, second, second]
    assert owners("--project", second) == [second, second]
    assert len(inside.ok("keys", "list", "--project", first).table()) == 2


def test_a_list_shows_neither_secret_keys_nor_their_digests(server: Server) -> None:
    token = keys(server, "create", "to be listed").strip()
    for arguments in (["list"], ["list", "--json"]):
        printed = keys(server, *arguments)
        assert "first secret key" in printed.replace("\n", " ") or arguments == ["list"]
        for secret in (token, server.secret_key):
            assert secret not in printed
            assert hashlib.sha256(secret.encode()).hexdigest() not in printed
            assert hashlib.sha256(secret.encode()).hexdigest()[:8] not in printed
    assert set(listed(server, "to be listed")) == {
        "id",
        "project_id",
        "kind",
        "name",
        "token",
        "algorithm",
        "read_only",
        "created_at",
        "revoked_at",
        "last_used_at",
        "version",
    }
    assert listed(server, "to be listed")["token"] is None


def test_a_list_shows_ids_whole_because_revoking_asks_for_them(server: Server) -> None:
    key = listed(server, "first secret key")
    printed = keys(server, "list")
    assert key["id"] in printed
    assert key["project_id"] in printed


def test_an_identity_key_shares_a_secret_that_is_shown_once(inside: Inside) -> None:
    secret = inside.ok("keys", "create", "backend", "--identity").out
    assert re.fullmatch(r"ik_[A-Za-z0-9_-]{43}\n", secret)
    listed = inside.ok("keys", "list", "--json")
    (key,) = [key for key in listed.json() if key["kind"] == "identity"]
    assert (key["algorithm"], key["name"], key["token"]) == ("HS256", "backend", None)
    assert "verifier" not in key
    assert secret.strip() not in listed.out + inside.ok("keys", "list").out
    assert "verifies HS256" in inside.ok("keys", "list").out
    made = inside.ok("keys", "create", "other", "--identity", "--json").json()
    assert (made["token"][:3], "verifier" in made) == ("ik_", False)


@pytest.mark.parametrize("on_standard_input", [False, True])
def test_an_identity_key_may_be_a_public_key(inside: Inside, tmp_path: Path, on_standard_input: bool) -> None:
    pem = pem_of(elliptic_key())
    (tmp_path / "public.pem").write_text(pem)
    source, stdin = ("-", pem) if on_standard_input else (str(tmp_path / "public.pem"), "")
    printed = inside.ok("keys", "create", "backend", "--identity", "--public-key", source, stdin=stdin).out.strip()
    (key,) = [key for key in inside.ok("keys", "list", "--json").json() if key["kind"] == "identity"]
    assert (key["id"], key["algorithm"]) == (printed, "ES256")
    assert not (inside.data / "secret.key").exists(), "nothing is secret"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--identity", "--read-only"], "an identity key opens nothing"),
        (["--identity", "--publishable"], "an identity key opens nothing"),
        (["--public-key", "-"], "--public-key is for --identity"),
        (["--identity", "--public-key", "nowhere.pem"], "cannot read nowhere.pem: No such file or directory"),
        (["--identity", "--public-key", "-"], "The value at /public_key is not valid: it is a private key"),
    ],
)
def test_an_identity_key_that_cannot_be_is_refused(inside: Inside, options: list[str], reason: str) -> None:
    private = private_pem_of(elliptic_key())
    before = inside.ok("keys", "list").out
    status, said = inside.refused("keys", "create", "backend", *options, stdin=private)
    assert (status, said.startswith(reason)) == (2, True), said
    assert private.splitlines()[1] not in said
    assert inside.ok("keys", "list").out == before


def test_an_unknown_key_cannot_be_revoked(server: Server) -> None:
    done = userfold("keys", "revoke", "ak_unknown", "--data", server.data)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "userfold: there is no key ak_unknown\n")


def test_an_unknown_project_gets_no_key(server: Server) -> None:
    done = userfold("keys", "create", "x", "--project", "prj_unknown", "--data", server.data)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "userfold: there is no such project\n")
    project_id = listed(server, "first secret key")["project_id"]
    assert keys(server, "create", "x", "--project", project_id).startswith("sk_")


@pytest.mark.parametrize("command", [["list"], ["create", "x"], ["revoke", "ak_x"]], ids=" ".join)
def test_without_a_database_there_are_no_keys_and_none_is_made(tmp_path: Path, command: list[str]) -> None:
    done = userfold("keys", *command, "--data", tmp_path / "data")
    assert done.returncode == 2
    assert "there is no database" in done.stderr
    assert not (tmp_path / "data").exists()


# What else a person asks.


def test_the_version(tmp_path: Path) -> None:
    done = userfold("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
    program = Path(sys.executable).parent / "userfold"
    installed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert installed.stdout == done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["serve", "keys", "Exit codes"]),
        (["serve", "--help"], ["--data", "--database-url", "--host", "--port", "--workers"]),
        (["keys", "--help"], ["list", "create", "revoke"]),
        (["keys", "create", "--help"], ["NAME", "--publishable", "--project"]),
        (["keys", "list", "--help"], ["--json"]),
        (["keys", "revoke", "--help"], ["{ID}", "the key's id"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_help_names_what_there_is(arguments: list[str], words: list[str]) -> None:
    done = userfold(*arguments)
    assert done.returncode == 0
    shown = done.stdout.upper()
    assert not [word for word in words if word.upper() not in shown]


@pytest.mark.parametrize(
    "arguments", [["nope"], ["keys", "nope"], ["keys", "create"], ["keys", "revoke"]], ids=" ".join
)
def test_wrong_use_is_refused(arguments: list[str]) -> None:
    assert userfold(*arguments).returncode == 2
