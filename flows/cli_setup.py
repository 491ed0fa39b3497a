"""The commands `setup moodle` and `setup commcare`: what to switch on, as a checklist with the screens to open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, mappings_folder

if TYPE_CHECKING:
    from flows.features import Feature

setup_app = typer.Typer(
    help="What Moodle and CommCare have to allow, as checklists with the screens to open.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Assignments = Annotated[
    bool, typer.Option("--assignments", help="Also for reading and downloading assignments by command.")
]
Feedback = Annotated[bool, typer.Option("--feedback", help="Also for giving feedback to assignments.")]
Webhooks = Annotated[bool, typer.Option("--webhooks", help="Also for changes within a minute.")]


def chosen(*, assignments: bool = False, feedback: bool = False, webhooks: bool = False) -> list[Feature]:
    """Return the features whose options were given."""
    given: dict[Feature, bool] = {"assignments": assignments, "feedback": feedback, "webhooks": webhooks}
    return [feature for feature, is_given in given.items() if is_given]


@setup_app.command("moodle")
def setup_moodle(
    assignments: Assignments = False,
    feedback: Feedback = False,
    webhooks: Webhooks = False,
    role: Annotated[
        Path | None,
        typer.Option("--role", metavar="FILE", help="Also write the role, to be imported in Moodle."),
    ] = None,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell which functions, rights and switches the Moodle site needs for the mappings, and why; asks nobody."""
    from flows.features import read_uses
    from flows.setup_moodle import moodle_checklist
    from flows.setup_role import write_role
    from flows.show_setup import show_checklist

    with plain_endings(as_json):
        asked = chosen(assignments=assignments, feedback=feedback, webhooks=webhooks)
        uses = read_uses(mappings_folder(env_file), env_file, asked)
        if role is not None:
            write_role(role, uses.rights)
            say(f"Written: {role}")
        checklist = moodle_checklist(uses, str(role) if role else "")
        if as_json:
            print_json(checklist.as_json())
        else:
            show_checklist(checklist)


@setup_app.command("commcare")
def setup_commcare(
    forwarding: Annotated[
        bool, typer.Option("--forwarding", help="Also for being told of changes in CommCare.")
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell which plan, permissions, key and owners the project space needs for the mappings; asks nobody."""
    from flows.features import is_forwarding, project_or_shipped
    from flows.setup_commcare import commcare_checklist
    from flows.show_setup import show_checklist

    with plain_endings(as_json):
        folder = mappings_folder(env_file)
        project, shipped = project_or_shipped(folder)
        told = forwarding or is_forwarding(env_file)
        checklist = commcare_checklist(project, folder, forwarding=told, shipped=shipped)
        if as_json:
            print_json(checklist.as_json())
        else:
            show_checklist(checklist)
