"""`userfold keys add-webhook` and `userfold import --from clerk`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api.clerk.deliveries import SECRET, address, clerk_user
from tests.cli.inside import Inside, add_project

BCRYPT = "$2b$10$" + "a" * 53
ADA = clerk_user("user_a", email_addresses=[address("idn_1", "ada@example.com")])
EVE = clerk_user("user_e", email_addresses=[address("idn_1", "eve@example.com")])


def lines(*users: Any) -> str:
    return "".join(json.dumps(user) + "\n" for user in users)


def imported(inside: Inside, *users: Any, options: tuple[str, ...] = ()) -> str:
    done = inside.run("import", "-", "--from", "clerk", *options, stdin=lines(*users))
    assert done.status == 0, done.err
    return done.err


def shown(inside: Inside, user_id: str) -> Any:
    return inside.ok("users", "show", user_id, "--json").json()


def test_users_of_clerk_come_with_their_ids(inside: Inside) -> None:
    assert imported(inside, ADA, EVE) == "2 users imported, 0 updated, 0 left alone.\n"
    user = shown(inside, "user_a")
    assert user["email_addresses"][0]["email_address"] == "ada@example.com"
    assert (user["created_at"], user["private_metadata"]) == (ADA["created_at"], {"stripe": "cus_1"})


def test_it_may_be_run_again_and_takes_over_only_what_is_newer(inside: Inside) -> None:
    imported(inside, ADA)
    inside.ok("users", "update", "user_a", '{"first_name": "Here"}')
    assert imported(inside, ADA, EVE) == "1 user imported, 0 updated, 1 left alone.\n"
    assert shown(inside, "user_a")["first_name"] == "Here"
    newer = {**ADA, "updated_at": ADA["updated_at"] + 1, "first_name": "There"}
    assert imported(inside, newer) == "0 users imported, 1 updated, 0 left alone.\n"
    assert shown(inside, "user_a")["first_name"] == "There"
    inside.ok("users", "delete", "user_e", "--yes")
    assert imported(inside, EVE) == "0 users imported, 0 updated, 1 left alone.\n"


def test_passwords_come_from_the_export_of_the_dashboard(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "clerk.csv"
    head = "id,first_name,password_digest,password_hasher\n"
    rows = f"user_a,Ada,{BCRYPT},bcrypt\nuser_e,Eve,md5digest,md5\nuser_x,,,\n"
    file.write_text(head + rows)
    said = imported(inside, ADA, EVE, options=("--passwords", str(file)))
    assert said.startswith("userfold: 1 password cannot be verified here")
    assert [shown(inside, id_)["password_enabled"] for id_ in ("user_a", "user_e")] == [True, False]
    assert "md5digest" not in said
    assert BCRYPT not in said


def test_who_came_by_a_webhook_gets_the_password_all_the_same(inside: Inside, tmp_path: Path) -> None:
    imported(inside, ADA)
    file = tmp_path / "clerk.csv"
    file.write_text(f"id,password_digest\nuser_a,{BCRYPT}\n")
    assert imported(inside, ADA, options=("--passwords", str(file))).startswith("0 users imported, 1 updated")
    assert shown(inside, "user_a")["password_enabled"] is True


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--from", "auth0"), "--from takes clerk"),
        (("--passwords", "x.csv"), "for --from clerk"),
        (("--from", "clerk", "--skip"), "neither --skip nor --replace"),
        (("--from", "clerk", "--passwords", "missing.csv"), "cannot be read"),
    ],
)
def test_wrong_use_is_named(inside: Inside, options: tuple[str, ...], says: str) -> None:
    status, said = inside.refused("import", "-", *options, stdin=lines(ADA))
    assert status == 2
    assert says in said


def test_a_file_without_the_columns_is_no_export_of_clerk(inside: Inside, tmp_path: Path) -> None:
    file = tmp_path / "clerk.csv"
    file.write_text("a,b\n1,2\n")
    status, said = inside.refused("import", "-", "--from", "clerk", "--passwords", str(file), stdin=lines(ADA))
    assert (status, "no columns id and password_digest" in said) == (2, True)


def test_a_line_that_cannot_be_taken_is_named(inside: Inside) -> None:
    done = inside.run(
        "import", "-", "--from", "clerk", stdin=lines(ADA, {**EVE, "email_addresses": ADA["email_addresses"]})
    )
    assert done.status == 1
    assert "line 2: The value at /email_addresses/0 already belongs to another user." in done.err
    assert "the same command goes on once it is mended" in done.err
    done = inside.run("import", "-", "--from", "clerk", stdin='{"id": 5}\n')
    assert (done.status, "line 1" in done.err, "/id" in done.err) == (1, True, True)


def test_a_webhook_key_is_added_listed_and_revoked_and_its_secret_not_shown(inside: Inside) -> None:
    id_ = inside.ok("keys", "add-webhook", "Clerk", stdin=f"{SECRET}\n").out.strip()
    (key,) = [key for key in inside.ok("keys", "list", "--json").json() if key["kind"] == "webhook"]
    assert (key["id"], key["name"], "verifier" in key) == (id_, "Clerk", False)
    assert SECRET[6:] not in inside.ok("keys", "list").out + inside.ok("keys", "list", "--json").out
    assert not any(SECRET[6:].encode() in path.read_bytes() for path in inside.data.iterdir() if path.is_file())
    inside.ok("keys", "revoke", id_)
    made = inside.ok("keys", "add-webhook", "Clerk", "--json", stdin=SECRET).json()
    assert (made["kind"], "verifier" in made, "token_digest" in made) == ("webhook", False, False)


@pytest.mark.parametrize("secret", ["", "whsec_", "sk_123", "whsec_!!!!"])
def test_what_is_no_signing_secret_is_refused(inside: Inside, secret: str) -> None:
    status, said = inside.refused("keys", "add-webhook", "Clerk", stdin=secret)
    assert status == 2
    assert "the signing secret is not usable" in said


def test_with_several_projects_one_is_named(inside: Inside, tmp_path: Path) -> None:
    second = add_project(tmp_path / "data", "second")
    assert inside.refused("keys", "add-webhook", "Clerk", stdin=SECRET)[0] == 2
    made = inside.ok("keys", "add-webhook", "Clerk", "--project", second, "--json", stdin=SECRET).json()
    assert made["project_id"] == second
