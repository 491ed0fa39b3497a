"""`moodle-commcare mappings ...`: the implementer's bench. Each command imports what it needs when called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.endings import FAILED, OK, plain_endings, print_json, say
from flows.options import ENV_FILE, AsJson, Courses, EnvFile, PersonId, ShowValues, mappings_folder, read_settings

if TYPE_CHECKING:
    from flows.check_live import LiveReport

mappings_app = typer.Typer(help="Check, test and explain the mapping files.", no_args_is_help=True)


@mappings_app.command("check")
def mappings_check(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Folder of the mappings; else MAPPINGS_DIR, else mappings."),
    ] = None,
    plugins: Annotated[
        bool, typer.Option("--plugins/--no-plugins", help="Off: run no code of a stranger's project.")
    ] = True,
    live: Annotated[
        bool, typer.Option("--live", help="Also hold fields, roles, owners and courses against both systems.")
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Check the mapping files and run their tests: every problem with file, line and what to do.

    Exit code 1 for a mistake and for a failed test, though the test stops no run.
    """
    from flows.catalogue import field_catalogue
    from flows.show_problems import problem_json, show_mappings
    from mappings.engine import check_project

    with plain_endings(as_json):
        folder = folder or mappings_folder(env_file)
        report = check_project(folder, field_catalogue(), plugins=plugins)
        seen = _look_live(env_file, folder, plugins) if live else None
        problems = [*report.problems, *(seen.problems if seen else ())]
        is_bad = not report.is_good or (seen is not None and seen.is_bad)
        if as_json:
            findings = [vars(finding) for finding in seen.findings] if seen else []
            print_json(
                {
                    "ok": not is_bad,
                    "mistakes": len(report.errors),
                    "tests": {"run": report.tests_run, "failed": report.tests_failed},
                    "problems": [problem_json(problem) for problem in problems],
                    "findings": findings,
                    "costs": [cost.sentence for cost in report.costs],
                }
            )
        else:
            show_mappings(report, folder)
            if live:
                from flows.show import show_live

                show_live(seen)
        raise typer.Exit(FAILED if is_bad else OK)


def _look_live(env_file: Path, folder: Path, plugins: bool) -> LiveReport | None:
    """Look at both systems; None when mistakes in the files leave nothing to compare."""
    import asyncio

    from flows.check_live import check_live
    from mappings.engine import MappingError

    settings = read_settings(env_file).model_copy(update={"mappings_dir": folder})
    try:
        return asyncio.run(check_live(settings, plugins=plugins))
    except MappingError:
        return None


