"""Creations that are sent again because their answer was lost, told from those that are meant.

Clerk's SDK for Python sends a request again, under no idempotency key, whose answer takes longer than five seconds or
is a failure of the server, for up to an hour. Its first attempt may have made the user; the second one would be told
that the user exists. So for an hour a creation that names somebody is remembered, in its own transaction. The same
request then answers with that user, as long as nobody has changed it, if the first answer did not arrive:

| what is known of the first answer                        | the client sends again by itself | it never does |
|----------------------------------------------------------|----------------------------------|---------------|
| nothing: another process gave it, or this one before     | lost                             | lost          |
| its client had gone before it was given                  | lost                             | lost          |
| it was given to somebody, a client or a proxy            | lost, if half a second has passed | arrived      |

The last row is for proxies that take an answer which their client no longer waits for. Nobody who sends again by itself
does so sooner; whoever asks twice at once means it.
"""

from __future__ import annotations

from userfold.core.applied import Applied
from userfold.core.claims import identifiers_of
from userfold.core.commands import CreateUser, Resendable
from userfold.core.reading import Records, Writes, read
from userfold.core.records import Idempotency, Key, User

CREATIONS_KEPT_MS = 3_600_000
BACK_OFF_MS = 500  # the shortest pause of Clerk's SDK for Python before it sends again


def answer_was_lost(resendable: Resendable, now: int) -> bool:
    """Whether the answer to the creation that made the user did not arrive, as far as one can tell at `now` (ms)."""
    earlier = resendable.earlier
    if earlier is None or earlier.was_lost:
        return True
    return resendable.resends and now >= earlier.at + BACK_OFF_MS


def user_made_before(command: CreateUser, resendable: Resendable, records: Records, now: int) -> User | None:
    """The user whom the same request made before, if its answer was lost and nobody has changed that user since."""
    note = read(records, key_of_creation(command.project_id, resendable), Idempotency)
    if note is None or now >= note.expires_at or not answer_was_lost(resendable, now):
        return None
    user = read(records, Key("user", command.project_id, note.user_id), User)
    return user if user is not None and user.version == note.user_version else None


def note_of_creation(command: CreateUser, resendable: Resendable, applied: Applied, now: int) -> Writes:
    """What is remembered of a creation. Nothing of one that names nobody: the same again is another user."""
    user = applied.user
    assert user is not None, "a creation makes a user"
    if identifiers_of(user).keys() == {f"usercom_id|{user.usercom_id}"}:
        return {}
    note = Idempotency(
        id=resendable.id,
        request=resendable.id,
        at=now,
        expires_at=now + CREATIONS_KEPT_MS,
        user_id=user.id,
        user_version=user.version,
        user=None,
        change=None,
        created=True,
        ignored=(),
    )
    return {key_of_creation(command.project_id, resendable): note}


def key_of_creation(project_id: str, resendable: Resendable) -> Key:
    """Where a creation is remembered."""
    return Key("idempotency", project_id, resendable.id)
