"""What can be asked of the core: frozen data, made by an API, applied by `rules.py`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from userfold.core.records import (
    ApiKey,
    AttributeType,
    Change,
    Context,
    Image,
    Key,
    Presence,
    Project,
    Secrets,
    User,
)
from userfold.core.trust import Author


class Edit(msgspec.Struct, frozen=True):
    """Field values that are to join a user, and the merge mode (a row of `merge.MODES`) by which its bags do."""

    mode: str
    document: dict[str, Any]


class Operate(msgspec.Struct, frozen=True):
    """Operations on a user as the native API shows it, of which those named in `allowed` are known."""

    operations: Any
    allowed: tuple[str, ...]


class AddAddress(msgspec.Struct, frozen=True):
    """One more email address or phone number. The first is primary; `primary`: this one is. `alone`: no other stays."""

    field: Literal["email_addresses", "phone_numbers"]
    value: str
    verified: bool = False
    primary: bool = False
    alone: bool = False


class ChangeAddress(msgspec.Struct, frozen=True):
    """What is said of one address, by its id; None stays. To be primary no more, another one must become it."""

    field: Literal["email_addresses", "phone_numbers"]
    address_id: str
    verified: bool | None = None
    primary: bool | None = None


class ChoosePrimary(msgspec.Struct, frozen=True):
    """Of the user's addresses this one is primary. It must be verified."""

    field: Literal["email_addresses", "phone_numbers"]
    address_id: str


class RemoveAddress(msgspec.Struct, frozen=True):
    """One address less. The last name by which a user signs in, an address or a username, stays."""

    field: Literal["email_addresses", "phone_numbers"]
    address_id: str


AddressEdit = AddAddress | ChangeAddress | ChoosePrimary | RemoveAddress
Edits = tuple[Edit | Operate | AddressEdit, ...]

# Only if the user exists and its version is one of these; "*": whatever its version is; None: no condition.
IfMatch = tuple[int, ...] | Literal["*"] | None


class Unchanged(msgspec.Struct, frozen=True):
    """A condition for those who know no versions: the user was last changed at this time (ms)."""

    updated_at: int


IfUserMatch = IfMatch | Unchanged


# A digest, made before the command because that takes long; or a text, encrypted before it because that takes a key.
# None: remove it; unset: leave it alone.
PasswordDigest = str | None | msgspec.UnsetType
TotpSecret = str | None | msgspec.UnsetType
BackupCodeDigests = tuple[str, ...] | msgspec.UnsetType


class Once(msgspec.Struct, frozen=True):
    """Makes a command idempotent: sent again within a day, it is answered as before and done no second time.

    `id` stands for the credential, the method, the path and the key; `request` for everything else that was sent.
    """

    id: str
    request: str


class SignedClaims(msgspec.Struct, frozen=True):
    """What a token says that a key of the project has signed. Whether it proves anything is judged by `identity`."""

    claims: dict[str, Any]


class SignInToken(msgspec.Struct, frozen=True):
    """The token of a sign-in, as it is known here: whose sign-in it claims to be of, and its digest."""

    session_id: str
    token_digest: str


class BrokenToken(msgspec.Struct, frozen=True):
    """A token that is none, or that no key of the project has signed."""

    reason: str


