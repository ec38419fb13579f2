"""`userfold users`: what an operator asks about users, and changes by hand.

ID is the user's id, or what the app calls the user (its external_id): the two cannot name different users.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail
from userfold.cli.documents import read_document
from userfold.cli.options import DatabaseOption, DataOption, JsonOption, ProjectOption
from userfold.cli.saying import EXIT_USAGE, date, fail, print_json, print_line, print_table
from userfold.core import identifiers, queries
from userfold.core.applied import Applied
from userfold.core.claims import keys_of_external_id
from userfold.core.commands import CreateUser, DeleteUser, Edit, UpdateUser
from userfold.core.errors import UserNotFound, VersionMismatch
from userfold.core.jsontext import encode
from userfold.core.queries import UserQuery
from userfold.core.records import Change, Identifier, Key, Operation, Project, User
from userfold.first_start import OPERATOR

users_cli = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Find, show, make, change, disable and delete users."
)

PAGE_SIZE = 500
# What a person looks a user up by: the kinds of terms to try, one after the other, and the form they are kept in.
LOOKUPS = {
    "email": (("email", "contact_email"), identifiers.email),  # identifiers first, then addresses that users claimed
    "external_id": (("external_id",), identifiers.external_id),
    "username": (("username",), identifiers.username),
}
EMPTY: tuple[Any, ...] = (None, {}, [], ())  # not shown to people
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The user's id, or the app's own id of it.")]
DocumentArgument = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="A JSON merge patch (RFC 7396); - reads it from standard input.")
]


@users_cli.command("list")
def list_users(
    data: DataOption = None,
    database_url: DatabaseOption = None,
    query: Annotated[str | None, typer.Option(metavar="TEXT", help="Any part of a name, address or id.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Exactly this email address.")] = None,
    external_id: Annotated[str | None, typer.Option(metavar="ID", help="Exactly the app's own id.")] = None,
    username: Annotated[str | None, typer.Option(metavar="NAME", help="Exactly this username.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.", min=1)] = 50,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List users, newest first: all, or those who match.

    \b
    Example:  userfold users list --query ada --limit 10
    Prints:   a table: id, the app's id, name, email, made, last changed. With --json a list of whole users.
              If there are more than --limit, standard error says so.
    Exits:    0 done, also if nobody matches; 1 failed; 2 wrong use or setting, no database.
    """
    given = {"email": email, "external_id": external_id, "username": username}
    lookups = [(kind, value) for kind, value in given.items() if value is not None]
    if len(lookups) > 1:
        fail("give only one of --email, --external-id and --username", EXIT_USAGE)
    tried = _terms(*lookups[0]) if lookups else (None,)

    async def work(beside: Beside) -> list[User]:
        owner = await beside.project(project)
        for term in tried:
            terms = None if term is None else (term,)
            wanted = UserQuery(
                project_id=owner.id, any_terms=terms, text=query or None, descending=True, limit=limit + 1
            )
            users = await _pages(beside, wanted)
            if users:
                return users
        return []

    users = beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work)
    _print_users(users[:limit], as_json)
    if len(users) > limit:
        sys.stderr.write(f"There are more; --limit {limit} ends the list here.\n")


@users_cli.command("show")
def show_user(
    user_id: IdArgument,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    history: Annotated[bool, typer.Option("--history", help="Also every change: when, by whom, what.")] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a user, and with --history all that happened to it.

    \b
    Example:  userfold users show user_01jd0c9x2m5k8q7v3t6w4y1z0a --history
    Prints:   its fields, one a line, then its changes, oldest first. With --json the user as the API shows it, its
              changes under `history`.
    Exits:    0 done; 1 failed, no such user; 2 wrong use or setting, no database.
    """

    async def work(beside: Beside) -> tuple[User, list[Change]]:
        owner = await beside.project(project)
        user = await _named(beside, owner, user_id)
        return user, await _history(beside, owner, user) if history else []

    user, changes = beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work)
    if as_json:
        print_json({**msgspec.to_builtins(user), **({"history": changes} if history else {})})
        return
    _print_user(user)
    if history:
        print_line()
        _print_changes(changes)


@users_cli.command("create")
def create_user(
    document: DocumentArgument = "{}",
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user of a JSON document.

    \b
    Example:  userfold users create '{"first_name": "Ada", "email_addresses": ["ada@example.com"]}'
    Prints:   the new user's id, and nothing else; with --json the user, and under `changes` what was written.
    Exits:    0 done; 1 failed, an identifier is taken; 2 wrong use or setting, no database, a field is not valid.
    """
    edits = (Edit("merge_patch", _fields(document)),)

    async def work(beside: Beside) -> Applied:
        owner = await beside.project(project)
        return await beside.run(CreateUser(project_id=owner.id, author=OPERATOR, edits=edits))

    applied = beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work)
    assert applied.user is not None
    if as_json:
        print_json(_with_changes(applied))
    else:
        print_line(applied.user.id)