@mappings_app.command("test")
def mappings_test(
    mapping: Annotated[str | None, typer.Argument(metavar="MAPPING", help="Only this mapping.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write what the mapping makes now into the tests that fail.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --update: write without asking.")] = False,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Run the tests in the mapping files; with --update, rewrite what they expect after showing the difference."""
    from flows.mapping_tests import run, updates, write
    from flows.masked import Eyes
    from flows.show_tests import ask_to_write, show_tested, show_updates, tested_json

    with plain_endings(as_json):
        eyes, folder = Eyes(show_values), mappings_folder(env_file)
        found = run(folder, mapping)
        needed = updates(found) if update else []
        if needed and not as_json:
            show_updates(needed, eyes)
        written = needed if needed and (yes or (not as_json and ask_to_write())) else []
        for each in written:
            write(each)
        found = run(folder, mapping) if written else found
        if as_json:
            print_json(tested_json(found, written))
        else:
            show_tested(found, written, updating=update)
        raise typer.Exit(FAILED if any(tested.problems for tested in found) else OK)


@mappings_app.command("example")
def mappings_example(
    stream: Annotated[
        str, typer.Argument(metavar="MAPPING", help="The mapping, or a source that only one mapping reads.")
    ],
    number: PersonId,
    course: Courses = None,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Write a test from a live record into the mapping file, with everything that tells a person replaced."""
    from flows.example import run_example
    from flows.show_tests import example_json, show_example

    with plain_endings(as_json):
        written = run_example(read_settings(env_file), stream, number, course or ())
        if as_json:
            print_json(example_json(written))
        else:
            show_example(written)


@mappings_app.command("explain")
def mappings_explain(
    mapping: Annotated[
        str, typer.Argument(metavar="MAPPING", help="The mapping, or a source that only one mapping reads.")
    ],
    part: Annotated[
        str, typer.Argument(metavar="PROPERTY", help="A property; or owner, case_name, external_id, include.")
    ],
    number: PersonId,
    course: Courses = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Show stage by stage why a person's case has the value it has, from the live Moodle."""
    from flows.explain import Wanted, explained_json, run_explain
    from flows.masked import Eyes
    from flows.show_live import show_explained

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        found = run_explain(read_settings(env_file), Wanted(mapping, part, number, tuple(course or ())))
        if as_json:
            print_json(explained_json(found, eyes))
        else:
            show_explained(found, eyes)


@mappings_app.command("fields")
def mappings_fields(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The source, as a mapping names it: users, enrolments.")
    ],
    live: Annotated[bool, typer.Option("--live", help="Read some records and tell what is filled.")] = False,
    course: Courses = None,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """List the fields of a source: type, meaning, whether personal, which function, what it costs."""
    from flows.catalogue import field_catalogue
    from flows.fields import rows, run_fields
    from flows.live import paths_of
    from flows.masked import Eyes
    from flows.show_live import show_fields

    with plain_endings(as_json):
        eyes, catalogue = Eyes(show_values), field_catalogue()
        paths_of(catalogue, source)
        filling = run_fields(read_settings(env_file), source, course or ()) if live else None
        found = list(rows(catalogue, source, filling, eyes))
        if as_json:
            print_json({"source": source, "records": filling.records if filling else None, "fields": found})
        else:
            show_fields(found, filling)


@mappings_app.command("coverage")
def mappings_coverage(course: Courses = None, env_file: EnvFile = ENV_FILE, as_json: AsJson = False) -> None:
    """Tell what is left over: fields that nothing reads, properties nobody fills, codes that no list has."""
    from flows.coverage import run_coverage
    from flows.show_live import show_coverage

    with plain_endings(as_json):
        coverage = run_coverage(read_settings(env_file), course or ())
        if as_json:
            print_json(coverage.as_json())
        else:
            show_coverage(coverage)
        raise typer.Exit(FAILED if coverage.notes else OK)


@mappings_app.command("diff")
def mappings_diff(
    since: Annotated[str, typer.Option(metavar="REV", help="The version in git to compare with.")] = "HEAD",
    course: Courses = None,
    limit: Annotated[int, typer.Option(help="Records of each mapping to look at; 0: all.", min=0)] = 0,
    show_values: ShowValues = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell what an edit of the mappings changes: per property how many cases, with samples; nothing is sent."""
    from flows.diff import OTHER_COURSES, run_diff
    from flows.diff import as_json as diff_json
    from flows.masked import Eyes
    from flows.show_diff import show_diff

    with plain_endings(as_json):
        eyes = Eyes(show_values)
        found, notes = run_diff(read_settings(env_file), since, course or (), limit)
        if as_json:
            print_json(diff_json(found, notes, eyes))
        else:
            show_diff(found, notes, eyes)
        raise typer.Exit(FAILED if {*notes} - {OTHER_COURSES} else OK)  # the others are about what was not read


@mappings_app.command("docs")
def mappings_docs(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default docs/ beside the mappings.")
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the client, such as fr, es, pt or sw.")] = "en",
    only_check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when a file is not up to date.")
    ] = False,
    env_file: EnvFile = ENV_FILE,
    as_json: AsJson = False,
) -> None:
    """Write what the client gets: specification sheet, data dictionary, diagram, list of the Moodle functions."""
    from flows.docs import documents, stale_documents, write_documents
    from flows.show_docs import show_documents

    with plain_endings(as_json):
        mappings = mappings_folder(env_file)
        out = out or mappings / "docs"
        made = documents(mappings, language)
        stale = [out / name for name in stale_documents(made, out)] if only_check else write_documents(made, out)
        if as_json:
            listed = [str(path) for path in stale]
            print_json({"folder": str(out), "stale" if only_check else "written": listed, "notes": made.notes})
        else:
            show_documents(made, out, stale, only_check=only_check)
        raise typer.Exit(FAILED if only_check and stale else OK)


@mappings_app.command("schema")
def mappings_schema(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; default schema/ beside the mappings.")
    ] = None,
    env_file: EnvFile = ENV_FILE,
) -> None:
    """Write the JSON Schemas with which an editor completes and checks mapping files while you type."""
    from flows.catalogue import field_catalogue
    from mappings.engine.schema import write_schemas

    with plain_endings():
        for path in write_schemas(out or mappings_folder(env_file) / "schema", field_catalogue()):
            say(f"Written: {path}")
