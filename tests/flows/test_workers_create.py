"""Mobile workers made for students: once each, passwords in one file for one person, and in no other place."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adaptors.commcare.owners import Worker
from adaptors.errors import AccessDenied
from flows.errors import UsageError
from flows.workers_create import (
    Creation,
    Newcomer,
    WorkerPlan,
    create_workers,
    new_password,
    plan_workers,
    planned,
)
from tests.flows.terminal import Terminal
from tests.flows.test_bench_commands import at_a_terminal
from tests.flows.test_offline import NAMES, Campus
from tests.flows.worlds import SHIPPED, Lab

MakeLab = Callable[..., Lab]


async def plan_of(lab: Lab) -> WorkerPlan:
    """Plan as a new process would."""
    world = lab.world()
    try:
        return await plan_workers(world)
    finally:
        await world.moodle.close()
        await world.commcare.close()


async def created(lab: Lab, file: Path) -> tuple[WorkerPlan, Creation]:
    """Plan and make."""
    plan = await plan_of(lab)
    world = lab.world()
    try:
        return plan, await create_workers(world, plan.newcomers, file)
    finally:
        await world.moodle.close()
        await world.commcare.close()


def rows(file: Path) -> list[dict[str, str]]:
    """Read the file with the passwords."""
    with file.open(encoding="utf-8-sig", newline="") as source:
        return [*csv.DictReader(source)]


def empty(make_lab: MakeLab) -> Campus:
    """Return a campus whose students have no mobile worker yet."""
    campus = Campus(make_lab)
    for name in NAMES:
        campus.lab.project.users.pop(name)
    return campus


async def test_each_student_gets_one_and_then_the_cases(make_lab: MakeLab, tmp_path: Path) -> None:
    """The plan counts them, each is made once, and the next run gives each his or her cases."""
    campus = empty(make_lab)
    plan, done = await created(campus.lab, tmp_path / "new.csv")
    assert (3, {"to_create": 3}, True) == (len(plan.newcomers), dict(plan.counts), done.is_whole)
    assert sorted(NAMES) == sorted(row["username"] for row in rows(tmp_path / "new.csv"))
    assert {"created"} == {row["state"] for row in rows(tmp_path / "new.csv")}
    users = campus.lab.project.users
    assert {str(campus.people[name]) for name in NAMES} == {users[name].user_data["moodle_id"] for name in NAMES}
    await campus.lab.sync()
    assert campus.own("neema") == campus.held("neema")
    assert {"there": 3} == dict((await plan_of(campus.lab)).counts)


async def test_the_file_is_for_one_person_and_written_first(make_lab: MakeLab, tmp_path: Path) -> None:
    """A password that was sent and never answered is in it; an old file is not written over."""
    campus = empty(make_lab)
    file = tmp_path / "new.csv"
    seen: list[set[str]] = []
    serving = campus.lab.commcare

    def watching(request: Any) -> Any:
        if request.method == "POST" and "user/v1" in str(request.url):
            seen.append({row["password"] for row in rows(file)})
        return serving(request)

    campus.lab._to_commcare = watching  # type: ignore[method-assign]
    await created(campus.lab, file)
    assert 3 == len(seen)
    assert {row["password"] for row in rows(file)} == seen[0]
    assert 0o600 == file.stat().st_mode & 0o777
    assert [file] == [one for one in tmp_path.iterdir() if "new.csv" in one.name]
    with pytest.raises(UsageError, match="exists already"):
        await created(campus.lab, file)


async def test_an_answer_that_is_lost_makes_nobody_twice(make_lab: MakeLab, tmp_path: Path) -> None:
    """It is told, its password is kept, and the next plan finds the one that is there by user name."""
    campus = empty(make_lab)
    serving, lost = campus.lab.commcare, []

    def lossy(request: Any) -> Any:
        answer = serving(request)
        if request.method == "POST" and "user/v1" in str(request.url) and not lost:
            lost.append(request)
            campus.lab.commcare.fail_next("timeout", where="owners")
            return serving(request)
        return answer

    campus.lab._to_commcare = lossy  # type: ignore[method-assign]
    _, done = await created(campus.lab, tmp_path / "first.csv")
    assert (2, 1) == (done.count("created"), done.count("no answer"))
    assert any("keep it" in line for line in done.lines(tmp_path / "first.csv"))
    assert {"there": 3} == dict((await plan_of(campus.lab)).counts)
    assert 1 + len(NAMES) == len(campus.lab.project.users)


async def test_a_refusal_is_told_and_the_others_go_on(make_lab: MakeLab, tmp_path: Path) -> None:
    """A user name that was taken meanwhile is refused by CommCare."""
    campus = empty(make_lab)
    plan = await plan_of(campus.lab)
    campus.lab.project.add_user("amina")
    world = campus.lab.world()
    done = await create_workers(world, plan.newcomers, tmp_path / "new.csv")
    await world.commcare.close()
    await world.moodle.close()
    assert {"amina": "refused", "baraka": "created", "neema": "created"} == {
        row["username"]: row["state"] for row in rows(tmp_path / "new.csv")
    }
    assert not done.is_whole


async def test_without_the_right_nothing_is_made(make_lab: MakeLab, tmp_path: Path) -> None:
    """The permission is named; the file says that nothing was sent."""
    campus = empty(make_lab)
    plan = await plan_of(campus.lab)
    campus.lab.commcare.revoke("edit_mobile_workers")
    world = campus.lab.world()
    with pytest.raises(AccessDenied, match="Edit Mobile Workers"):
        await create_workers(world, plan.newcomers, tmp_path / "new.csv")
    await world.commcare.close()
    await world.moodle.close()
    assert {"not sent"} == {row["state"] for row in rows(tmp_path / "new.csv")}


def test_who_gets_none() -> None:
    """Shared, unusable and missing user names, and workers who are deactivated, are for a person to look at."""
    people = [
        Newcomer(name, number, "", "") for number, name in enumerate(("a", "a", "b c", "", "off", "on", "new"))
    ]
    workers = [Worker("1", "off", "", "", {}, active=False), Worker("2", "On", "", "", {})]
    plan = planned(people, workers)
    counts = {"twice": 2, "unusable": 1, "no_username": 1, "deactivated": 1, "there": 1, "to_create": 1}
    assert (counts, ["new"]) == (dict(plan.counts), [one.username for one in plan.newcomers])
    assert [0, 1, 2, 3, 4] == plan.as_json()["look_at"]


def test_passwords_are_good_and_different() -> None:
    """Each is long, has a capital, small letters and digits, and can be read off paper."""
    made = {new_password() for _ in range(200)}
    assert 200 == len(made)
    for one in made:
        assert 16 <= len(one)
        assert (True, True) == (one[0].isupper(), one[-1].isdigit())
        assert not set(one) & set("0O1lIi")


async def test_no_password_and_no_name_leaks(
    make_lab: MakeLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in logs, nor in what is printed, nor in how the objects look."""
    campus = empty(make_lab)
    with caplog.at_level(logging.DEBUG):
        plan, done = await created(campus.lab, tmp_path / "new.csv")
    told = f"{caplog.text} {plan!r} {plan.as_json()} {plan.lines()} {done!r} {done.lines(tmp_path)}".casefold()
    secret = [row["password"].casefold() for row in rows(tmp_path / "new.csv")]
    assert [] == [word for word in (*secret, *NAMES) if word in told]


