"""Looks at a database for whoever wonders whether it is well. Nothing is written."""

from __future__ import annotations

from userfold.storage.port import Finding
from userfold.storage.postgres.connections import Connection
from userfold.storage.postgres.migrate import HAS_TEXT_INDEX, MAKE_TEXT_INDEX, MAKE_TRIGRAMS, schema_of

# Settings without which an answered update may be lost, and the values that are good.
SAFE = {"fsync": ("on",), "full_page_writes": ("on",)}


async def examine(connection: Connection, *, full: bool) -> list[Finding]:
    """What there is to say. `full` looks at nothing more: PostgreSQL has its own tools, such as pg_amcheck."""
    findings = [await _schema(connection)]
    for name, good in SAFE.items():
        value = await connection.fetchval("SELECT current_setting($1)", name)
        if value not in good:
            says = f"{name} is {value}: when the power fails, the whole database may be lost"
            findings.append(Finding(about=name, state="failed", says=says, advice=f"set {name} = {good[0]}"))
    if await connection.fetchval(HAS_TEXT_INDEX):
        findings.append(Finding(about="search", state="ok", says="any part of a name is found by an index"))
    else:
        advice = f"as a superuser: {MAKE_TRIGRAMS}; {MAKE_TEXT_INDEX}"
        says = "there is no index of parts: a search by a part of a name looks at every user"
        findings.append(Finding(about="search", state="warning", says=says, advice=advice))
    return findings


async def _schema(connection: Connection) -> Finding:
    schema = await schema_of(connection)
    version = f"PostgreSQL {connection.get_server_version().major}"
    if schema.found == schema.known:
        return Finding(about="store", state="ok", says=f"{version}: schema {schema.found} is current")
    if schema.found > schema.known:
        says = f"{version}: schema {schema.found} is a newer program's; this one knows {schema.known}, and may go on"
        return Finding(about="store", state="warning", says=says, advice="install the newer Userfold here too")
    says = f"{version}: schema {schema.found}, and this program needs {schema.known}"
    advice = "back up, then run `userfold migrate` (starting this program's server does it too)"
    return Finding(about="store", state="warning", says=says, advice=advice)
