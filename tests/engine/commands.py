"""Strategies for commands of few users and few names, so that they collide.

Users, sessions, sign-ins, segments and attributes that were made are written `#0`, `#1` … and, the last user that was
deleted, `deleted`. `Made` puts in the ids.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from userfold.core.applied import Applied
from userfold.core.claims import names_of
from userfold.core.commands import (
    AboutSession,
    AcceptTotp,
    AddAddress,
    AssignSegment,
    BrowserEvent,
    Command,
    CreateAttribute,
    CreateKey,
    CreateProject,
    CreateSegment,
    CreateUser,
    DeleteAttribute,
    DeleteSegment,
    DeleteUser,
    EarlierAnswer,
    Edit,
    Edits,
    ExpireSessions,
    ImportUser,
    LeaveDeletedSegment,
    MarkPassword,
    MirrorDeletion,
    MirrorUser,
    NoteActivity,
    Once,
    Operate,
    RecordEvent,
    RecordFromSession,
    RemoveAddress,
    RemoveImage,
    RenewSharedSecret,
    RenewTotpSecret,
    Resendable,
    RevokeKey,
    RevokeSignIn,
    RevokeSignIns,
    SetImage,
    SignInUser,
    StartSession,
    UnassignSegment,
    UpdateFromSession,
    UpdateProject,
    UpdateSegment,
    UpdateUser,
    UpsertUser,
    UseBackupCode,
    UserLine,
)
from userfold.core.image_names import image_name
from userfold.core.merge import MODES
from userfold.core.operations import OPERATIONS
from userfold.core.records import (
    ApiKey,
    AttributeDefinition,
    Change,
    Image,
    Key,
    Operation,
    Presence,
    Project,
    Secrets,
    Segment,
    Session,
    User,
)
from userfold.core.trust import Author

PROJECT = "prj_1"

BACKEND = Author(source="native", actor="key_1", trust="backend", request_id="req_1")
BROWSER = Author(source="milana", actor="ses_1", trust="browser")
VERIFIED = Author(
    source="client", actor="ses_2", trust="verified", signed=frozenset({"/public_metadata/a", "/username"})
)


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of the strategies, each as often as its number says (`one_of` takes equal branches for one)."""
    return st.sampled_from([choice for weight, choice in choices for _ in range(weight)]).flatmap(lambda drawn: drawn)


authors = st.sampled_from([BACKEND, BACKEND, BROWSER, VERIFIED])
user_ids = st.sampled_from(["#0", "#1", "#2", "#0", "#1", "#2", "#3", "u1", "deleted"])
external_ids = st.sampled_from(["e1", "e1", "e2", "e2", "e3", "u1", "#0"])
versions = st.none() | st.none() | st.none() | st.lists(st.integers(1, 4), max_size=2).map(tuple)
modes = st.sampled_from(["merge_patch", "merge_patch", *sorted(MODES)])

BAGS: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": 1.0},
    {"a": None, "b": True},
    {"a": {"b": [1, {}]}, "c/d": "\0"},
    {"a": {"b": None, "a": -0.0}},
    {"b": ["x", None]},
    {"b": ["x", "y", None], "c/d": ""},
]
# Single draws keep examples small: a document is a few of these.
VALUES: dict[str, list[Any]] = {
    "external_id": ["e1", "e2", "e3", "u1", "#0", None],
    "name": ["Ada", "Zoë", None],
    "username": ["ada", "Ada", "zoë", None],
    "email_addresses": [["a@x.org"], ["A@X.org", "b@x.org"], ["c@x.org"], []],
    "phone_numbers": [["+442079460958"], ["+44 20 7946 0958"], []],
    "contact_email": ["a@x.org", "not an address", None],
    "disabled": [False, True],
    "public_metadata": BAGS,
    "unsafe_metadata": BAGS,
    "traits": BAGS,
}
FAULTY: list[tuple[str, Any]] = [
    ("unheard_of", 1),
    ("name", 5),
    ("name", "x" * 256),
    ("version", 99),
    ("traits", None),
    ("traits", {"a": "x" * 70_000}),
]
fields = weighted(
    (19, st.sampled_from([(name, value) for name, values in VALUES.items() for value in values])),
    (1, st.sampled_from(FAULTY)),
)
documents = st.lists(fields, max_size=4).map(dict)
nameless_documents = documents.map(lambda document: {k: v for k, v in document.items() if k != "external_id"})