@users_cli.command("update")
def update_user(
    user_id: IdArgument,
    document: DocumentArgument,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Merge a JSON document into a user: objects merge at every depth, null removes, everything else replaces.

    \b
    Example:  userfold users update 42 '{"public_metadata": {"plan": "pro", "trial": null}}'
    Prints:   what changed, one line each; with --json the user, and under `changes` what was written.
    Exits:    0 done, also if nothing was different; 1 failed, no such user, an identifier is taken, the user is no
              longer at the `version` of the document; 2 wrong use or setting, no database, a field is not valid.
    """
    applied = _update(user_id, _fields(document), project, data=data, database_url=database_url)
    if as_json:
        print_json(_with_changes(applied))
        return
    for operation in applied.change.operations if applied.change else ():
        print_line(_line(operation))
    if applied.change is None:
        print_line("Nothing changed: the user was so already.")


@users_cli.command("disable")
def disable_user(
    user_id: IdArgument,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
) -> None:
    """Disable a user: no sign-in, no update from a browser. Its sign-ins end at once.

    \b
    Example:  userfold users disable 42
    Prints:   that it is disabled, also if it was before.
    Exits:    0 done; 1 failed, no such user; 2 wrong use or setting, no database.
    """
    applied = _update(user_id, {"disabled": True}, project, data=data, database_url=database_url)
    assert applied.user is not None
    print_line(f"{applied.user.id} is disabled.")


@users_cli.command("enable")
def enable_user(
    user_id: IdArgument,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    project: ProjectOption = None,
) -> None:
    """Undo `disable`. Sign-ins that it ended stay ended.

    \b
    Example:  userfold users enable 42
    Prints:   that it is enabled, also if it was before.
    Exits:    0 done; 1 failed, no such user; 2 wrong use or setting, no database.
    """
    applied = _update(user_id, {"disabled": False}, project, data=data, database_url=database_url)
    assert applied.user is not None
    print_line(f"{applied.user.id} is enabled.")


@users_cli.command("delete")
def delete_user(
    user_id: IdArgument,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    project: ProjectOption = None,
) -> None:
    """Erase a user with its history and sign-ins, after asking. This cannot be undone.

    \b
    Example:  userfold users delete user_01jd0c9x2m5k8q7v3t6w4y1z0a
    Prints:   that it is deleted. Its email addresses, username and ids are free again.
    Exits:    0 done; 1 failed, no such user, the answer was no; 2 wrong use or setting, no database,
              nobody to ask and no --yes.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)

    async def find(beside: Beside) -> tuple[Project, User]:
        owner = await beside.project(project)
        return owner, await _named(beside, owner, user_id)

    owner, user = beside_the_server(settings, find)
    if not yes:
        _ask_to_delete(user)

    async def work(beside: Beside) -> None:
        await beside.run(DeleteUser(project_id=owner.id, author=OPERATOR, user_id=user.id))

    beside_the_server(settings, work)
    print_line(f"{user.id} is deleted.")


def _update(user_id: str, fields: dict[str, Any], project: str | None, **given: Any) -> Applied:
    async def work(beside: Beside) -> Applied:
        owner = await beside.project(project)
        user = await _named(beside, owner, user_id)
        edits = (Edit("merge_patch", fields),)
        made_for = _version_of(fields)
        command = UpdateUser(project_id=owner.id, author=OPERATOR, user_id=user.id, edits=edits, if_match=made_for)
        try:
            return await beside.run(command)
        except VersionMismatch as refusal:
            fail(f"{refusal} Show the user again, and edit what you find.")

    return beside_the_server(read_settings_or_fail(**given), work)


def _version_of(fields: dict[str, Any]) -> tuple[int] | None:
    """The version that a document was read at, if it says. Else what it lacks would seem to have been taken away."""
    version = fields.get("version")
    return (version,) if type(version) is int else None


