"""`userfold encryption`, and a server whose keys give way to others."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pyotp
import pytest

from tests.cli.inside import Inside, with_store
from tests.cli.test_doctor import about, looked
from tests.server import serving
from userfold.encryption import Encryption, new_key, read_keys
from userfold.key_rotation import pages_of_totp_secrets, shared_secrets
from userfold.storage.sqlite.store import SQLiteStore

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def with_totp(inside: Inside, *ids: str, **settings: str) -> None:
    """Users of these ids get a TOTP secret."""
    lines = [json.dumps({"user": {"id": id_}, "secrets": {"totp_secret": SECRET}}) for id_ in ids]
    assert inside.run("import", "-", stdin="\n".join(lines), **settings).status == 0


def encrypted(inside: Inside) -> dict[str, str]:
    """{user: its secret, as it is stored}."""

    async def work(store: SQLiteStore) -> dict[str, str]:
        pages = [page async for page in pages_of_totp_secrets(store)]
        return {secrets.id: str(secrets.totp_secret) for page in pages for _, secrets in page}

    found: dict[str, str] = with_store(inside.data, work)
    return found


def test_a_first_start_makes_a_key_that_only_its_owner_can_read_and_the_next_one_keeps_it(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    with serving(tmp_path / "data") as server, server.client() as client:
        key = file.read_text()
        made = client.post("/clerk/v1/users", json={"totp_secret": SECRET, "backup_codes": ["first-code"]}).json()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key.strip() not in server.log() + server.output
    for path in (tmp_path / "data").iterdir():
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    with serving(tmp_path / "data") as server, server.client() as client:
        assert file.read_text() == key
        code = {"code": pyotp.TOTP(SECRET).now()}
        reply = client.post(f"/clerk/v1/users/{made['id']}/verify_totp", json=code)
    assert (reply.status_code, reply.json()) == (200, {"verified": True, "code_type": "totp"})


def test_a_key_of_the_environment_needs_no_file(tmp_path: Path) -> None:
    with serving(tmp_path / "data", USERFOLD_ENCRYPTION_KEY=new_key()) as server, server.client() as client:
        assert client.post("/clerk/v1/users", json={"totp_secret": SECRET}).status_code == 200
    assert not (tmp_path / "data" / "secret.key").exists()


def test_a_key_gives_way_to_another_while_users_keep_their_secrets(inside: Inside) -> None:
    file = inside.data / "secret.key"
    with_totp(inside, *(f"user_{number:03}" for number in range(105)))
    (old,) = read_keys(file)
    done = inside.ok("encryption", "add-key")
    assert done.out.startswith(f"{file} begins with a new key.")
    new, also = read_keys(file)
    assert also == old
    assert about(looked(inside.data), "encryption").state == "warning"
    with_totp(inside, "user_after")
    assert inside.ok("encryption", "rotate", "--json").json() == {"renewed": 105, "current": 1, "unreadable": []}
    assert inside.ok("encryption", "rotate").out == "0 secrets encrypted anew, 106 were already.\n"
    file.write_text(new + "\n")
    assert {Encryption([new]).decrypt(text) for text in encrypted(inside).values()} == {SECRET}
    assert about(looked(inside.data), "encryption").state == "ok"


@pytest.mark.parametrize("kind", ["identity", "webhook"])
def test_what_others_sign_with_is_encrypted_anew_too_and_what_they_sign_stays_good(inside: Inside, kind: str) -> None:
    if kind == "identity":
        secret = inside.ok("keys", "create", "backend", "--identity").out.strip()
    else:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        inside.ok("keys", "add-webhook", "Clerk", stdin=secret)
    file = inside.data / "secret.key"
    inside.ok("encryption", "add-key")
    assert about(looked(inside.data), "encryption").state == "warning"
    assert inside.ok("encryption", "rotate", "--json").json() == {"renewed": 1, "current": 0, "unreadable": []}
    new = read_keys(file)[0]
    file.write_text(new + "\n")
    assert about(looked(inside.data), "encryption").state == "ok"
    (key,) = with_store(inside.data, shared_secrets)
    assert Encryption([new]).decrypt(key.verifier) == secret
    file.unlink()
    assert "cannot be read without it" in about(looked(inside.data), "encryption").says
    inside.ok("encryption", "add-key")
    done = inside.run("encryption", "rotate")
    assert (done.status, done.err) == (1, f"userfold: none of the keys can read the secrets of {key.id}\n")
    inside.ok("keys", "revoke", key.id)
    assert about(looked(inside.data), "encryption").state == "ok", "a revoked key has nothing to read any more"


def test_a_rotation_leaves_no_trace_in_history_and_none_in_versions(inside: Inside) -> None:
    with_totp(inside, "user_a")
    before = inside.ok("users", "show", "user_a", "--history", "--json").json()
    inside.ok("encryption", "add-key")
    inside.ok("encryption", "rotate")
    assert inside.ok("users", "show", "user_a", "--history", "--json").json() == before


def test_what_no_key_can_read_is_named_and_the_rest_is_done(inside: Inside) -> None:
    file = inside.data / "secret.key"
    with_totp(inside, "user_lost")
    file.unlink()
    with_totp(inside, "user_kept")
    inside.ok("encryption", "add-key")
    done = inside.run("encryption", "rotate")
    assert (done.status, done.out) == (1, "1 secret encrypted anew, 0 were already.\n")
    assert done.err == "userfold: none of the keys can read the secrets of user_lost\n"
    finding = about(looked(inside.data), "encryption")
    assert (finding.state, finding.says) == ("failed", "none of the keys can read 1 of 2 secrets")


def test_the_doctor_notices_that_the_key_is_missing_or_no_key(inside: Inside) -> None:
    file = inside.data / "secret.key"
    assert about(looked(inside.data), "encryption").says == "there is no key yet, and nothing is encrypted"
    with_totp(inside, "user_a")
    key = file.read_text()
    file.write_text("no key")
    assert about(looked(inside.data), "encryption").state == "failed"
    file.unlink()
    finding = about(looked(inside.data), "encryption")
    assert (finding.state, "cannot be read without it" in finding.says) == ("failed", True)
    assert not file.exists()  # it changes nothing
    assert about(looked(inside.data, {"USERFOLD_ENCRYPTION_KEY": new_key()}), "encryption").state == "failed"
    assert (
        about(looked(inside.data, {"USERFOLD_ENCRYPTION_KEY": f"{new_key()},{key}"}), "encryption").state == "warning"
    )
    file.write_text("no key")
    inside.run("users", "delete", "user_a", "--yes")
    assert about(looked(inside.data), "encryption").state == "failed"


def test_a_key_file_that_is_no_key_file_is_left_alone(inside: Inside) -> None:
    file = inside.data / "secret.key"
    file.write_text("no key")
    status, reason = inside.refused("encryption", "add-key")
    assert (status, reason) == (1, f"{file} must hold encryption keys, one a line, and nothing else")
    assert file.read_text() == "no key"
    assert inside.refused("encryption", "rotate")[0] == 1


def test_a_first_key_can_be_made_by_hand(inside: Inside) -> None:
    inside.ok("encryption", "add-key")
    assert len(read_keys(inside.data / "secret.key")) == 1


def test_a_printed_key_is_one_for_the_environment(inside: Inside) -> None:
    key = inside.ok("encryption", "new-key").out.strip()
    with_totp(inside, "user_a", USERFOLD_ENCRYPTION_KEY=key)
    assert Encryption([key]).decrypt(encrypted(inside)["user_a"]) == SECRET
    status, reason = inside.refused("encryption", "add-key", USERFOLD_ENCRYPTION_KEY=key)
    assert (status, key in reason) == (2, False)


@pytest.mark.parametrize(
    "value",
    ["a", "x" * 44, "é" * 43 + "=", f"{new_key()};{new_key()}"],
    ids=["short", "no padding", "letters", "semicolon"],
)
def test_what_is_no_key_is_refused_without_being_repeated(inside: Inside, value: str) -> None:
    status, reason = inside.refused("doctor", USERFOLD_ENCRYPTION_KEY=value)
    assert (status, "USERFOLD_ENCRYPTION_KEY must hold keys" in reason) == (2, True)
    assert len(value) < 2 or value not in reason


def test_an_export_with_secrets_goes_to_a_database_with_another_key_and_comes_back_the_same(
    inside: Inside, tmp_path: Path
) -> None:
    with_totp(inside, "user_a")
    file = tmp_path / "users.ndjson"
    assert inside.run("export", str(file), "--with-secrets").status == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["secrets"]["totp_secret"] == SECRET
    other = {"USERFOLD_ENCRYPTION_KEY": new_key()}
    assert inside.run("import", str(file), "--replace", **other).status == 0
    assert inside.run("export", "-", "--with-secrets", **other).out == file.read_text()
    status, reason = inside.refused("export", str(tmp_path / "again.ndjson"), "--with-secrets")
    assert (status, "a key that is not among those given" in reason) == (1, True)