OPERATION_LISTS: list[list[dict[str, Any]]] = [
    [{"op": "increment", "path": "/traits/n", "by": 1}],
    [{"op": "increment", "path": "/traits/n", "by": -0.5}, {"op": "max", "path": "/traits/n", "value": 0}],
    [{"op": "test", "path": "/name", "value": "Ada"}, {"op": "set", "path": "/name", "value": "Zoë"}],
    [{"op": "set_once", "path": "/traits/first/seen", "value": [1, None]}],
    [{"op": "union", "path": "/public_metadata/list", "values": ["x", "y"]}],
    [{"op": "append", "path": "/unsafe_metadata/list", "values": ["x"]}],
    [{"op": "remove", "path": "/traits/a"}],
    [{"op": "unset", "path": "/public_metadata/a"}, {"op": "add", "path": "/public_metadata/b", "value": {}}],
    [{"op": "copy", "from": "/traits", "path": "/unsafe_metadata/copy"}],
    [{"op": "set", "path": "/disabled", "value": True}],
    [{"op": "replace", "path": "/email_addresses", "value": ["a@x.org", "c@x.org"]}],
    [{"op": "set", "path": "/version", "value": 9}],
    [],
]
RENAMING = [{"op": "set", "path": "/external_id", "value": "e1"}]
operates = st.builds(Operate, st.sampled_from(OPERATION_LISTS), st.just(tuple(OPERATIONS)))


def edits_of(documents: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Edits]:
    """One or two edits."""
    return st.lists(st.builds(Edit, modes, documents), min_size=1, max_size=2).map(tuple)


addressed = st.tuples(
    st.builds(
        AddAddress,
        st.just("email_addresses"),
        st.sampled_from(["a@x.org", "c@x.org", "nothing"]),
        verified=st.booleans(),
        primary=st.booleans(),
        alone=st.booleans(),
    )
    | st.sampled_from([RemoveAddress("email_addresses", "idn_x"), AddAddress("phone_numbers", "+442079460958")])
)

_PROJECT = Project(id=PROJECT, name="One", product_id="prd_1", created_at=1)


def _key(number: int) -> ApiKey:
    return ApiKey(id=f"key_{number}", project_id=PROJECT, kind="secret", name="k", token_digest="ab", created_at=1)


def of_project(make: Any, **fields: Any) -> st.SearchStrategy[Command]:
    """Commands made by `make`."""
    return st.builds(make, project_id=st.just(PROJECT), **fields)


DIGEST, OTHER_DIGEST = "$2b$10$" + "a" * 53, "$2b$10$" + "b" * 53
digests = st.sampled_from([msgspec.UNSET, msgspec.UNSET, msgspec.UNSET, DIGEST, OTHER_DIGEST, None, "no digest"])


def _line(user_id: str, *, first_change: int = 0, versions: int = 1, enabled: bool = False, **fields: Any) -> UserLine:
    """A user with a history of its own, whose changes are numbered."""
    user = User(id=user_id, created_at=1, updated_at=versions, version=versions, password_enabled=enabled, **fields)
    told = {name: value for name, value in msgspec.to_builtins(user).items() if name not in ("version", "updated_at")}
    told["external_id_aliases"] = list(user.external_id_aliases)
    changes = tuple(
        Change(
            id=f"chg_{first_change + number}",
            user_id=user_id,
            version=number,
            at=number,
            source="native",
            actor="key_1",
            trust="backend",
            request_id="",
            operations=tuple(Operation(op="add", path=f"/{name}", new=value) for name, value in told.items()),
        )
        for number in range(1, versions + 1)
    )
    names = names_of(user)
    set_by = {name: "browser" if name.startswith("external_id|") else "backend" for name in names}
    return UserLine(user=user, names=names, set_by=set_by, changes=changes)


LINES = [
    _line("u1"),
    _line("u1", versions=3, external_id="e1", external_id_aliases=("e2",), username="Ada"),
    _line("u1", first_change=10, usercom_id=7, enabled=True),
    _line("u2", first_change=20, versions=2, external_id="e2", traits={"a": 1.0}),
    _line("u2", first_change=10, usercom_id=7),
    _line("e1", first_change=30, external_id="e1"),
]
LINES += [
    msgspec.structs.replace(
        _line("u1", first_change=10, usercom_id=7, enabled=True, totp_enabled=True),
        secrets=Secrets(id="u1", password_digest=DIGEST, totp_secret="t", totp_step=2, version=5),
        presence=Presence(id="u1", last_active_at=1_700_000_000_000, page_views=2),
    )
]

