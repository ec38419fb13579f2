"""`userfold projects`, and how every other command finds the project it works on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.inside import Inside, add_project
from tests.server import serving, userfold, wait_until


def only(inside: Inside) -> dict[str, Any]:
    (project,) = inside.ok("projects", "list", "--json").json()
    assert isinstance(project, dict)
    return project


def test_a_list_has_a_row_for_each_project(inside: Inside) -> None:
    other = add_project(inside.data, "second")
    lines = inside.ok("projects", "list").table()
    projects = inside.ok("projects", "list", "--json").json()
    assert [project["name"] for project in projects] == ["default", "second"]
    assert projects[1]["id"] == other
    for line, project in zip(lines, projects, strict=True):
        assert line.split()[:3] == [project["id"], project["name"], project["product_id"]]


def test_a_project_made_beside_the_server_has_keys_that_open_it_and_nothing_else(inside: Inside) -> None:
    with serving(inside.data, USERFOLD_SECRET_KEY="sk_" + "s" * 43) as server:
        done = userfold("projects", "create", "staging", "--data", inside.data, USERFOLD_SECRET_KEY="sk_" + "s" * 43)
        assert (done.returncode, done.stderr) == (0, "")
        comment, *lines = done.stdout.splitlines()
        keys = dict(line.split("=", 1) for line in lines)
        assert re.fullmatch(r"# project prj_[0-9a-z]{26} \(staging\)", comment)
        # The key of the environment is the first project's; no key opens two.
        assert keys["USERFOLD_SECRET_KEY"] != "sk_" + "s" * 43
        with server.client(keys["USERFOLD_SECRET_KEY"]) as client:
            wait_until(lambda: client.get("/v1/project").status_code == 200, "the server takes the new key")
            project = client.get("/v1/project").json()
            assert (project["name"], project["product_id"]) == ("staging", keys["USERFOLD_PRODUCT_ID"])
            assert project["id"] == comment.split()[2]
            user = client.post("/v1/users", json={}).json()
        default = json.loads(userfold("projects", "list", "--json", "--data", inside.data).stdout)[0]
        listed = userfold("users", "list", "--json", "--project", default["id"], "--data", inside.data)
        assert json.loads(listed.stdout) == []
        assert user["id"] in userfold("users", "list", "--project", project["id"], "--data", inside.data).stdout


def test_a_new_project_as_json_has_its_keys_in_it(inside: Inside) -> None:
    known = only(inside)
    made = inside.ok("projects", "create", "staging", "--json").json()
    assert set(made) == set(known) | {"secret_key", "publishable_key"}
    assert made["secret_key"].startswith("sk_")
    assert made["secret_key"] not in inside.ok("projects", "list", "--json").out


def test_a_project_is_shown_with_its_settings(inside: Inside) -> None:
    project = only(inside)
    shown = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in inside.ok("projects", "show").table())
    assert (shown["id"], shown["name"]) == (project["id"], "default")
    assert shown["settings.tombstone_days"] == "30"
    assert inside.ok("projects", "show", project["id"], "--json").json() == project


def test_what_is_not_named_stays_when_a_project_is_changed(inside: Inside) -> None:
    before = only(inside)
    renamed = inside.ok("projects", "update", "--name", "production", "--json").json()
    assert renamed == {**before, "name": "production", "version": 2}
    changed = inside.ok("projects", "update", "--settings", '{"tombstone_days": 7}', "--json").json()
    assert changed == {**renamed, "settings": {**before["settings"], "tombstone_days": 7}, "version": 3}
    again = inside.ok("projects", "update", before["id"], "--settings", "-", "--json", stdin='{"tombstone_days": 7}')
    assert again.json() == changed
    assert only(inside) == changed
    assert "production" in inside.ok("projects", "update", "--name", "production").out


REFUSED = [
    (["create", ""], 2, "The value at /name does not have the right form"),
    (["create", "n" * 256], 2, "The value at /name"),
    (["update"], 2, "nothing to change: give --name or --settings"),
    (["update", "--name", ""], 2, "The value at /name"),
    (["update", "--settings", "{"], 2, "The body is not valid JSON"),
    (["update", "--settings", "7"], 2, "a JSON object is needed"),
    (["update", "--settings", '{"nope": 1}'], 2, "There is no field at /settings/nope."),
    (["update", "--settings", '{"tombstone_days": -1}'], 2, "The value at /settings is not valid"),
    (["show", "prj_nope"], 2, "there is no such project"),
    (["update", "prj_nope", "--name", "x"], 2, "there is no such project"),
]


@pytest.mark.parametrize(("arguments", "status", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_and_changes_nothing(
    inside: Inside, arguments: list[str], status: int, reason: str
) -> None:
    before = only(inside)
    found = inside.refused("projects", *arguments)
    assert found[0] == status
    assert found[1].startswith(reason)
    assert only(inside) == before


NEED_A_PROJECT = [
    ["users", "list"],
    ["users", "show", "x"],
    ["users", "create", "{}"],
    ["users", "update", "x", "{}"],
    ["users", "disable", "x"],
    ["users", "enable", "x"],
    ["users", "delete", "x", "--yes"],
    ["keys", "create", "x"],
    ["projects", "show"],
    ["projects", "update", "--name", "x"],
]


@pytest.mark.parametrize("command", NEED_A_PROJECT, ids=" ".join)
def test_of_several_projects_one_must_be_named(inside: Inside, command: list[str]) -> None:
    first = only(inside)
    second = add_project(inside.data, "second")
    status, reason = inside.refused(*command)
    assert status == 2
    assert reason == f"name one project with --project: {first['id']} (default), {second} (second)"


def test_a_project_that_is_not_there_is_no_project(inside: Inside) -> None:
    assert inside.refused("users", "list", "--project", "prj_nope") == (2, "there is no such project")
    assert inside.refused("keys", "list", "--project", "prj_nope") == (2, "there is no such project")
