"""What the first start makes: a project, and the keys by which its programs and browsers call."""

from __future__ import annotations

from pathlib import Path

import msgspec

from userfold.core.commands import CreateProject
from userfold.core.ids import make_id
from userfold.core.records import EffectiveSettings, Project
from userfold.core.trust import Author
from userfold.engine import Engine, random_bits
from userfold.settings import Settings
from userfold.tokens import api_key, new_publishable_key, new_secret_key

OPERATOR = Author(source="cli", actor="operator", trust="backend")
KEYS_FILE = "keys.env"


class FirstKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a first project, readable now and never again. `made`: by name, those that were not given."""

    secret_key: str
    publishable_key: str
    product_id: str
    made: dict[str, str]

    def as_environment(self) -> str:
        """Lines with what was made here, that a shell can source and `serve` understands."""
        return "".join(f"{name}={value}\n" for name, value in self.made.items())


def first_keys(settings: Settings, now: int) -> FirstKeys:
    """The keys that the settings give, and new ones for the rest."""
    made = {}
    if settings.secret_key is None:
        made["USERFOLD_SECRET_KEY"] = new_secret_key()
    if settings.publishable_key is None:
        made["USERFOLD_PUBLISHABLE_KEY"] = new_publishable_key()
    if settings.product_id is None:
        made["USERFOLD_PRODUCT_ID"] = make_id("prd_", now, random_bits())
    return FirstKeys(
        secret_key=settings.secret_key or made["USERFOLD_SECRET_KEY"],
        publishable_key=settings.publishable_key or made["USERFOLD_PUBLISHABLE_KEY"],
        product_id=settings.product_id or made["USERFOLD_PRODUCT_ID"],
        made=made,
    )


async def make_first_project(engine: Engine, keys: FirstKeys) -> None:
    """Make the project that every database begins with."""
    await make_project(engine, "default", keys)


async def make_project(engine: Engine, name: str, keys: FirstKeys) -> Project:
    """Make a project and its first two keys. Raises a `DomainError` or a `StoreError`."""
    now = engine.now()
    project_id = make_id("prj_", now, random_bits())
    project = Project(id=project_id, name=name, product_id=keys.product_id, created_at=now)
    first = (
        api_key(project_id, keys.secret_key, "first secret key", now),
        api_key(project_id, keys.publishable_key, "first publishable key", now),
    )
    command = CreateProject(project_id=project_id, author=OPERATOR, project=project, keys=first)
    await engine.run(command, EffectiveSettings())
    return project


def write_keys_file(folder: Path, keys: FirstKeys) -> Path:
    """Write the keys where only their owner can read them; the path."""
    path = folder / KEYS_FILE
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(keys.as_environment())
    return path
