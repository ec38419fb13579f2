"""Sessions, projects and keys."""

from __future__ import annotations

import msgspec

from tests.core.driver import BACKEND, BROWSER, NOW, PROJECT, Database, after, refusal, run
from userfold.core.commands import CreateKey, CreateProject, RevokeKey, StartSession
from userfold.core.ids import make_id
from userfold.core.records import ApiKey, Key, Project, Session

PROJECT_1 = Project(id=PROJECT, name="Shop", product_id="prd_" + "0" * 26, created_at=NOW)
KEY = ApiKey(id="key_1", project_id=PROJECT, kind="secret", name="server", token_digest="00" * 32, created_at=NOW)
OTHER_KEY = msgspec.structs.replace(KEY, id="key_2", kind="publishable")


def revoke(key_id: str, project_id: str = PROJECT) -> RevokeKey:
    return RevokeKey(project_id=project_id, author=BACKEND, key_id=key_id)


def test_a_session_begins_active_and_belongs_to_nobody() -> None:
    records: Database = {}
    applied = run(StartSession(project_id=PROJECT, author=BROWSER), records, now=NOW, entropy=41)
    session = Session(
        id=make_id("ses_", NOW, 42), kind="tracking", user_id=None, status="active", created_at=NOW, version=1
    )
    assert applied.record == session
    assert records == {Key("session", PROJECT, session.id): session}
    assert (applied.user, applied.change, applied.created) == (None, None, False)


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


def test_a_key_that_is_unknown_or_of_another_project_cannot_be_revoked() -> None:
    records = after(CreateKey(project_id=PROJECT, author=BACKEND, key=KEY))
    for command in (revoke("key_9"), revoke("key_1", "prj_2")):
        refused = refusal(command, records)
        assert (refused.code, refused.data) == ("key_not_found", {"key_id": command.key_id})
