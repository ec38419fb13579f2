"""The rule about a user that comes from an export: written as it is, if nothing of it belongs to somebody else."""

from __future__ import annotations

import msgspec

from userfold.core.applied import Applied
from userfold.core.claims import identifier_key, keys_of_external_id, user_to_replace
from userfold.core.commands import ImportUser, UserLine
from userfold.core.errors import ChangeIdTaken, IdentifierTaken, LimitReached
from userfold.core.ids import Mint
from userfold.core.presence import presence_key
from userfold.core.reading import Records, Writes, read_all
from userfold.core.records import Change, EffectiveSettings, Identifier, Key, Operation, Segment
from userfold.core.segment_rules import SEGMENTS_MAX
from userfold.core.user_rules import removal
from userfold.core.user_secrets import fields_without_secrets

_EXTERNAL = "external_id|"


def import_user(command: ImportUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    project_id, user = command.project_id, command.line.user
    old = user_to_replace(project_id, user.id, records)
    if old is not None and not command.replace:
        raise IdentifierTaken(path="/id")
    claimed = _claims(project_id, command.line, records) | _missing_segments(command, records, mint, settings)
    _refuse_changes_of_others(project_id, command.line, records)
    writes: Writes = {} if old is None else removal(project_id, old, records)
    writes |= claimed
    line = _without_secrets(command, mint)
    writes |= {Key("change", project_id, change.id): change for change in line.changes}
    writes[Key("user", project_id, user.id)] = line.user
    if line.presence is not None:
        writes[presence_key(project_id, user.id)] = line.presence
    if line.secrets is not None:
        writes[Key("secrets", project_id, user.id)] = line.secrets
    return Applied(writes=writes, user=line.user, created=old is None)


def reads_imported(command: ImportUser) -> tuple[Key, ...]:
    project_id, line = command.project_id, command.line
    return (
        *keys_of_external_id(project_id, line.user.id),
        *(identifier_key(project_id, name) for name in line.names),
        *_namesakes(project_id, line),
        *(Key("change", project_id, change.id) for change in line.changes),
        Key("secrets", project_id, line.user.id),
        presence_key(project_id, line.user.id),
        *(Key("segment", project_id, id_) for id_ in line.segments),
    )


def _claims(project_id: str, line: UserLine, records: Records) -> Writes:
    """The writes that make the identifiers the user's own. Raises `IdentifierTaken`."""
    keys = {identifier_key(project_id, name): path for name, path in line.names.items()}
    for path, holder in zip(keys.values(), read_all(records, [*keys]), strict=True):
        if isinstance(holder, Identifier) and holder.user_id != line.user.id:
            raise IdentifierTaken(path=path)
    namesakes = _namesakes(project_id, line)
    for path, namesake in zip(namesakes.values(), read_all(records, [*namesakes]), strict=True):
        if namesake is not None:
            raise IdentifierTaken(path=path)
    return {
        key: Identifier(identifier=name, user_id=line.user.id, set_by=line.set_by[name])
        for key, name in zip(keys, line.names, strict=True)
    }


def _missing_segments(command: ImportUser, records: Records, mint: Mint, settings: EffectiveSettings) -> Writes:
    """The segments that the user is in and the project does not have yet."""
    project_id, names = command.project_id, command.line.segments
    keys = [Key("segment", project_id, id_) for id_ in names]
    missing = [key for key, found in zip(keys, read_all(records, keys), strict=True) if found is None]
    if missing and len(settings.segments) >= SEGMENTS_MAX:
        raise LimitReached(what="segments in this project", count_max=SEGMENTS_MAX)
    return {
        key: Segment(id=key.id, project_id=project_id, name=names[key.id], created_at=mint.now, updated_at=mint.now)
        for key in missing
    }


def _namesakes(project_id: str, line: UserLine) -> dict[Key, str]:
    """Where another user would be whose own id is an external_id of this one, and the path of that external_id."""
    named = {name.removeprefix(_EXTERNAL): path for name, path in line.names.items() if name.startswith(_EXTERNAL)}
    return {Key("user", project_id, value): path for value, path in named.items() if value != line.user.id}


def _refuse_changes_of_others(project_id: str, line: UserLine, records: Records) -> None:
    keys = [Key("change", project_id, change.id) for change in line.changes]
    for index, known in enumerate(read_all(records, keys)):
        if isinstance(known, Change) and known.user_id != line.user.id:
            raise ChangeIdTaken(path=f"/changes/{index}/id")


def _without_secrets(command: ImportUser, mint: Mint) -> UserLine:
    """The line with one change more if its secrets did not come along: the user must not say that it has any."""
    line, author = command.line, command.author
    now = mint.after(line.user.updated_at)
    fields = {} if line.secrets is not None else fields_without_secrets(line.user, now)
    if not fields:
        return line
    user = msgspec.structs.replace(line.user, **fields, updated_at=now, version=line.user.version + 1)
    change = Change(
        id=mint.id("chg_"),
        user_id=user.id,
        version=user.version,
        at=now,
        source=author.source,
        actor=author.actor,
        trust=author.trust,
        request_id=author.request_id,
        operations=tuple(
            Operation(op="replace", path=f"/{name}", old=getattr(line.user, name), new=value)
            for name, value in fields.items()
        ),
    )
    return msgspec.structs.replace(line, user=user, changes=(*line.changes, change))
