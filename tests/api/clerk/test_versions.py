"""What depends on the version of Clerk's API, and lists of what there is none of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server import InProcess
from userfold.api.clerk.wire import API_VERSIONS, METADATA_APART

OLDER = [None, *sorted(API_VERSIONS - {METADATA_APART})]
KINDS = ("public_metadata", "private_metadata", "unsafe_metadata")


def user(api: InProcess, **parameters: Any) -> str:
    made: str = api.ask("POST", "/clerk/v1/users", parameters).json()["id"]
    return made


def versioned(version: str | None) -> dict[str, str]:
    return {} if version is None else {"clerk-api-version": version}


@pytest.mark.parametrize("version", OLDER)
@pytest.mark.parametrize("kind", KINDS)
def test_before_metadata_had_routes_of_its_own_an_update_replaced_the_kinds_that_it_named(
    api: InProcess, version: str | None, kind: str
) -> None:
    path = f"/clerk/v1/users/{user(api, **{name: {'a': 1, 'b': {'c': 2}} for name in KINDS})}"
    replaced = api.ask("PATCH", path, {kind: {"b": {"d": None}}}, headers=versioned(version)).json()
    assert replaced[kind] == {"b": {"d": None}}
    assert all(replaced[other] == {"a": 1, "b": {"c": 2}} for other in KINDS if other != kind)
    assert api.ask("PATCH", path, {kind: None}, headers=versioned(version)).json()[kind] == {}
    wrong = api.ask("PATCH", path, {kind: [1]}, headers=versioned(version))
    (error,) = wrong.json()["errors"]
    assert (wrong.status_code, error["code"], error["meta"]) == (422, "form_param_value_invalid", {"param_name": kind})


@pytest.mark.parametrize("kind", KINDS)
def test_since_then_an_update_refuses_them_and_changes_nothing(api: InProcess, kind: str) -> None:
    id_ = user(api, first_name="Ada")
    before = api.writes
    body = {"first_name": "Eve", kind: {"a": 1}}
    for asked, headers in (("", versioned(METADATA_APART)), (f"?__clerk_api_version={METADATA_APART}", {})):
        reply = api.ask("PATCH", f"/clerk/v1/users/{id_}{asked}", body, headers=headers)
        (error,) = reply.json()["errors"]
        assert (reply.status_code, error["code"], error["meta"]) == (422, "form_param_unknown", {"param_name": kind})
        assert "/users/{id}/metadata" in error["long_message"]
    assert api.writes == before


@pytest.mark.parametrize("kind", ["organization_memberships", "organization_invitations"])
def test_nobody_belongs_to_an_organization(api: InProcess, kind: str) -> None:
    path = f"/clerk/v1/users/{user(api)}/{kind}"
    for query in ("", "?limit=5&offset=1", "?status=pending"):
        assert api.ask("GET", path + query).json() == {"data": [], "total_count": 0}
    assert api.ask("GET", path + "?limit=501").status_code == 422
    assert api.ask("GET", f"/clerk/v1/users/user_x/{kind}").status_code == 404
