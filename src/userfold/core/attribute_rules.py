"""The rules about attributes themselves: how a project says what a key of traits holds."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from userfold.core import identifiers
from userfold.core.applied import Applied
from userfold.core.attributes import CHOICES_MAX, TYPES, WITH_CHOICES
from userfold.core.commands import Command, CreateAttribute, DeleteAttribute, UpdateAttribute
from userfold.core.errors import AttributeExists, AttributeNotFound, FieldInvalid, LimitReached
from userfold.core.fields import description, normal
from userfold.core.ids import ENTROPY_BITS, Mint, make_id
from userfold.core.reading import Records, match_version, read
from userfold.core.records import AttributeDefinition, AttributeType, EffectiveSettings, Key

ATTRIBUTES_MAX = 500  # of a project


def create_attribute(command: CreateAttribute, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    name = normal(identifiers.label, command.name, "/name")
    if command.type not in TYPES:
        raise FieldInvalid(path="/type", reason=f"one of {', '.join(TYPES)} is needed")
    attribute = AttributeDefinition(
        id=attribute_id(command.project_id, name),
        project_id=command.project_id,
        name=name,
        type=command.type,
        choices=_choices(command.type, command.choices),
        title=_title(command.title),
        description=description(command.description, "/description"),
        created_at=mint.now,
        updated_at=mint.now,
    )
    at = _key(command, attribute.id)
    if read(records, at, AttributeDefinition) is not None:
        raise AttributeExists(path="/name", attribute_id=attribute.id)
    if len(settings.attributes) >= ATTRIBUTES_MAX:
        raise LimitReached(what="attributes in this project", count_max=ATTRIBUTES_MAX)
    return Applied(writes={at: attribute}, record=attribute, created=True)


def update_attribute(command: UpdateAttribute, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    before = _existing(records, command, command.attribute_id)
    match_version(before.version, command.if_match)
    after = before
    if command.choices is not UNSET:
        after = msgspec.structs.replace(after, choices=_choices(before.type, command.choices))
    if command.title is not UNSET:
        after = msgspec.structs.replace(after, title=_title(command.title))
    if command.description is not UNSET:
        after = msgspec.structs.replace(after, description=description(command.description, "/description"))
    if after == before:
        return Applied(writes={}, record=before)
    after = msgspec.structs.replace(after, updated_at=mint.after(before.updated_at), version=before.version + 1)
    return Applied(writes={_key(command, after.id): after}, record=after)


def delete_attribute(command: DeleteAttribute, records: Records, mint: Mint, settings: EffectiveSettings) -> Applied:
    before = _existing(records, command, command.attribute_id)
    match_version(before.version, command.if_match)
    return Applied(writes={_key(command, before.id): None}, record=before)


def attribute_id(project_id: str, name: str) -> str:
    """The id of the attribute of that name. It is made of the name, so that there can be no second one."""
    number = int(identifiers.digest(project_id, f"attribute|{name}")[:32], 16)
    return make_id("attr_", number >> ENTROPY_BITS, number)


def reads_new_attribute(command: CreateAttribute) -> tuple[Key, ...]:
    return (_key(command, attribute_id(command.project_id, command.name)),) if isinstance(command.name, str) else ()


def reads_attribute(command: UpdateAttribute | DeleteAttribute) -> tuple[Key, ...]:
    return (_key(command, command.attribute_id),)


def _existing(records: Records, command: Command, id_: str) -> AttributeDefinition:
    attribute = read(records, _key(command, id_), AttributeDefinition)
    if attribute is None:
        raise AttributeNotFound(attribute_id=id_)
    return attribute


def _choices(type_: AttributeType, given: tuple[str, ...]) -> tuple[str, ...]:
    if type_ not in WITH_CHOICES:
        if given:
            raise FieldInvalid(path="/choices", reason=f"an attribute of type {type_} has none")
        return ()
    if not 0 < len(given) <= CHOICES_MAX:
        raise FieldInvalid(path="/choices", reason=f"1 to {CHOICES_MAX} choices are needed")
    choices = tuple(normal(identifiers.label, choice, f"/choices/{index}") for index, choice in enumerate(given))
    for index, choice in enumerate(choices):
        if choice in choices[:index]:
            raise FieldInvalid(path=f"/choices/{index}", reason="it stands in the list twice")
    return choices


def _title(given: str | None) -> str | None:
    return None if given is None else normal(identifiers.label, given, "/title")


def _key(command: Command, id_: str) -> Key:
    return Key("attribute", command.project_id, id_)