def offline(terminal: Terminal) -> None:
    """Give the sandbox the mappings for students."""
    for file in terminal.mappings.glob("*.yaml"):
        if file.name != "project.yaml":
            file.unlink()
    for file in (SHIPPED / "offline").glob("*.yaml"):
        (terminal.mappings / file.name).write_text(file.read_text("utf-8"), "utf-8")


def test_command(terminal: Terminal) -> None:
    """A dry run counts, without the right count nothing is made, with it all are, and once."""
    offline(terminal)
    file = terminal.folder / "new.csv"
    planned_ = terminal.run("workers", "create", "--dry-run", "--json").json
    wanted = planned_["people"]["to_create"]
    assert wanted
    assert 2 == terminal.run("workers", "create").code
    assert (4, False) == (terminal.run("workers", "create", "--to", str(file)).code, file.exists())
    assert 2 == terminal.run("workers", "create", "--to", str(file), "--count", str(wanted + 1)).code
    ended = terminal.run("workers", "create", "--to", str(file), "--count", str(wanted))
    assert (0, True) == (ended.code, f"{wanted} mobile workers made" in " ".join(ended.text.split()))
    assert wanted == len(rows(file))
    again = terminal.run("workers", "create", "--to", str(terminal.folder / "b.csv"), "--count", "1", "--json")
    assert (0, 0) == (again.code, again.json["people"]["to_create"])


def test_the_plan_breaks_at_words(terminal: Terminal) -> None:
    """On a narrow terminal no line is cut inside a word."""
    offline(terminal)
    terminal.env["COLUMNS"] = "60"
    code, shown = at_a_terminal(terminal, "workers", "create", "--dry-run")
    assert (0, [True]) == (code, [len(line) <= 60 for line in shown.splitlines() if "CommCare bills" in line])


def test_command_without_such_an_owner(terminal: Terminal) -> None:
    """The shipped mappings give cases to a group: nobody needs a mobile worker."""
    ended = terminal.run("workers", "create", "--dry-run")
    assert (2, True) == (ended.code, "students-offline.md" in ended.text)