Evidence = SignedClaims | SignInToken | BrokenToken


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A wish of `author` in one project. Only a user of that project can be seen or changed by it."""

    project_id: str
    author: Author
    once: Once | None = None


class EarlierAnswer(msgspec.Struct, frozen=True):
    """What is known of the answer to an earlier request. After a restart, and in another process, nothing is."""

    at: int  # when it was given (ms); while it is still to come, when it was asked for
    was_lost: bool  # whoever asked had gone before it was given


class Resendable(msgspec.Struct, frozen=True):
    """Lets a creation whose answer was lost be known again when it is sent again."""

    id: str  # stands for who asks and for all that was sent
    earlier: EarlierAnswer | None  # to the same request; None if nothing is known
    resends: bool  # whoever asks is known to send again what it got no answer to


class SetsSecrets(Command, frozen=True, kw_only=True):
    """A command that may also say what proves that somebody is the user."""

    password_digest: PasswordDigest = msgspec.UNSET
    totp_secret: TotpSecret = msgspec.UNSET
    backup_code_digests: BackupCodeDigests = msgspec.UNSET


class CreateUser(SetsSecrets, frozen=True, kw_only=True):
    """Make a user. An external_id that only a browser has claimed so far is adopted with all that it holds.

    With `replace`, a user of the given id gives way to the new one, and leaves nothing but its usercom_id.
    """

    edits: Edits
    user_id: str | None = None  # given by an import, else made here
    created_at: int | None = None
    replace: bool = False
    resendable: Resendable | None = None


class UserLine(msgspec.Struct, frozen=True, kw_only=True):
    """A user as an export holds it. Made by `export_line.read_line`, which checked all that needs no records."""

    user: User
    names: dict[str, str]  # {identifier: the path where it stands}, as `claims.names_of` tells them
    set_by: dict[str, str]  # {identifier: trust level of who claimed it}
    segments: dict[str, str] = {}  # {id: name}, of those that the user is in: made where they are missing
    changes: tuple[Change, ...]  # the whole history
    presence: Presence | None = None
    secrets: Secrets | None = None


class ImportUser(Command, frozen=True, kw_only=True):
    """Take a user over with its history as it is. With `replace`, a user of that id gives way to it."""

    line: UserLine
    replace: bool = False


class UpdateUser(SetsSecrets, frozen=True, kw_only=True):
    """Change a user. `created_at` (ms): when it was created elsewhere, before it came here."""

    user_id: str
    edits: Edits
    if_match: IfUserMatch = None
    created_at: int | None = None


class UpsertUser(Command, frozen=True, kw_only=True):
    """Change the user whom `external_id` names, or make it. From a `session_id`, attribution decides what is written.

    A user's own id names it too, as browsers know no other.
    """

    external_id: str
    edits: Edits
    session_id: str | None = None
    if_match: IfMatch = None
    may_create: bool = True  # else an unknown external_id is refused
    evidence: Evidence | None = None  # what a browser shows to prove that it is this user's


class DeleteUser(Command, frozen=True, kw_only=True):
    """Erase a user and its history, free its identifiers, leave a tombstone."""

    user_id: str
    if_match: IfUserMatch = None


class MirrorUser(SetsSecrets, frozen=True, kw_only=True):
    """Take over what another system says of its user, who is made here, with its id, if it is not known yet.

    What is older than what was taken over before changes nothing, and a user who was deleted stays deleted. A password
    is for a user who has none here.
    """

    user_id: str
    edits: Edits
    changed_at: int  # when the user was changed there (ms)
    told_at: int  # when that was said (ms): the order of two changes of one millisecond
    created_at: int | None = None


class MirrorDeletion(Command, frozen=True, kw_only=True):
    """The other system has deleted its user: erase it here, and take over nothing more that is said of it."""

    user_id: str


class MarkPassword(Command, frozen=True, kw_only=True):
    """Say that a password may be somebody else's too, or that it is not. With `sign_out`, all sign-ins end."""

    user_id: str
    if_match: IfUserMatch = None
    compromised: bool
    sign_out: bool = False


class AcceptTotp(Command, frozen=True, kw_only=True):
    """Accept a code of time step `step`, which whoever asks has found to be right for this `secret` (encrypted)."""

    user_id: str
    secret: str
    step: int


class UseBackupCode(Command, frozen=True, kw_only=True):
    """Accept a backup code, which whoever asks has found to be the one of this digest. It is used up then."""

    user_id: str
    digest: str


class RenewTotpSecret(Command, frozen=True, kw_only=True):
    """Keep a TOTP secret as `renewed`: the same one, encrypted with another key. If it is not `stored`, it stays."""

    user_id: str
    stored: str
    renewed: str


class SetImage(Command, frozen=True, kw_only=True):
    """Give a user a picture, whose bytes are stored already. If they are those of the one it has, nothing changes."""

    user_id: str
    image: Image
    if_match: IfUserMatch = None


class RemoveImage(Command, frozen=True, kw_only=True):
    """Take a user's picture away. If there is none, nothing changes."""

    user_id: str
    if_match: IfUserMatch = None


