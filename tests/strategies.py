"""What hypothesis draws from, for every folder of tests: JSON values and their texts, users, commands."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from userfold.core.commands import Command, CreateUser, DeleteUser, Edit, UpdateUser, UpsertUser
from userfold.core.records import EmailAddress, Image, PhoneNumber, User
from userfold.core.trust import Author

PROJECT = "prj_1"
TIME_MS_MAX = 1 << 47

# Any text that JSON can carry: everything but lone surrogates. U+0000 is in.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

# Keys that are often equal, and that hold what JSON, JSON Pointer and our own scanner treat as special.
keys = st.sampled_from(["", "a", "b", "c", "a/b", "~", "~1", '"', "\\", ":", "é", "\0"]) | texts

numbers = (
    st.sampled_from([0, 1, -1, 0.0, -0.0, 1.0, 0.1, 5e-324, 1.7976931348623157e308, 1 << 53, 1 << 64, -(1 << 63) - 1])
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
)

scalars = st.none() | st.booleans() | numbers | texts


def json_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Any JSON value, a few levels deep."""
    return st.recursive(scalars, _containers, max_leaves=max_leaves)


def json_objects(max_leaves: int = 8) -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON object, a few levels deep."""
    return st.dictionaries(keys, json_values(max_leaves), max_size=4)


def _containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=4) | st.dictionaries(keys, children, max_size=4)


def pointers() -> st.SearchStrategy[str]:
    """JSON Pointers that often lead somewhere in what `json_objects` draws, and now and then are none."""
    escaped = keys.map(lambda key: key.replace("~", "~0").replace("/", "~1"))
    parts = escaped | st.sampled_from(["0", "1", "-", "01", "1e0", "-1"])
    paths = st.lists(parts, max_size=3).map(lambda drawn: "".join("/" + part for part in drawn))
    return paths | st.sampled_from(["a", "/~", "/~2", ""])


# What operations have beside a path and a value.
MEMBERS = {
    "move": ["from"],
    "copy": ["from"],
    "unset": [],
    "increment": ["by"],
    "append": ["value", "values"],
    "union": ["value", "values"],
    "pull": ["value", "values"],
}


def operation_lists(
    names: tuple[str, ...], paths: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[list[Any]]:
    """Operations of these names, mostly well formed, on whatever is there."""
    paths = pointers() if paths is None else paths
    members: dict[str, st.SearchStrategy[Any]] = {
        "from": paths,
        "value": json_values(4),
        "values": st.lists(json_values(3), max_size=3) | scalars,
        "by": numbers | scalars,
    }

    def of(name: str) -> st.SearchStrategy[dict[str, Any]]:
        optional = {member: members[member] for member in MEMBERS.get(name, ["value"])}
        return st.fixed_dictionaries({"op": st.just(name), "path": paths}, optional=optional)

    operations = st.sampled_from(names).flatmap(of)
    return st.lists(operations, max_size=4)


def json_texts() -> st.SearchStrategy[bytes]:
    """Valid JSON text as anybody might write it: with blanks and escapes, and with keys that occur twice."""
    literals = st.sampled_from(["null", "true", "false", "0", "-0", "1.50", "-2e3", "4E-2", "123456789012345678901"])
    texts = st.recursive(literals | _string_texts(), _container_texts, max_leaves=15)
    return _between_blanks(texts).map(str.encode)


def _string_texts() -> st.SearchStrategy[str]:
    characters = st.text('ab:"\\{}[],/\n\0é\U0001f600', max_size=5)
    return st.tuples(characters, st.booleans()).map(lambda drawn: json.dumps(drawn[0], ensure_ascii=drawn[1]))


def _container_texts(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(_between_blanks(_string_texts()), _between_blanks(children)).map(":".join)
    lists = st.lists(_between_blanks(children), max_size=3).map(",".join)
    objects = st.lists(members, max_size=4).map(",".join)
    return lists.map(lambda text: f"[{text}]") | objects.map(lambda text: "{" + text + "}")


def _between_blanks(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    blanks = st.sampled_from(["", "", "", " ", "\n", "\t \r"])
    return st.tuples(blanks, texts, blanks).map("".join)


times = st.integers(0, TIME_MS_MAX)
ids = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26)
optional_texts = st.none() | texts


def email_addresses() -> st.SearchStrategy[EmailAddress]:
    return st.builds(
        EmailAddress,
        id=ids.map("idn_".__add__),
        email_address=st.emails(),
        verified=st.booleans(),
        primary=st.booleans(),
        created_at=times,
        updated_at=times,
    )


def phone_numbers() -> st.SearchStrategy[PhoneNumber]:
    return st.builds(
        PhoneNumber,
        id=ids.map("idn_".__add__),
        phone_number=st.integers(10_000_000, 10**14).map(lambda number: f"+{number}"),
        verified=st.booleans(),
        primary=st.booleans(),
        created_at=times,
        updated_at=times,
    )


def images() -> st.SearchStrategy[Image]:
    return st.builds(
        Image,
        name=texts.filter(bool),
        content_type=st.sampled_from(["image/jpeg", "image/png"]),
        size=st.integers(1, 1 << 40),
        sha256=texts,
        width=st.integers(1, 4096),
        height=st.integers(1, 4096),
        created_at=times,
    )


def users() -> st.SearchStrategy[User]:
    """Any user that a store could be asked to keep; the rules may allow fewer."""
    bags = json_objects(max_leaves=6)
    return st.builds(
        User,
        id=ids.map("user_".__add__) | texts.filter(bool),
        external_id=optional_texts,
        usercom_id=st.none() | st.integers(1, (1 << 53) - 1),
        first_name=optional_texts,
        last_name=optional_texts,
        name=optional_texts,
        username=optional_texts,
        email_addresses=st.lists(email_addresses(), max_size=2).map(tuple),
        phone_numbers=st.lists(phone_numbers(), max_size=2).map(tuple),
        contact_email=optional_texts,
        contact_phone=optional_texts,
        locale=optional_texts,
        timezone=optional_texts,
        image=st.none() | images(),
        public_metadata=bags,
        private_metadata=bags,
        unsafe_metadata=bags,
        traits=bags,
        disabled=st.booleans(),
        locked=st.booleans(),
        second_factor_policy=st.sampled_from(["none", "optional", "enforced"]),
        legal_accepted_at=st.none() | times,
        delete_self_enabled=st.booleans(),
        create_organization_enabled=st.booleans(),
        create_organizations_limit=st.none() | st.integers(0, (1 << 31) - 1),
        bypass_client_trust=st.booleans(),
        totp_enabled=st.booleans(),
        second_factor_enabled_at=st.none() | times,
        segments=st.lists(texts, max_size=2).map(tuple),
        owned=st.lists(st.sampled_from(["external_id", "first_name", "name"]), max_size=2, unique=True).map(tuple),
        external_id_aliases=st.lists(texts, max_size=2, unique=True).map(tuple),
        created_at=times,
        updated_at=times,
        version=st.integers(1, 1 << 31),
    )


# A small world in which commands often meet: few users, few names, few values.
USER_IDS = ("user_a", "user_b", "user_c")
EXTERNAL_IDS = ("x", "y", "z")
SESSION_IDS = ("ses_1", "ses_2")

BROWSER = Author(source="milana", actor="ses_1", trust="browser", request_id="req_1")
VERIFIED = Author(source="client", actor="ses_2", trust="verified", request_id="req_2")
SIGNED = Author(
    source="client", actor="ses_2", trust="verified", request_id="req_3", signed=frozenset({"/public_metadata/plan"})
)
BACKEND = Author(source="native", actor="key_1", trust="backend", request_id="req_4")

authors = st.sampled_from([BROWSER, VERIFIED, SIGNED, BACKEND])

_small_values = st.sampled_from([None, 0, 1, 1.0, True, "", "red", [], [1], {}, {"n": None}, {"n": 1}])
_small_bags = st.dictionaries(st.sampled_from(["plan", "a", "b"]), _small_values, max_size=3)
_few_texts = st.sampled_from([None, "Ada", "Grace"])
_names_of_users = st.sampled_from([*EXTERNAL_IDS, *USER_IDS])

# Per field: values that it takes, among them those that mean nothing changes.
FIELD_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "external_id": st.sampled_from([None, *EXTERNAL_IDS, *USER_IDS]),
    "first_name": _few_texts,
    "name": _few_texts,
    "username": st.sampled_from([None, "ada", "Ada", "grace"]),
    "email_addresses": st.lists(st.sampled_from(["ada@example.com", "B@Example.com"]), max_size=2, unique=True),
    "contact_email": st.sampled_from([None, "ada@example.com", "not an address"]),
    "public_metadata": _small_bags,
    "private_metadata": _small_bags,
    "unsafe_metadata": _small_bags,
    "traits": _small_bags,
    "disabled": st.sampled_from([False, False, False, True]),
}

modes = st.sampled_from(["merge_patch", "deep", "replace", "shallow"])


def documents(*without: str) -> st.SearchStrategy[dict[str, Any]]:
    """Field values as a request gives them: mostly accepted, some of them taken, not permitted or twice in a list."""
    fields = {name: values for name, values in FIELD_VALUES.items() if name not in without}
    return st.fixed_dictionaries({}, optional=fields)


def edits(*without: str, edits_max: int = 2) -> st.SearchStrategy[tuple[Edit, ...]]:
    return st.lists(st.builds(Edit, modes, documents(*without)), min_size=1, max_size=edits_max).map(tuple)


def commands(edits_max: int = 2) -> st.SearchStrategy[Command]:
    """Commands about users in the small world. Whoever applies them puts `SESSION_IDS` there first."""
    by_anybody = {"project_id": st.just(PROJECT), "author": authors}
    by_browsers = {"project_id": st.just(PROJECT), "author": st.sampled_from([BROWSER, VERIFIED, SIGNED])}
    versions = st.sampled_from([None, None, None, None, (1,), (2, 3)])
    user_ids = st.sampled_from(USER_IDS)
    all_edits = edits(edits_max=edits_max)
    named = {"external_id": _names_of_users, "edits": edits("external_id", edits_max=edits_max), "if_match": versions}
    return st.one_of(
        st.builds(CreateUser, **by_anybody, edits=all_edits, user_id=st.none() | user_ids),
        st.builds(UpdateUser, **by_anybody, edits=all_edits, user_id=user_ids, if_match=versions),
        st.builds(UpsertUser, **by_anybody, **named),
        st.builds(UpsertUser, **by_browsers, **named, session_id=st.sampled_from([*SESSION_IDS, "ses_unknown"])),
        st.builds(DeleteUser, **by_anybody, user_id=user_ids, if_match=versions),
    )