def _ask_to_delete(user: User) -> None:
    if not sys.stdin.isatty():
        fail("nobody can be asked here; --yes deletes without asking", EXIT_USAGE)
    who = ", ".join(part for part in (_name(user), _email(user), user.external_id) if part)
    print_line(f"{user.id}{f' ({who})' if who else ''}, version {user.version}, made {date(user.created_at)}")
    if not typer.confirm("Erase this user and its history for good?"):
        fail("nothing was deleted")


async def _named(beside: Beside, project: Project, given: str) -> User:
    """The user whom an id or an external_id names. Raises `UserNotFound`."""
    by_id, claim = keys_of_external_id(project.id, given)
    found = await beside.store.get((by_id, claim))
    user, claimed = found[by_id], found[claim]
    if user is None and isinstance(claimed, Identifier):
        key = Key("user", project.id, claimed.user_id)
        user = (await beside.store.get((key,)))[key]
    if not isinstance(user, User):
        raise UserNotFound(user_id=given)
    return user


async def _pages(beside: Beside, query: UserQuery) -> list[User]:
    """Up to `query.limit` users, read a page at a time: no read is long."""
    users: list[User] = []
    while len(users) < query.limit:
        wanted = min(PAGE_SIZE, query.limit - len(users))
        after = queries.position(users[-1], query.order) if users else None
        page = await beside.store.users(msgspec.structs.replace(query, after=after, limit=wanted))
        users += page
        if len(page) < wanted:
            break
    return users


async def _history(beside: Beside, project: Project, user: User) -> list[Change]:
    changes: list[Change] = []
    while not changes or changes[-1].version < user.version:
        after = changes[-1].version if changes else 0
        page = await beside.store.history(project.id, user.id, after=after, up_to=user.version, limit=PAGE_SIZE)
        if not page:
            break  # deleted since
        changes += page
    return changes


def _terms(kind: str, value: str) -> tuple[str, ...]:
    kinds, normalise = LOOKUPS[kind]
    try:
        form = normalise(value)
    except ValueError as error:
        fail(f"--{kind.replace('_', '-')}: {error}", EXIT_USAGE)
    return tuple(queries.term(each, form) for each in kinds)


def _fields(document: str) -> dict[str, Any]:
    """The document less what `show` and `update` add to a user: their output may be edited and sent back."""
    added = ("changes", "ignored", "history")
    return {name: value for name, value in read_document(document).items() if name not in added}


def _with_changes(applied: Applied) -> dict[str, Any]:
    changes = applied.change.operations if applied.change else ()
    return {**msgspec.to_builtins(applied.user), "changes": msgspec.to_builtins(changes)}


def _print_users(users: Sequence[User], as_json: bool) -> None:
    if as_json:
        print_json(users)
        return
    rows = [
        (user.id, user.external_id or "", _name(user), _email(user), date(user.created_at), date(user.updated_at))
        for user in users
    ]
    print_table(("id", "external id", "name", "email", "made", "changed"), rows)


def _print_user(user: User) -> None:
    times = ("created_at", "updated_at")
    rows = [
        (name, date(value) if name in times else value if isinstance(value, str) else _text(value))
        for name, value in msgspec.to_builtins(user).items()
        if value not in EMPTY
    ]
    print_table(("field", "value"), rows)


def _print_changes(changes: Sequence[Change]) -> None:
    rows = []
    for change in changes:
        author = f"{change.source} {change.actor}"
        # The first change names every field, also those that nobody gave.
        told = [each for each in change.operations if change.version > 1 or each.new not in EMPTY]
        for index, operation in enumerate(told):
            first = (str(change.version), date(change.at), author) if index == 0 else ("", "", "")
            rows.append((*first, _line(operation)))
    print_table(("version", "at", "by", "what"), rows)


def _line(operation: Operation) -> str:
    """What an operation did, for a person."""
    if operation.at is not msgspec.UNSET:
        return f"{operation.path}[{operation.at}]: {_text(operation.removed)} → {_text(operation.added)}"
    if operation.op == "add":
        return f"{operation.path}: {_text(operation.new)}"
    if operation.op == "remove":
        return f"{operation.path}: {_text(operation.old)} removed"
    return f"{operation.path}: {_text(operation.old)} → {_text(operation.new)}"


def _text(value: Any) -> str:
    return encode(value).decode()


def _name(user: User) -> str:
    return user.name or " ".join(part for part in (user.first_name, user.last_name) if part) or user.username or ""


def _email(user: User) -> str:
    primary = next((address.email_address for address in user.email_addresses if address.primary), None)
    return primary or user.contact_email or ""