class AboutSession(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser says of its tracking session; what is None stays.

    `metadata` and `integrations` join what is there: of each top-level key the last value wins.
    """

    environment: str | None = None
    release: str | None = None
    app_session_id: str | None = None
    metadata: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    context: Context | None = None


class StartSession(Command, frozen=True, kw_only=True):
    """Go on with the tracking session `resumes`, or begin one that belongs to nobody yet.

    What is unknown, of another project, over or of a deleted user is not gone on with. `forced`: it is sampled,
    whatever the project's rate is.
    """

    resumes: str | None = None
    about: AboutSession = AboutSession()
    forced: bool = False


class UpdateFromSession(Command, frozen=True, kw_only=True):
    """What a browser says in its tracking session: of the user whom it names, of the session itself, or of both.

    All of it is done, or nothing. The user is made if there is none of that name.
    """

    session_id: str
    external_id: str | None = None
    edits: Edits = ()
    about: AboutSession = AboutSession()
    forced: bool = False
    may_create: bool = True  # else an unknown external_id is refused
    evidence: Evidence | None = None  # what the browser shows to prove that it is this user's


class BrowserEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done in a tracking session at `occurred_at` (ms, by the browser's clock)."""

    name: str
    properties: dict[str, Any]
    occurred_at: int


class RecordFromSession(Command, frozen=True, kw_only=True):
    """Note what was done in a tracking session; `ends`: it is over then.

    An event that cannot be kept is left out, and one that was noted before is not noted again.
    """

    session_id: str
    events: tuple[BrowserEvent, ...] = ()
    ends: bool = False


class ExpireSessions(Command, frozen=True, kw_only=True):
    """End those of these tracking sessions that were idle for long; remove what ended long ago and is nobody's."""

    keys: tuple[Key, ...]


class SignInUser(Command, frozen=True, kw_only=True):
    """Begin a sign-in of a user: for `lifetime_ms`, whoever shows the token of this digest is that user.

    The id is given, because the token names it.
    """

    user_id: str
    session_id: str
    token_digest: str
    lifetime_ms: int
    ip_address: str | None = None
    user_agent: str | None = None


class RevokeSignIn(Command, frozen=True, kw_only=True):
    """End one sign-in. Ending it again changes nothing."""

    session_id: str


class RevokeSignIns(Command, frozen=True, kw_only=True):
    """End all sign-ins of a user."""

    user_id: str


class NoteActivity(Command, frozen=True, kw_only=True):
    """Note that a user is active. That of one who was so a moment ago changes nothing."""

    user_id: str


class RecordEvent(Command, frozen=True, kw_only=True):
    """Note that a user did something, now or at `occurred_at` (ms)."""

    user_id: str
    name: str
    properties: dict[str, Any] = {}
    occurred_at: int | None = None
    session_id: str | None = None  # a tracking session of this user


class CreateSegment(Command, frozen=True, kw_only=True):
    """Make a segment, which has no users yet."""

    name: str
    description: str | None = None


class UpdateSegment(Command, frozen=True, kw_only=True):
    """Change a segment's name or description; what is `UNSET` stays."""

    segment_id: str
    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    if_match: IfMatch = None


class DeleteSegment(Command, frozen=True, kw_only=True):
    """Delete a segment. Its users are still in it until they have left it, each in a change of its own."""

    segment_id: str
    if_match: IfMatch = None


class AssignSegment(Command, frozen=True, kw_only=True):
    """Put a user into a segment. If it is in it, nothing changes."""

    user_id: str
    segment_id: str
    if_match: IfMatch = None


class UnassignSegment(Command, frozen=True, kw_only=True):
    """Take a user out of a segment. If it is not in it, nothing changes."""

    user_id: str
    segment_id: str
    if_match: IfMatch = None


class LeaveDeletedSegment(Command, frozen=True, kw_only=True):
    """Take a user out of a segment that was deleted. If there is nothing to take out, nothing changes."""

    user_id: str
    segment_id: str


class CreateAttribute(Command, frozen=True, kw_only=True):
    """Say what the key `name` of traits holds, from now on."""

    name: str
    type: AttributeType
    choices: tuple[str, ...] = ()
    title: str | None = None
    description: str | None = None


class UpdateAttribute(Command, frozen=True, kw_only=True):
    """Change what is said of an attribute; what is `UNSET` stays. Its name and its type are for good."""

    attribute_id: str
    choices: tuple[str, ...] | UnsetType = UNSET
    title: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    if_match: IfMatch = None


class DeleteAttribute(Command, frozen=True, kw_only=True):
    """Say nothing more of a key of traits. Its values stay."""

    attribute_id: str
    if_match: IfMatch = None


class CreateProject(Command, frozen=True, kw_only=True):
    """Make a project and its first keys."""

    project: Project
    keys: tuple[ApiKey, ...] = ()


class UpdateProject(Command, frozen=True, kw_only=True):
    """Change a project's name or settings; what is None or not named stays."""

    name: str | None = None
    settings: dict[str, Any] | None = None
    if_match: IfMatch = None


class Forget(Command, frozen=True, kw_only=True):
    """Remove what nobody needs any more: of these records, those whose time is over or whose user is gone."""

    keys: tuple[Key, ...]


class CreateKey(Command, frozen=True, kw_only=True):
    """Add a key to a project."""

    key: ApiKey


class NoteKeyUse(Command, frozen=True, kw_only=True):
    """Remember that a key has been in use until now, to the minute."""

    key_id: str


class RenewSharedSecret(Command, frozen=True, kw_only=True):
    """Keep the secret of an identity key as `renewed`: encrypted with another key. If it is not `stored`, it stays."""

    key_id: str
    stored: str
    renewed: str


class RevokeKey(Command, frozen=True, kw_only=True):
    """Make a key useless from now on. Revoking it again changes nothing. What it verified by is kept no longer."""

    key_id: str
