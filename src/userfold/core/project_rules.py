"""The rules about a project itself: its settings and its keys, and what commands see of all that it defines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.commands import CreateKey, CreateProject, NoteKeyUse, RenewSharedSecret, RevokeKey, UpdateProject
from userfold.core.diff import escape
from userfold.core.errors import FieldInvalid, FieldUnknown, KeyNotFound, ProjectNotFound
from userfold.core.fields import normal
from userfold.core.ids import Mint
from userfold.core.reading import Records, Writes, match_version, read
from userfold.core.records import (
    ApiKey,
    AttributeDefinition,
    EffectiveSettings,
    Key,
    Project,
    ProjectSettings,
    Record,
    Segment,
)

USE_NOTED_EVERY_MS = 60_000


def effective_settings(
    projects: Iterable[Project],
    segments: Sequence[Record],
    attributes: Sequence[Record],
    keys: Iterable[ApiKey] = (),
) -> dict[str, EffectiveSettings]:
    """{project id: its settings as commands see them}. `keys`: those that are not revoked."""
    alive: dict[str, set[str]] = defaultdict(set)
    for segment in segments:
        if isinstance(segment, Segment) and segment.deleted_at is None:
            alive[segment.project_id].add(segment.id)
    defined: dict[str, dict[str, AttributeDefinition]] = defaultdict(dict)
    for attribute in attributes:
        if isinstance(attribute, AttributeDefinition):
            defined[attribute.project_id][attribute.name] = attribute
    mirroring = {key.project_id for key in keys if key.kind == "webhook"}
    return {
        project.id: EffectiveSettings(
            **msgspec.structs.asdict(project.settings),
            segments=frozenset(alive[project.id]),
            attributes=defined[project.id],
            mirrors=project.id in mirroring,
        )
        for project in projects
    }


def create_project(command: CreateProject, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project = command.project
    normal(identifiers.label, project.name, "/name")
    writes: Writes = {Key("project", project.id, project.id): project}
    writes |= {Key("api_key", project.id, key.id): key for key in command.keys}
    return Applied(writes=writes, record=project)


def update_project(command: UpdateProject, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    at = Key("project", command.project_id, command.project_id)
    before = read(records, at, Project)
    if before is None:
        raise ProjectNotFound
    match_version(before.version, command.if_match)
    after = msgspec.structs.replace(
        before,
        name=before.name if command.name is None else normal(identifiers.label, command.name, "/name"),
        settings=_changed_settings(before.settings, command.settings or {}),
    )
    if after == before:
        return Applied(writes={}, record=before)
    after = msgspec.structs.replace(after, version=before.version + 1)
    return Applied(writes={at: after}, record=after)


def _changed_settings(before: ProjectSettings, given: dict[str, Any]) -> ProjectSettings:
    for name in given:
        if name not in ProjectSettings.__struct_fields__:
            raise FieldUnknown(path=f"/settings/{escape(name[:255])}")
    try:
        return msgspec.convert({**msgspec.to_builtins(before), **given}, ProjectSettings)
    except msgspec.ValidationError as error:
        raise FieldInvalid(path="/settings", reason=str(error)) from None


def create_key(command: CreateKey, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    normal(identifiers.label, command.key.name, "/name")
    return Applied(writes={Key("api_key", command.project_id, command.key.id): command.key}, record=command.key)


def revoke_key(command: RevokeKey, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    at = Key("api_key", command.project_id, command.key_id)
    key = read(records, at, ApiKey)
    if key is None:
        raise KeyNotFound(key_id=command.key_id)
    if key.revoked_at is not None:
        return Applied(writes={}, record=key)
    revoked = msgspec.structs.replace(key, revoked_at=mint.now, verifier=None, version=key.version + 1)
    return Applied(writes={at: revoked}, record=revoked)


def renew_shared_secret(
    command: RenewSharedSecret, records: Records, mint: Mint, settings: EffectiveSettings
) -> Applied:
    at = Key("api_key", command.project_id, command.key_id)
    key = read(records, at, ApiKey)
    if key is None:
        raise KeyNotFound(key_id=command.key_id)
    if key.verifier != command.stored:
        return Applied(writes={}, record=key)
    renewed = msgspec.structs.replace(key, verifier=command.renewed, version=key.version + 1)
    return Applied(writes={at: renewed}, record=renewed)


def note_key_use(command: NoteKeyUse, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    at = Key("api_key", command.project_id, command.key_id)
    key = read(records, at, ApiKey)
    if key is None:
        raise KeyNotFound(key_id=command.key_id)
    if key.last_used_at is not None and mint.now < key.last_used_at + USE_NOTED_EVERY_MS:
        return Applied(writes={}, record=key)
    used = msgspec.structs.replace(key, last_used_at=mint.now, version=key.version + 1)
    return Applied(writes={at: used}, record=used)


def reads_project(command: UpdateProject) -> tuple[Key, ...]:
    return (Key("project", command.project_id, command.project_id),)


def reads_key(command: RevokeKey | NoteKeyUse | RenewSharedSecret) -> tuple[Key, ...]:
    return (Key("api_key", command.project_id, command.key_id),)
