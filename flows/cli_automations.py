"""The commands `automations ...`: who is told when a run fails, waits, or does not happen at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import FAILED, OK, plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, read_settings

if TYPE_CHECKING:
    from flows.settings import Settings

automations_app = typer.Typer(
    help="Nudges: who is told when a run fails, waits for a person, or does not happen.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@automations_app.callback()
def untracked() -> None:
    """Switch off the telemetry of Prefect's client, as `serve` does, unless somebody has chosen."""
    os.environ["DO_NOT_TRACK"] = os.environ.get("DO_NOT_TRACK") or "1"


NOWHERE = (
    "Nudges go nowhere: set NUDGE_WEBHOOK_URL, NUDGE_SLACK_URL, NUDGE_MAIL_URL or NUDGE_BLOCK, then run "
    "`moodle-commcare automations install` again. Only runs that died are ended."
)


@automations_app.command("install")
def automations_install(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be installed.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Install the nudges in Prefect, or bring them up to date; a second time doubles nothing."""
    with plain_endings(as_json):
        settings = read_settings(env_file)
        if dry_run:
            _show_texts(settings, as_json)
            return
        import asyncio

        from flows.automations import install

        changes, places = asyncio.run(install(settings))
        if as_json:
            told = [place.setting for place in places]
            print_json({"places": told, "automations": [vars(change) for change in changes]})
            return
        for change in changes:
            say(f"{change.what:<10}{change.name}")
        say(f"Nudges go to {' and '.join(place.setting for place in places)}." if places else NOWHERE)


@automations_app.command("list")
def automations_list(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """List the nudges that are installed in Prefect."""
    import asyncio

    from flows.automations import installed

    with plain_endings(as_json):
        read_settings(env_file)
        found = asyncio.run(installed())
        if as_json:
            print_json({"automations": [{"name": one.name, "on": one.on, "about": one.about} for one in found]})
            return
        width = max((len(one.name) for one in found), default=0) + 2
        for one in found:
            say(f"{'on' if one.on else 'paused':<8}{one.name:<{width}}{one.about}.")
        if not found:
            say("None is installed. Run `moodle-commcare automations install`.")


@automations_app.command("remove")
def automations_remove(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Take the nudges and their addresses out of Prefect."""
    import asyncio

    from flows.automations import remove

    with plain_endings(as_json):
        read_settings(env_file)
        changes = asyncio.run(remove())
        if as_json:
            print_json({"automations": [vars(change) for change in changes]})
            return
        for change in changes:
            say(f"{change.what:<10}{change.name}")
        if not changes:
            say("None was installed.")


@automations_app.command("test")
def automations_test(env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Send one test nudge the way all of them go, and say whether it was sent."""
    import asyncio

    from flows.automations import SENT, send_test
    from flows.clock import SystemClock
    from flows.redact import RedactingFilter

    with plain_endings(as_json):
        net = RedactingFilter(read_settings(env_file).secrets())
        answers = asyncio.run(send_test(SystemClock()))
        answers = {place: net.clean(answer) for place, answer in answers.items()}
        if as_json:
            print_json({"places": answers})
        else:
            for place, answer in answers.items():
                say(f"{place}: {answer}.")
        raise typer.Exit(OK if set(answers.values()) == {SENT} else FAILED)


def _show_texts(settings: Settings, as_json: bool) -> None:
    """Show each nudge as it will arrive, with made-up runs and numbers."""
    from flows.automations import ui_address
    from flows.nudges import example, nudges, places

    ui = ui_address()
    found = [(nudge, *example(nudge, ui)) for nudge in nudges(settings)]
    if as_json:
        texts = [{"name": nudge.name, "subject": subject, "body": body} for nudge, subject, body in found]
        print_json({"places": places(settings), "nudges": texts})
        return
    for nudge, subject, body in found:
        say(f"--- {nudge.name}\n{subject}\n\n{body}\n")
    where = " and ".join(places(settings))
    say(f"They would go to {where}." if where else NOWHERE)
