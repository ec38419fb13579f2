"""Connections to PostgreSQL, and what goes wrong on them in the words of the port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias

import asyncpg

from userfold.storage.port import Conflict, Locked, StoreError, StoreFull, StoreUnavailable, WriteFailed

log = logging.getLogger("userfold.storage.postgres")

CONNECT_S_MAX = 5.0
# The server gives a statement up first, so that the connection stays good; then we give up the connection.
STATEMENT_MS_MAX = 10_000
STATEMENT_S_MAX = 15.0
READ_MS_MAX = 5_000
READ_S_MAX = 6.0
# Of a transaction whose process fell silent: its locks are in the way of all other processes. Who waits for one of them
# waits for longer than that, so that the silence of one process makes others late and fails nothing of theirs.
SILENCE_MS_MAX = 3_000
LOCK_MS_MAX = 6_000
LOCK_AGAIN_MS_MAX = 500  # where somebody has just been waited for in vain

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"  # a class that is generic to type checkers only


class Lost(Exception):
    """The connection is gone, or cannot be made; the text says why."""


class Crowded(Exception):
    """A record that was not to be waited for is locked by others."""


# By SQLSTATE and by where it happened, never by the name of a constraint: a distributed engine gives none.
_LOST = ("08", "57P", "25P03", "25006", "53300")
_KINDS: dict[str, type[StoreError]] = {
    "40001": Conflict,
    "40P01": Conflict,
    "23505": Conflict,
    "53100": StoreFull,
    "21": WriteFailed,
    "22": WriteFailed,
    "54": WriteFailed,
}


async def connect(url: str, *, reading: bool = False, by_key: bool = True) -> Connection:
    """A connection with the time-outs of a reader or of a writer. Raises `Lost`, `StoreUnavailable`.

    `by_key`: for statements that name the keys of their rows.
    """
    with translated():
        try:
            connection = await asyncpg.connect(
                url, timeout=CONNECT_S_MAX, command_timeout=READ_S_MAX if reading else STATEMENT_S_MAX
            )
        except (ValueError, asyncpg.ClientConfigurationError):
            # Not repeated, because the driver's text may hold a part of the URL, and the URL a password.
            raise StoreUnavailable(
                "the database URL cannot be used: it must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and what is"
                " neither letter nor digit in the password must be percent-encoded (@ is %40)"
            ) from None
        try:
            await prepare(connection, reading=reading, by_key=by_key)
        except BaseException:
            connection.terminate()
            raise
    return connection


async def prepare(connection: Any, *, reading: bool, by_key: bool) -> None:
    """Set what a connection needs. By statements, because poolers between us refuse settings at the start."""
    settings = {
        "statement_timeout": READ_MS_MAX if reading else STATEMENT_MS_MAX,
        "lock_timeout": LOCK_MS_MAX,
        "idle_in_transaction_session_timeout": SILENCE_MS_MAX,
        "tcp_user_timeout": SILENCE_MS_MAX,  # who does not take a long answer is not idle
        "jit": "off",  # for statements of a millisecond it costs more than it gives
        "application_name": "userfold",
    }
    if by_key:
        # A plan for these values would believe that a project which is not in the statistics yet has no rows, walk
        # through all of them and look for the keys there. A plan for any values takes the primary key.
        settings["plan_cache_mode"] = "force_generic_plan"
    if not reading and await connection.fetchval("SHOW synchronous_commit") == "off":
        settings["synchronous_commit"] = "on"  # an answered update is durable, whatever the database's default
    await connection.execute(
        "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given (name, value)",
        list(settings),
        [str(value) for value in settings.values()],
    )


class Readers:
    """At most so many connections that read, made when they are needed."""

    def __init__(self, url: str, count_max: int, *, by_key: bool) -> None:
        self._url = url
        self._count_max = count_max
        self._by_key = by_key
        self._pool: asyncpg.Pool[Any] | None = None

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Any]:
        """One of them, for as long as the block lasts. Raises `Lost`, `StoreUnavailable`."""
        with translated():
            async with (await self._opened()).acquire(timeout=READ_S_MAX) as connection:
                try:
                    yield connection
                except TimeoutError:
                    connection.terminate()  # the pool would wait as long again, for it to be cancelled
                    raise

    async def close(self) -> None:
        """Let go of all. The server may have fallen silent, or be gone: that must not keep this process from ending."""
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await self._pool.close()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.warning("connections were not closed properly: %s: %s", type(error).__name__, error)
            self._pool.terminate()

    async def _opened(self) -> asyncpg.Pool[Any]:
        if self._pool is None:
            # Made without a connection, and so without a pause in which somebody else could make another one.
            self._pool = asyncpg.create_pool(  # type: ignore[call-overload]  # connect takes what it is given here
                self._url, min_size=0, max_size=self._count_max, connect=self._connect, reset=_leave_as_it_is
            )
            _ = await self._pool
        return self._pool

    async def _connect(self, url: str, **given: Any) -> Connection:
        return await connect(url, reading=True, by_key=self._by_key)


async def _leave_as_it_is(connection: Any) -> None:
    """Instead of asyncpg's own reset, which is a statement for each reading: nothing here changes a connection."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the driver raises in this block comes out as `Lost` or a `StoreError`."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(error) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        # The first two are what the driver says of a connection that it has closed, or that ended between two messages.
        raise Lost(f"{type(error).__name__}: {str(error) or 'no answer in time'}") from error


def _of_server(error: asyncpg.PostgresError) -> Exception:
    state = error.sqlstate or ""
    says = f"{type(error).__name__}: {error.args[0] if error.args else ''} (SQLSTATE {state})"
    if state == "55P03":
        return Locked(f"others keep locked what this needs (pg_locks shows who): {says}")
    if state.startswith(_LOST):
        return Lost(says)
    if state == "57014":
        return StoreUnavailable("the statement took too long")
    return _KINDS.get(state, _KINDS.get(state[:2], StoreUnavailable))(says)
