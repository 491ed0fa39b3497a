"""The bench runs and counts; what it measures is not tested."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import httpx
import pytest
from prefect.settings import get_current_settings

from adaptors.moodle.fake import TOKEN, FakeMoodle
from bench import audit, orchestration, receiver
from bench.courses import arguments, main, table
from bench.mapping import compare, records
from bench.orchestration import Cost, Line, measure, middle
from bench.site import Load, change, make_site
from bench.slow import SlowMoodle

pytest_plugins = ["tests.prefect_server"]


@pytest.mark.e2e
def test_the_bench_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """A first load writes every case, the next run none, the third what was changed."""
    main(["--courses", "2", "--people", "5", "--grades", "2", "--json"])
    runs = json.loads(capsys.readouterr().out)["runs"]
    expected = [("first load", "completed", 20), ("no change", "completed", 0), ("2 % changed", "completed", 2)]
    assert expected == [(run["run"], run["state"], run["written"]) for run in runs]


@pytest.mark.e2e
def test_the_audit_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """5,000 cases a request, one more because a full last page has a next one; one case in 1,000 drifted."""
    audit.main(["--cases", "10000"])
    figures = json.loads(capsys.readouterr().out)
    assert {"cases": 10_000, "requests": 3, "drift": 10} == {
        name: figures[name] for name in ("cases", "requests", "drift")
    }


@pytest.mark.e2e
def test_the_receiver_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Every post is taken in; beside it stands what the same server does that only answers."""
    receiver.main(["--posts", "200", "--repeat", "1"])
    figures = json.loads(capsys.readouterr().out)
    assert (200, True) == (figures["taken"], 0 < figures["ratio"] and figures["bare_per_s"] > 0)


def test_people_may_be_shared() -> None:
    """With a shared pool the same few people are in all courses by turns."""
    site = make_site(Load(courses=3, people=4, grades=1, shared=6))
    courses = [course for course in site.members if course > 1]
    assert [4, 4, 4] == [len(site.members[course]) for course in courses]
    assert 6 == len({person for course in courses for person in site.members[course]})


def test_a_change_touches_a_share() -> None:
    """Two of four learners get another name, and two of eight places another grade."""
    site = make_site(Load(courses=2, people=4, grades=1, shared=4))
    change(site, 50)
    assert 2 == sum(user.lastname.endswith("-Rono") for user in site.users.values())
    graded = [
        grade.raw for book in site.gradebooks.values() for all_ in book.grades.values() for grade in all_.values()
    ]
    assert 4 == graded.count(50.5)


def test_a_slow_moodle_works_on_two_calls_at_a_time() -> None:
    """The third of three calls that came together waits for the first to be done."""
    moodle = SlowMoodle(FakeMoodle(make_site(Load(courses=1, people=5))), clock=lambda: 100.0)
    form = {"wstoken": TOKEN, "wsfunction": "core_user_get_users_by_field", "moodlewsrestformat": "json"}
    form |= {"field": "id"} | {f"values[{number}]": str(number + 5) for number in range(3)}
    url = "https://moodle.example.org/webservice/rest/server.php"
    delays = [moodle(httpx.Request("POST", url, data=form)).extensions["delay"] for _ in range(3)]
    assert pytest.approx([0.0302, 0.0302, 0.0604]) == delays


def test_the_table_names_what_it_shows() -> None:
    """The title says how large the courses are."""
    options = arguments(["--people", "30", "--grades", "4"])
    assert "Courses of 30 people and 4 grades, people of their own" == table([], options).title


def test_mappings_and_hand_written_python_make_the_same() -> None:
    """The bench compares what gives the same for every record, odd ones included; how fast is not tested."""
    found = compare(1, records(300))
    assert 13 == found["properties"]
    assert min(found["compiled"], found["by_hand"]) > 0


def test_what_prefect_costs_is_a_ratio_of_medians() -> None:
    """A run that was disturbed does not count; the table has the ratios of processes and of the runs inside."""
    costs = [Cost(10.0, 3.0, 8.0), Cost(90.0, 3.2, 80.0), Cost(12.0, 3.1, 8.5)]
    assert Cost(12.0, 3.1, 8.5) == middle(costs)
    line = Line(100, middle(costs), Cost(15.0, 5.0, 8.5))
    assert (1.25, 1.0) == (line.ratio, line.ratio_inside)
    drawn = orchestration.table([line], orchestration.arguments(["--repeat", "5"]))
    assert ["1.25", "1.00"] == [next(iter(column.cells)) for column in drawn.columns[-2:]]


@pytest.mark.e2e
def test_what_prefect_costs_is_measured(prefect_folder: Path) -> None:
    """The command and the flow each run in a process of their own, both complete."""
    assert prefect_folder.is_dir()
    url = get_current_settings().api.url
    options = Namespace(people=3, grades=1, repeat=1, slow=False)
    line = measure(1, options, {"PREFECT_API_URL": str(url), "PREFECT_HOME": str(prefect_folder)})
    assert min(*vars(line.command).values(), *vars(line.flow).values()) > 0
