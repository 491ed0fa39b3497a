"""The commands `assignments ...`: whose they are, what was handed in, fetching it, publishing feedback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import FAILED, go_ahead, plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, EnvFile, ShowValues, read_settings

if TYPE_CHECKING:
    from adaptors.moodle.assignment_people import AssignmentPerson, CoursePerson
    from adaptors.moodle.assignment_work import Filter, Handed
    from flows.assignments import Desk, Found
    from flows.assignments_download import Download
    from flows.assignments_feedback import Published
    from flows.assignments_list import Entry
    from flows.assignments_plan import Ways
    from flows.settings import Settings
    from flows.world import Progress

    People = list[AssignmentPerson] | list[CoursePerson]

assignments_app = typer.Typer(
    help="Moodle assignments: people, submissions, files, feedback.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Course = Annotated[str, typer.Argument(metavar="COURSE", help="The course: its number, or its page's address.")]
Assignment = Annotated[
    str, typer.Argument(metavar="ASSIGNMENT", help="The assignment: cmid, id, or its page's address.")
]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="Only new, draft, submitted or reopened; may be repeated.")
]
Since = Annotated[str, typer.Option("--since", help="Changed at or after 2026-11-20, or 2026-11-20T08:00 (UTC).")]
Before = Annotated[str, typer.Option("--before", help="Changed at or before, written like --since.")]
Attempts = Annotated[bool, typer.Option("--attempts", help="With earlier attempts, not only the latest.")]
Users = Annotated[
    list[int] | None,
    typer.Option("--user", help="Only this person's, by Moodle's number, or the group's; may be repeated.", min=1),
]
Participants = Annotated[
    list[int] | None,
    typer.Option("--participant", help="The same in blind marking, by participant number.", min=1),
]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", help="Write all, values whole, into this new file (for its owner only).")
]


@assignments_app.command("list")
def assignments_list(course: Course, env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """List the assignments of a course with the numbers that the other commands take."""
    from flows.assignments import unseen_sentence
    from flows.assignments_attended import at_desk
    from flows.show_assignments import assignment_json, show_assignments

    with plain_endings(as_json):
        found = at_desk(read_settings(env_file), lambda desk, _: desk.course(course))
        if as_json:
            listed = [assignment_json(one) for one in found.assignments]
            print_json({"course": found.id, "assignments": listed, "unseen": found.unseen})
        else:
            show_assignments(found)
        if found.unseen:
            say(unseen_sentence(found))


@assignments_app.command("users")
def assignments_users(
    course: Course,
    assignment: Annotated[
        str, typer.Argument(metavar="[ASSIGNMENT]", help="Only who may submit to this: cmid, id, or address.")
    ] = "",
    csv: CsvFile = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List the people of a course, or all who may submit to an assignment, also before they do."""
    from flows.assignments_attended import at_desk
    from flows.assignments_csv import PEOPLE, people_rows, write_csv
    from flows.masked import Eyes
    from flows.show_assignments import masked_row, show_people

    async def work(desk: Desk, _: Progress) -> tuple[Found | None, People, list[str]]:
        if not assignment:
            return None, await desk.course_people(course), desk.messages
        found = await desk.find(course, assignment)
        return found, await desk.people(found), desk.messages

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        found, people, messages = at_desk(read_settings(env_file), work)
        rows = people_rows(people)
        _say_which(found)
        if csv is not None:
            write_csv(csv, PEOPLE, rows)
            say(f"Written: {csv}, {len(rows):,} people, names and addresses in clear.")
        if as_json:
            which = found.as_json() if found else None
            shown = [masked_row(row, eyes) for row in rows]
            print_json({"assignment": which, "people": shown, "messages": messages})
        elif csv is None:
            show_people(rows, eyes, of_assignment=found is not None)
        _end_with(messages)


