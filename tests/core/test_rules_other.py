"""Sessions, projects and keys."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.core.driver import BACKEND, BROWSER, NOW, PROJECT, Database, after, refusal, run
from userfold.core.commands import CreateKey, CreateProject, RenewSharedSecret, RevokeKey, StartSession, UpdateProject
from userfold.core.ids import make_id
from userfold.core.records import ApiKey, Key, Project, ProjectSettings, Session
from userfold.core.tracking import IDLE_MS

PROJECT_1 = Project(id=PROJECT, name="Shop", product_id="prd_" + "0" * 26, created_at=NOW)
KEY = ApiKey(id="key_1", project_id=PROJECT, kind="secret", name="server", token_digest="00" * 32, created_at=NOW)
OTHER_KEY = msgspec.structs.replace(KEY, id="key_2", kind="publishable")


def revoke(key_id: str, project_id: str = PROJECT) -> RevokeKey:
    return RevokeKey(project_id=project_id, author=BACKEND, key_id=key_id)


def test_a_session_begins_active_and_belongs_to_nobody() -> None:
    records: Database = {}
    applied = run(StartSession(project_id=PROJECT, author=BROWSER), records, now=NOW, entropy=41)
    session = Session(id=make_id("ses_", NOW, 42), created_at=NOW, seen_at=NOW, expires_at=NOW + IDLE_MS)
    assert (session.kind, session.user_id, session.status, session.sampled) == ("tracking", None, "active", True)
    assert applied.record == session
    assert records == {Key("session", PROJECT, session.id): session}
    assert (applied.user, applied.change, applied.created) == (None, None, True)


def test_a_project_is_made_with_its_keys() -> None:
    command = CreateProject(project_id=PROJECT, author=BACKEND, project=PROJECT_1, keys=(KEY, OTHER_KEY))
    records: Database = {}
    assert run(command, records).record == PROJECT_1
    assert records == {
        Key("project", PROJECT, PROJECT): PROJECT_1,
        Key("api_key", PROJECT, "key_1"): KEY,
        Key("api_key", PROJECT, "key_2"): OTHER_KEY,
    }


def test_a_key_is_added() -> None:
    records: Database = {}
    assert run(CreateKey(project_id=PROJECT, author=BACKEND, key=KEY), records).record == KEY
    assert records == {Key("api_key", PROJECT, "key_1"): KEY}


@pytest.mark.parametrize("name", ["", "n" * 256])
def test_a_project_and_a_key_need_a_name(name: str) -> None:
    project, key = msgspec.structs.replace(PROJECT_1, name=name), msgspec.structs.replace(KEY, name=name)
    for command in (
        CreateProject(project_id=PROJECT, author=BACKEND, project=project),
        CreateKey(project_id=PROJECT, author=BACKEND, key=key),
    ):
        assert (refusal(command, {}).code, refusal(command, {}).path) == ("field_format_invalid", "/name")


def test_a_revoked_key_says_since_when() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=KEY))
    applied = run(revoke("key_1"), records, now=NOW + 5)
    revoked = msgspec.structs.replace(KEY, revoked_at=NOW + 5, version=2)
    assert applied.record == revoked
    assert records == {Key("api_key", PROJECT, "key_1"): revoked}


def test_revoking_a_key_again_changes_nothing() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=KEY), revoke("key_1"))
    applied = run(revoke("key_1"), records, now=NOW + 9)
    assert (applied.writes, applied.record) == ({}, msgspec.structs.replace(KEY, revoked_at=NOW, version=2))


IDENTITY_KEY = msgspec.structs.replace(KEY, kind="identity", algorithm="HS256", verifier="encrypted")


def test_what_a_revoked_key_verified_by_is_kept_no_longer() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=IDENTITY_KEY))
    revoked = run(revoke("key_1"), records).record
    assert revoked == msgspec.structs.replace(IDENTITY_KEY, revoked_at=NOW, verifier=None, version=2)


def renew(stored: str, key_id: str = "key_1") -> RenewSharedSecret:
    return RenewSharedSecret(project_id=PROJECT, author=BACKEND, key_id=key_id, stored=stored, renewed="anew")


def test_a_shared_secret_is_encrypted_anew_if_it_is_still_the_one_that_was_read() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=IDENTITY_KEY))
    assert run(renew("another"), records).writes == {}
    renewed = msgspec.structs.replace(IDENTITY_KEY, verifier="anew", version=2)
    assert run(renew("encrypted"), records).record == renewed
    assert records == {Key("api_key", PROJECT, "key_1"): renewed}
    run(revoke("key_1"), records)
    assert run(renew("anew"), records).writes == {}
    assert refusal(renew("anew", "key_9"), records).code == "key_not_found"


def test_a_key_that_is_unknown_or_of_another_project_cannot_be_revoked() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=KEY))
    for command in (revoke("key_9"), revoke("key_1", "prj_2")):
        refused = refusal(command, records)
        assert (refused.code, refused.data) == ("key_not_found", {"key_id": command.key_id})


def change(project_id: str = PROJECT, **values: Any) -> UpdateProject:
    return UpdateProject(project_id=project_id, author=BACKEND, **values)


def shop() -> Database:
    return after(CreateProject(project_id=PROJECT, author=BACKEND, project=PROJECT_1))


CHANGED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "Store"}, {"name": "Store"}),
    ({"settings": {"tombstone_days": 0}}, {"settings": ProjectSettings(tombstone_days=0)}),
    ({"settings": {"tombstone_days": 3650}}, {"settings": ProjectSettings(tombstone_days=3650)}),
    (
        {"name": "Store", "settings": {"tombstone_days": 7}},
        {"name": "Store", "settings": ProjectSettings(tombstone_days=7)},
    ),
]


@pytest.mark.parametrize(("values", "different"), CHANGED, ids=repr)
def test_a_project_is_changed_where_something_is_given_and_stays_elsewhere(
    values: dict[str, Any], different: dict[str, Any]
) -> None:
    records = shop()
    applied = run(change(**values), records)
    after_change = msgspec.structs.replace(PROJECT_1, **different, version=2)
    assert applied.record == after_change
    assert records == {Key("project", PROJECT, PROJECT): after_change}


def test_settings_that_are_not_named_stay_from_one_change_to_the_next() -> None:
    records = shop()
    run(change(settings={"tombstone_days": 7}), records)
    run(change(name="Store"), records)
    applied = run(change(settings={}), records)
    assert isinstance(applied.record, Project)
    assert (applied.record.settings.tombstone_days, applied.record.name, applied.record.version) == (7, "Store", 3)


@pytest.mark.parametrize(
    "values", [{}, {"name": "Shop"}, {"settings": {}}, {"settings": {"tombstone_days": 30}}], ids=repr
)
def test_a_project_that_stays_as_it_is_is_not_written(values: dict[str, Any]) -> None:
    records = shop()
    applied = run(change(**values), records)
    assert (applied.writes, applied.record) == ({}, PROJECT_1)


WRONG_DAYS: list[Any] = [-1, 3651, 1.5, True, "30", None, [], {}]
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "field_format_invalid", "/name"),
    ({"name": "x" * 256}, "field_format_invalid", "/name"),
    ({"name": 5}, "field_invalid", "/name"),
    ({"settings": {"colour": "red"}}, "field_unknown", "/settings/colour"),
    ({"settings": {"a/b": 1}}, "field_unknown", "/settings/a~1b"),
    *(({"settings": {"tombstone_days": days}}, "field_invalid", "/settings") for days in WRONG_DAYS),
    ({"name": "Store", "settings": {"colour": "red"}}, "field_unknown", "/settings/colour"),
]


@pytest.mark.parametrize(("values", "code", "path"), WRONG, ids=lambda value: repr(value)[:60])
def test_a_project_takes_nothing_else(values: dict[str, Any], code: str, path: str) -> None:
    refused = refusal(change(**values), shop())
    assert (refused.code, refused.path) == (code, path)


def test_a_refused_name_of_a_project_is_not_called_an_external_id() -> None:
    assert "external_id" not in str(refusal(change(name=""), shop()))


def test_a_project_that_is_unknown_cannot_be_changed() -> None:
    assert refusal(change("prj_2", name="Store"), shop()).code == "project_not_found"
