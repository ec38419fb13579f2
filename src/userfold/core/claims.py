"""Identifiers: which values name a user, how they are claimed and freed, and what a deleted user's keep closed."""

from __future__ import annotations

from collections.abc import Sequence

from userfold.core import identifiers
from userfold.core.errors import IdentifierTaken, UserDeleted
from userfold.core.ids import Mint
from userfold.core.reading import Records, Writes, existing_user, read_all
from userfold.core.records import Identifier, Key, ProjectSettings, Tombstone, User
from userfold.core.trust import Author

DAY_MS = 86_400_000
USERCOM_ID_BITS = 53  # what a JavaScript number holds exactly
_USERCOM_IDS_TRIED = 256
_NAMING_FIELDS = ("email_addresses", "phone_numbers", "username", "external_id", "usercom_id")


def identifiers_of(user: User) -> dict[str, str]:
    """{identifier in its normal form: the path where it stands}."""
    names = {f"email|{a.email_address}": f"/email_addresses/{i}" for i, a in enumerate(user.email_addresses)}
    names |= {f"phone|{n.phone_number}": f"/phone_numbers/{i}" for i, n in enumerate(user.phone_numbers)}
    if user.username is not None:
        names[f"username|{identifiers.username(user.username)}"] = "/username"
    if user.external_id is not None:
        names[f"external_id|{user.external_id}"] = "/external_id"
    if user.usercom_id is not None:
        names[f"usercom_id|{user.usercom_id}"] = "/usercom_id"
    return names


def names_of(user: User) -> dict[str, str]:
    """{every identifier that names the user: the path where it stands}: what it has, and what it had."""
    aliases = {f"external_id|{a}": f"/external_id_aliases/{i}" for i, a in enumerate(user.external_id_aliases)}
    return aliases | identifiers_of(user)


def claim_identifiers(project_id: str, before: User | None, after: User, author: Author, records: Records) -> Writes:
    """The writes that make `after`'s identifiers its own and free those it gave up. Raises `IdentifierTaken`."""
    if before is not None and all(getattr(before, field) is getattr(after, field) for field in _NAMING_FIELDS):
        return {}
    old = identifiers_of(before) if before is not None else {}
    new = identifiers_of(after)
    gained = {name: path for name, path in new.items() if name not in old}
    lost = [name for name in old if name not in new]
    if not gained and not lost:
        return {}
    kept = {f"external_id|{alias}" for alias in after.external_id_aliases}
    freed = [identifier_key(project_id, name) for name in lost if name not in kept]
    id_gained = after.external_id if f"external_id|{after.external_id}" in gained else None
    # What is freed is read too: in the same batch somebody else may claim it, and then the row is not a new one.
    keys = [*(identifier_key(project_id, name) for name in gained), *freed]
    namesake = [] if id_gained in (None, after.id) else [Key("user", project_id, str(id_gained))]
    holders = read_all(records, keys + namesake)
    # A `userId` that equals a user's id names that user, so nobody else may have it as external_id.
    if namesake and holders[-1] is not None:
        raise IdentifierTaken(path="/external_id")
    for path, holder in zip(gained.values(), holders, strict=False):
        if isinstance(holder, Identifier) and holder.user_id != after.id:
            raise IdentifierTaken(path=path)
    claimed: Writes = {
        identifier_key(project_id, name): Identifier(identifier=name, user_id=after.id, set_by=author.trust)
        for name in gained
    }
    return claimed | dict.fromkeys(freed)


def keys_of_external_id(project_id: str, external_id: str) -> tuple[Key, Key]:
    """Where to look for the user whom an app calls so: it may use the user's own id."""
    return Key("user", project_id, external_id), identifier_key(project_id, f"external_id|{external_id}")


def user_named(project_id: str, external_id: str, records: Records) -> tuple[Identifier | None, User | None]:
    """The user whom `external_id` names, by its own id or by a claim, and that claim."""
    user, claim = read_all(records, [*keys_of_external_id(project_id, external_id)])
    if isinstance(user, User):
        return None, user
    if isinstance(claim, Identifier):
        return claim, existing_user(records, project_id, claim.user_id)
    return None, None


def refuse_taken_id(project_id: str, user_id: str, records: Records) -> None:
    """Raise `IdentifierTaken` if a user of that id exists, or one whom an app calls so."""
    if user_to_replace(project_id, user_id, records) is not None:
        raise IdentifierTaken(path="/id")


def user_to_replace(project_id: str, user_id: str, records: Records) -> User | None:
    """The user of that id, or None. Raises `IdentifierTaken` if an app calls another one so."""
    user, claim = read_all(records, [*keys_of_external_id(project_id, user_id)])
    if isinstance(claim, Identifier) and claim.user_id != user_id:
        raise IdentifierTaken(path="/id")
    assert user is None or isinstance(user, User)
    return user


def refuse_tombstoned(
    project_id: str, external_id: str | None, records: Records, now: int, settings: ProjectSettings
) -> None:
    """Raise `UserDeleted` while a deleted user of that name keeps it closed to browsers."""
    if external_id is None:
        return
    for tombstone in read_all(records, [*keys_of_tombstones(project_id, external_id)]):
        if isinstance(tombstone, Tombstone):
            until = tombstone.at + settings.tombstone_days * DAY_MS
            if now < until:
                raise UserDeleted(path="/external_id", until=until)


def keys_of_tombstones(project_id: str, external_id: str) -> tuple[Key, Key]:
    """What a deleted user whom a browser names so has left: it may have used the user's own id."""
    named = tombstone_id(project_id, f"external_id|{external_id}")
    return Key("tombstone", project_id, external_id), Key("tombstone", project_id, named)


def free_usercom_id(project_id: str, records: Records, mint: Mint, beside: Sequence[Key] = ()) -> int:
    """An integer below 2^53 that no user of the project has: typed User.com clients need one.

    `beside`: what the caller will look at next, read in the same round.
    """
    mask = (1 << USERCOM_ID_BITS) - 1
    first = mint.entropy >> 80 & mask  # the bits that no id of this command is made of
    tried = 0
    for count in (1, _USERCOM_IDS_TRIED):  # the first is free but for one in many thousand millions
        numbers = [(first + tried + i) & mask or 1 for i in range(count)]
        keys = [identifier_key(project_id, f"usercom_id|{number}") for number in numbers]
        for number, holder in zip(numbers, read_all(records, [*keys, *beside]), strict=False):
            if holder is None:
                return number
        tried += count
    raise AssertionError("no usercom_id is free where the entropy pointed")


def may_adopt(claim: Identifier, user: User, author: Author) -> bool:
    """Whether a backend that names this id takes the record over: so far only browsers have named the user."""
    return author.trust == "backend" and claim.set_by != "backend" and "external_id" not in user.owned


def identifier_key(project_id: str, name: str) -> Key:
    """Where the claim of an identifier is kept."""
    return Key("identifier", project_id, name)


def tombstone_id(project_id: str, name: str) -> str:
    """The id of the tombstone that an identifier leaves."""
    return "sha256:" + identifiers.digest(project_id, name)