@assignments_app.command("submissions")
def assignments_submissions(
    course: Course,
    assignment: Assignment,
    status: Statuses = None,
    since: Since = "",
    before: Before = "",
    attempts: Attempts = False,
    user: Users = None,
    participant: Participants = None,
    csv: CsvFile = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List what was handed in: whose, which state, when, files, text."""
    from flows.assignments_attended import at_desk
    from flows.assignments_csv import SUBMISSIONS, submission_rows, write_csv
    from flows.masked import Eyes
    from flows.show_assignments import handed_json, show_handed

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        wanted = _filter(status, since, before, attempts, (user, participant))

        async def work(desk: Desk, _: Progress) -> tuple[Found, list[Handed], list[str]]:
            found = await desk.find(course, assignment)
            handed = await desk.submissions(found, wanted)
            for sentence in await desk.without_work(found, wanted, handed):
                say(sentence)
            return found, handed, desk.messages

        found, handed, messages = at_desk(read_settings(env_file), work)
        rows = submission_rows(handed)
        _say_which(found)
        if csv is not None:
            write_csv(csv, SUBMISSIONS, rows)
            say(f"Written: {csv}, {len(rows):,} submissions, names and texts in clear.")
        if as_json:
            listed = [handed_json(one, row, eyes) for one, row in zip(handed, rows, strict=True)]
            print_json({"assignment": found.as_json(), "submissions": listed, "messages": messages})
        elif csv is None:
            show_handed(rows, eyes)
        _end_with(messages)


@assignments_app.command("download")
def assignments_download(
    course: Course,
    assignment: Assignment,
    to: Annotated[str, typer.Option("--to", help="The folder, or any address that fsspec knows.")],
    user: Users = None,
    participant: Participants = None,
    status: Statuses = None,
    max_file: Annotated[int, typer.Option("--max-file", help="MB that one file may have.", min=1)] = 50,
    max_total: Annotated[int, typer.Option("--max-total", help="MB to fetch at most.", min=1)] = 500,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Fetch the submitted files into a folder; what is there and has not changed is not fetched again."""
    from flows.assignments_attended import at_desk
    from flows.assignments_download import MB, Caps, download
    from flows.clock import SystemClock
    from flows.show_assignments import show_download

    with plain_endings(as_json, stopped="Stopped. The same command goes on from here."):
        wanted = _filter(status or ["submitted"], whose=(user, participant))
        caps = Caps(max_file * MB, max_total * MB)

        async def work(desk: Desk, progress: Progress) -> Download:
            found = await desk.find(course, assignment)
            _say_which(found)
            return await download(desk, found, to, SystemClock(), wanted=wanted, caps=caps, progress=progress)

        done = at_desk(read_settings(env_file), work)
        if as_json:
            print_json(done.as_json())
        else:
            show_download(done)
        raise typer.Exit(done.state.exit_code)


@assignments_app.command("feedback")
def assignments_feedback(
    course: Course,
    assignment: Assignment,
    source: Annotated[Path, typer.Option("--from", help="A .csv or .json list with extId, text and maybe grade.")],
    meant: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            help="How the list is meant; may be repeated. participants: extId is the number of blind marking. "
            "html: the texts are HTML. whole-groups: an entry counts for the person's whole group. plain-points: "
            "I have looked, it is marked without a rubric.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be stored; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Publish text feedback (and grades, where the list gives some) and read back what Moodle stored."""
    from flows.assignments_list import read_list
    from flows.assignments_plan import counted, understood_ways
    from flows.show_assignments import show_published
    from flows.words import numbered

    stopped = "Stopped. Run the same command again: what Moodle holds already is not sent again."
    with plain_endings(as_json, stopped=stopped):
        ways = understood_ways(meant or (), dry_run)
        listed, settings = read_list(source), read_settings(env_file)
        asks = not (yes or dry_run or as_json) and sys.stdin.isatty()  # a script has named the list: it is meant
        done = _published(settings, (course, assignment), listed, replace(ways, dry_run=dry_run or asks))
        if asks and (count := counted(done.outcomes).get("would_store", 0)):
            show_published(done)
            go_ahead(f"Store feedback of {numbered(count, 'person', 'people')} in Moodle?", "sent")
            done = _published(settings, (course, assignment), listed, ways)
        if as_json:
            print_json(done.as_json())
        else:
            show_published(done)
        raise typer.Exit(done.state.exit_code)


def _published(settings: Settings, where: tuple[str, str], listed: Sequence[Entry], ways: Ways) -> Published:
    """Publish a list of feedback about an assignment, given as course and assignment; say which one it is."""
    from flows.assignments_attended import at_desk
    from flows.assignments_feedback import publish

    async def work(desk: Desk, progress: Progress) -> Published:
        found = await desk.find(*where)
        _say_which(found)
        return await publish(desk, found, listed, ways, progress=progress)

    return at_desk(settings, work)


def _say_which(found: Found | None) -> None:
    if found is not None:
        say(found.sentence)


def _end_with(messages: Sequence[str]) -> None:
    """Say what Moodle could not show, and end with exit code 1 when there is any of it."""
    for sentence in messages:
        say(sentence)
    if messages:
        raise typer.Exit(FAILED)


def _filter(
    statuses: list[str] | None,
    since: str = "",
    before: str = "",
    attempts: bool = False,
    whose: tuple[list[int] | None, list[int] | None] = (None, None),
) -> Filter:
    """Return which submissions are wanted; `whose` are numbers of people, and of blind marking."""
    from adaptors.moodle.assignment_work import Filter
    from flows.assignments import checked_statuses

    people, participants = (frozenset(numbers or ()) for numbers in whose)
    states, start, end = checked_statuses(statuses or ()), _seconds(since), _seconds(before, end=True)
    return Filter(states, start, end, attempts, people, participants)


def _seconds(text: str, *, end: bool = False) -> int:
    """Return a day or a moment in epoch seconds, 0 for none; a day as an end is over at midnight."""
    from flows.errors import UsageError

    if not text:
        return 0
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2026-11-20, or 2026-11-20T08:00.") from None
    moment = found if found.tzinfo else found.replace(tzinfo=UTC)
    return int(moment.timestamp()) + (86_399 if end and len(text) == len("2026-11-20") else 0)