new_ids = st.sampled_from([None, None, None, "u1", "u2", "e1"])
session_ids = st.sampled_from([None, None, None, "#0", "#0", "#1", "#2", "ses_unknown"])
upserted_by_operations = st.builds(
    Operate, st.sampled_from([*OPERATION_LISTS, RENAMING]), st.just(tuple(OPERATIONS))
).map(lambda operate: (operate,))
upserted = weighted((8, edits_of(nameless_documents)), (1, edits_of(documents)), (1, upserted_by_operations))
open_sessions = st.sampled_from(["#0", "#0", "#1", "#2", "ses_unknown"])
about_sessions = st.builds(AboutSession, metadata=st.sampled_from([None, {}, {"a": 1}, {"b": None}]))
browser_events = st.lists(
    st.builds(
        BrowserEvent,
        name=st.sampled_from(["paid", "page_view", ""]),
        properties=st.sampled_from([{}, {"a": 1}]),
        occurred_at=st.sampled_from([1_700_000_000_000, 1_700_000_000_001, 0]),
    ),
    max_size=3,
).map(tuple)
key_ids = st.sampled_from(["key_0", "key_1", "key_2"])
sign_in_ids = st.sampled_from(["#0", "#0", "#1", "#2", "#3", "sis_unknown"])
lifetimes = st.sampled_from([1, 1_000, 86_400_000, 366 * 86_400_000])
signed_in = {"author": st.just(BACKEND), "session_id": st.just("new"), "token_digest": st.just("ab")}
operated = operates.map(lambda operate: (operate,)) | st.tuples(st.builds(Edit, modes, documents), operates)
new_settings = st.sampled_from([None, {}, {"tombstone_days": 1}, {"tombstone_days": -1}, {"unheard_of": 1}])

# The first two are known to the settings of the model test and have no record.
segment_ids = st.sampled_from(["seg_known", "seg_other", "#0", "#0", "#1", "seg_unknown"])
in_segment = {"author": st.just(BACKEND), "user_id": user_ids, "segment_id": segment_ids}
of_segment = {"author": st.just(BACKEND), "segment_id": segment_ids}

attribute_names = st.sampled_from(["n", "c/d"])
attribute_ids = st.sampled_from(["#0", "#0", "#1"])

# What is encrypted is a text like any other to the rules.
of_user = {"user_id": user_ids}
secrets = st.sampled_from(["t", "u"])
totp_secrets = st.sampled_from([msgspec.UNSET, msgspec.UNSET, None, "t", "u"])
CODES = ["$2b$04$" + letter * 53 for letter in "ab"]
backup_codes = st.sampled_from([msgspec.UNSET, msgspec.UNSET, (), (CODES[0],), tuple(CODES)])

# Two pictures, of a time that a deletion may be before or after. The user's id is put into their names.
IMAGES = [
    Image(name="", content_type="image/png", size=70, sha256=digest, width=4, height=2, created_at=at)
    for digest, at in (("aa", 0), ("bb", 1 << 50))
]

_ARRIVED = EarlierAnswer(at=0, was_lost=False)
_RESENDABLES = [Resendable(id_, earlier, resends=False) for id_ in "ab" for earlier in (None, _ARRIVED)]
resendables = st.sampled_from([None, None, *_RESENDABLES])

