"""`userfold projects`: tenants of one database, who know nothing of each other."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from userfold.cli.beside import Beside, beside_the_server, read_settings_or_fail
from userfold.cli.documents import read_document
from userfold.cli.options import DatabaseOption, DataOption, JsonOption
from userfold.cli.saying import EXIT_USAGE, date, fail, print_json, print_line, print_table
from userfold.core.commands import UpdateProject
from userfold.core.jsontext import encode
from userfold.core.records import Project
from userfold.first_start import OPERATOR, FirstKeys, first_keys, make_project

projects_cli = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, make, show and change the projects of a database."
)
IdArgument = Annotated[str | None, typer.Argument(metavar="ID", help="The project; needed where there are several.")]


@projects_cli.command("list")
def list_projects(data: DataOption = None, database_url: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List all projects, oldest first.

    \b
    Example:  userfold projects list
    Prints:   a table: id, name, product id (Milana's), when it was made.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database.
    """
    projects = beside_the_server(read_settings_or_fail(data=data, database_url=database_url), Beside.projects)
    if as_json:
        print_json(projects)
        return
    rows = [(project.id, project.name, project.product_id, date(project.created_at)) for project in projects]
    print_table(("id", "name", "product id", "made"), rows)


@projects_cli.command("create")
def create_project(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")],
    data: DataOption = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a project with its first keys. The secret key is not shown again.

    \b
    Example:  userfold projects create staging
    Prints:   the project's id and its keys, one a line as NAME=VALUE, so that a shell can read them.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database.
    """
    settings = read_settings_or_fail(data=data, database_url=database_url)
    # Keys of the environment are the first project's: no key opens two.
    settings = msgspec.structs.replace(settings, secret_key=None, publishable_key=None, product_id=None)

    async def work(beside: Beside) -> tuple[Project, FirstKeys]:
        keys = first_keys(settings, beside.engine.now())
        return await make_project(beside.engine, name, keys), keys

    project, keys = beside_the_server(settings, work)
    if as_json:
        print_json({**_shown(project), "secret_key": keys.secret_key, "publishable_key": keys.publishable_key})
        return
    print_line(f"# project {project.id} ({project.name})")
    for name_, value in keys.made.items():
        print_line(f"{name_}={value}")


@projects_cli.command("show")
def show_project(
    project_id: IdArgument = None,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a project and its settings.

    \b
    Example:  userfold projects show
    Prints:   its fields, one a line; with --json the project as the API shows it.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database, no such project.
    """

    async def work(beside: Beside) -> Project:
        return await beside.project(project_id)

    _print(beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work), as_json)


@projects_cli.command("update")
def update_project(
    project_id: IdArgument = None,
    data: DataOption = None,
    database_url: DatabaseOption = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A new name.")] = None,
    settings: Annotated[
        str | None, typer.Option(metavar="JSON", help="Settings to change, as a JSON object; - reads standard input.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rename a project or change its settings; what is not named stays. A running server follows within a second.

    \b
    Example:  userfold projects update --name production --settings '{"tombstone_days": 7}'
    Prints:   the project as it is then.
    Exits:    0 done; 1 failed; 2 wrong use or setting, no database, no such project or setting.
    """
    if name is None and settings is None:
        fail("nothing to change: give --name or --settings", EXIT_USAGE)
    changed = None if settings is None else read_document(settings)

    async def work(beside: Beside) -> Project:
        project = await beside.project(project_id)
        command = UpdateProject(project_id=project.id, author=OPERATOR, name=name, settings=changed)
        applied = await beside.run(command)
        assert isinstance(applied.record, Project)
        return applied.record

    _print(beside_the_server(read_settings_or_fail(data=data, database_url=database_url), work), as_json)


def _print(project: Project, as_json: bool) -> None:
    if as_json:
        print_json(_shown(project))
        return
    rows = [("id", project.id), ("name", project.name), ("product id", project.product_id)]
    rows += [("made", date(project.created_at))]
    settings = msgspec.to_builtins(project.settings)
    rows += [(f"settings.{setting}", encode(value).decode()) for setting, value in settings.items()]
    print_table(("field", "value"), rows)


def _shown(project: Project) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(project)
    return shown
