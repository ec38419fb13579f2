"""What the first start makes: a project, and the keys by which its programs and browsers call."""

from __future__ import annotations

from pathlib import Path

import msgspec

from userfold.core.commands import CreateProject
from userfold.core.ids import make_id
from userfold.core.records import Project, ProjectSettings
from userfold.core.trust import Author
from userfold.engine import Engine, random_bits
from userfold.settings import Settings
from userfold.storage.port import Store
from userfold.tokens import api_key, new_publishable_key, new_secret_key

OPERATOR = Author(source="cli", actor="operator", trust="backend")
KEYS_FILE = "keys.env"


class FirstKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a new project, readable now and never again. `made_here`: not all came from the environment."""

    secret_key: str
    publishable_key: str
    product_id: str
    made_here: bool

    def as_environment(self) -> str:
        """Lines that a shell can source and `serve` understands."""
        return (
            f"USERFOLD_SECRET_KEY={self.secret_key}\n"
            f"USERFOLD_PUBLISHABLE_KEY={self.publishable_key}\n"
            f"USERFOLD_PRODUCT_ID={self.product_id}\n"
        )


async def make_first_project(engine: Engine, store: Store, settings: Settings) -> FirstKeys | None:
    """The keys of the project that was made, or None if there is one already."""
    if await store.list("project"):
        return None
    given = (settings.secret_key, settings.publishable_key, settings.product_id)
    now = engine.now()
    keys = FirstKeys(
        secret_key=settings.secret_key or new_secret_key(),
        publishable_key=settings.publishable_key or new_publishable_key(),
        product_id=settings.product_id or make_id("prd_", now, random_bits()),
        made_here=None in given,
    )
    project_id = make_id("prj_", now, random_bits())
    project = Project(id=project_id, name="default", product_id=keys.product_id, created_at=now)
    first = (
        api_key(project_id, keys.secret_key, "first secret key", now),
        api_key(project_id, keys.publishable_key, "first publishable key", now),
    )
    command = CreateProject(project_id=project_id, author=OPERATOR, project=project, keys=first)
    await engine.run(command, ProjectSettings())
    return keys


def write_keys_file(folder: Path, keys: FirstKeys) -> Path:
    """Write the keys where only their owner can read them; the path."""
    path = folder / KEYS_FILE
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(keys.as_environment())
    return path