commands: st.SearchStrategy[Command] = weighted(
    (
        3,
        of_project(
            RecordEvent,
            author=authors,
            user_id=user_ids,
            name=st.sampled_from(["a", "b", ""]),
            properties=st.sampled_from(BAGS),
            session_id=session_ids,
        ),
    ),
    (1, of_project(CreateAttribute, author=st.just(BACKEND), name=attribute_names, type=st.just("string"))),
    (1, of_project(DeleteAttribute, author=st.just(BACKEND), attribute_id=attribute_ids, if_match=versions)),
    (2, of_project(CreateSegment, author=st.just(BACKEND), name=st.sampled_from(["Beta", ""]))),
    (1, of_project(UpdateSegment, **of_segment, name=st.sampled_from(["Beta", "Gamma"]), if_match=versions)),
    (1, of_project(DeleteSegment, **of_segment, if_match=versions)),
    (4, of_project(AssignSegment, **in_segment, if_match=versions)),
    (2, of_project(UnassignSegment, **in_segment, if_match=versions)),
    (2, of_project(LeaveDeletedSegment, **in_segment)),
    (
        4,
        of_project(
            CreateUser,
            author=authors,
            edits=edits_of(documents),
            user_id=new_ids,
            password_digest=digests,
            totp_secret=totp_secrets,
            backup_code_digests=backup_codes,
            replace=st.sampled_from([False, False, True]),
            resendable=resendables,
        ),
    ),
    (
        6,
        of_project(
            UpdateUser,
            author=authors,
            edits=edits_of(documents),
            user_id=user_ids,
            if_match=versions,
            password_digest=digests,
            totp_secret=totp_secrets,
            backup_code_digests=backup_codes,
        ),
    ),
    (3, of_project(ImportUser, author=st.just(BACKEND), line=st.sampled_from(LINES), replace=st.booleans())),
    (
        6,
        of_project(
            UpsertUser,
            author=authors,
            edits=upserted,
            external_id=external_ids,
            session_id=session_ids,
            if_match=versions,
        ),
    ),
    (2, of_project(SetImage, author=authors, user_id=user_ids, image=st.sampled_from(IMAGES), if_match=versions)),
    (1, of_project(RemoveImage, author=authors, user_id=user_ids, if_match=versions)),
    (1, of_project(MarkPassword, author=authors, **of_user, compromised=st.booleans(), sign_out=st.booleans())),
    (2, of_project(AcceptTotp, author=st.just(BACKEND), **of_user, secret=secrets, step=st.integers(1, 3))),
    (2, of_project(UseBackupCode, author=st.just(BACKEND), **of_user, digest=st.sampled_from(CODES))),
    (1, of_project(RenewTotpSecret, author=st.just(BACKEND), **of_user, stored=secrets, renewed=secrets)),
    (2, of_project(DeleteUser, author=authors, user_id=user_ids, if_match=versions)),
    (
        3,
        of_project(
            MirrorUser,
            author=st.just(BACKEND),
            user_id=user_ids,
            edits=edits_of(documents),
            changed_at=st.integers(1, 3),
            told_at=st.integers(1, 2),
            password_digest=digests,
        ),
    ),
    (1, of_project(MirrorDeletion, author=st.just(BACKEND), user_id=user_ids)),
    (1, of_project(StartSession, author=authors)),
    (1, of_project(StartSession, author=authors, resumes=open_sessions, about=about_sessions)),
    (
        5,
        of_project(
            UpdateFromSession,
            author=authors,
            session_id=open_sessions,
            external_id=st.one_of(st.none(), external_ids),
            edits=edits_of(nameless_documents),
            about=about_sessions,
        ),
    ),
    (
        3,
        of_project(
            RecordFromSession,
            author=authors,
            session_id=open_sessions,
            events=browser_events,
            ends=st.sampled_from([False, False, False, True]),
        ),
    ),
    (1, of_project(ExpireSessions, author=st.just(BACKEND), keys=st.just(()))),
    (1, of_project(RenewSharedSecret, author=st.just(BACKEND), key_id=key_ids, stored=secrets, renewed=secrets)),
    (1, of_project(RevokeKey, author=st.just(BACKEND), key_id=key_ids)),
    (3, of_project(UpdateUser, author=authors, edits=operated, user_id=user_ids, if_match=versions)),
    (2, of_project(UpdateUser, author=authors, edits=addressed, user_id=user_ids, if_match=versions)),
    (
        4,
        of_project(
            SignInUser,
            **signed_in,
            user_id=user_ids,
            lifetime_ms=lifetimes,
            ip_address=st.sampled_from([None, "::1", "::2"]),
        ),
    ),
    (3, of_project(RevokeSignIn, author=st.just(BACKEND), session_id=sign_in_ids)),
    (1, of_project(RevokeSignIns, author=st.just(BACKEND), user_id=user_ids)),
    (2, of_project(NoteActivity, author=st.just(BACKEND), user_id=user_ids)),
    (
        1,
        of_project(
            UpdateProject, author=st.just(BACKEND), name=st.sampled_from([None, "Two", ""]), settings=new_settings
        ),
    ),
)
# Few keys and few requests, so that twins meet, and requests that are not twins.
onces = st.builds(Once, st.sampled_from(["idk_1", "idk_2"]), st.sampled_from(["ab", "ab", "cd"]))


def _once(command: Command, once: Once | None) -> Command:
    return msgspec.structs.replace(command, once=once)


def command_lists(max_size: int) -> st.SearchStrategy[list[Command]]:
    """Lists of commands in which keys and the project are made at most once: no API can wish to make one again."""
    made: list[Command] = [CreateKey(project_id=PROJECT, author=BACKEND, key=_key(number)) for number in range(3)]
    made.append(CreateProject(project_id=PROJECT, author=BACKEND, project=_PROJECT))
    once = weighted((3, st.none()), (1, onces))
    one = weighted((19, st.builds(_once, commands, once)), (1, st.sampled_from(made)))
    short, long = st.lists(one, min_size=1, max_size=6), st.lists(one, min_size=max_size // 2, max_size=max_size)
    return (short | long).map(_each_key_once)


def _each_key_once(drawn: list[Command]) -> list[Command]:
    made = (CreateKey, CreateProject)
    return [command for i, command in enumerate(drawn) if not (isinstance(command, made) and command in drawn[:i])]


class Made:
    """The ids that commands made so far, and that later ones may name."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.sessions: list[str] = []
        self.sign_ins: list[str] = []  # also those of deleted users
        self.segments: list[str] = []  # also deleted ones
        self.attributes: list[str] = []  # also deleted ones
        self.deleted = "nobody"

    def note(self, command: Command, applied: Applied) -> None:
        """What a command came to."""
        if isinstance(command, DeleteUser | MirrorDeletion):
            self.deleted = command.user_id
            self.users = [user_id for user_id in self.users if user_id != command.user_id]
        elif applied.created and applied.user is not None and applied.user.id not in self.users:
            self.users.append(applied.user.id)
        elif isinstance(applied.record, Session) and applied.record.id not in self.sessions:
            self.sessions.append(applied.record.id)
        elif isinstance(command, CreateSegment) and isinstance(applied.record, Segment):
            self.segments.append(applied.record.id)
        elif isinstance(command, CreateAttribute) and isinstance(applied.record, AttributeDefinition):
            self.attributes.append(applied.record.id)

    def resolved(self, command: Command) -> Command:
        """`command` with the ids of what was made in place of `#0`, `#1` … and `deleted`."""
        ids: dict[str, Any] = {}
        for name in ("user_id", "external_id"):
            if hasattr(command, name):
                ids[name] = self._user(getattr(command, name))
        if isinstance(command, UpsertUser | RecordEvent):
            ids["session_id"] = self._session(command.session_id)
        if isinstance(command, UpdateFromSession | RecordFromSession):
            ids["session_id"] = self._session(command.session_id) or "ses_unknown"
        if isinstance(command, StartSession):
            ids["resumes"] = self._session(command.resumes)
        if isinstance(command, ExpireSessions):
            ids["keys"] = tuple(Key("session", command.project_id, id_) for id_ in self.sessions)
        if isinstance(command, SetImage):
            name = image_name(ids["user_id"], "img_01m7zvgwjn3gg1x0fanetqa3a0", "png")
            ids["image"] = msgspec.structs.replace(command.image, name=name)
        if isinstance(command, SignInUser):
            ids["session_id"] = f"sis_{len(self.sign_ins):04d}"
            self.sign_ins.append(ids["session_id"])
        if isinstance(command, RevokeSignIn) and command.session_id.startswith("#") and self.sign_ins:
            ids["session_id"] = _counted(command.session_id, self.sign_ins)
        if hasattr(command, "segment_id") and command.segment_id.startswith("#") and self.segments:
            ids["segment_id"] = _counted(command.segment_id, self.segments)
        if isinstance(command, DeleteAttribute) and self.attributes:
            ids["attribute_id"] = _counted(command.attribute_id, self.attributes)
        if hasattr(command, "edits"):
            ids["edits"] = tuple(
                Edit(edit.mode, self._document(edit.document)) if isinstance(edit, Edit) else edit
                for edit in command.edits
            )
        return msgspec.structs.replace(command, **ids)

    def _user(self, name: str | None) -> str | None:
        if name == "deleted":
            return self.deleted
        return _counted(name, self.users) if name is not None and name.startswith("#") and self.users else name

    def _session(self, name: str | None) -> str | None:
        if name is None or not name.startswith("#"):
            return name
        return _counted(name, self.sessions) if self.sessions else None

    def _document(self, document: dict[str, Any]) -> dict[str, Any]:
        if "external_id" not in document:
            return document
        return {**document, "external_id": self._user(document["external_id"])}


def _counted(name: str, made: list[str]) -> str:
    """`#5` of three is the third: they are counted in a circle."""
    return made[int(name[1:]) % len(made)]
