"""Downloads: each file once, whole, as Moodle has it, from this Moodle only; an error is never kept as a file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from adaptors.errors import AccessDenied, Maintenance, QuietTime
from adaptors.limits import Limits, QuietHours
from adaptors.moodle.assignment_work import Filter
from adaptors.moodle.client import Login, MoodleClient
from adaptors.moodle.fake_marking import WEB_FILES
from adaptors.moodle.pluginfile import FILES, file_path
from flows.assignments import Desk
from flows.assignments_download import Caps, Download, download, told
from flows.assignments_manifest import clean_name
from flows.errors import UsageError
from flows.result import RunState
from tests.flows.marking_world import MarkingWorld

PDF = bytes(range(256)) * 20


async def fetch(world: MarkingWorld, target: Path | str, name: str = "Essay", **more: Any) -> Download:
    """Download an assignment."""
    return await download(world.desk, await world.find(name), str(target), world.clock, **more)


def manifest(folder: Path) -> list[dict[str, Any]]:
    """Return the entries of a folder's list."""
    return list(json.loads((folder / "manifest.json").read_text("utf-8"))["files"].values())


def content(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder by original name."""
    return {one["name"]: (folder / one["file"]).read_bytes() for one in manifest(folder) if one["file"]}


async def test_files_with_safe_names(tmp_path: Path) -> None:
    """Names in the folder say whose it is and nothing else; the list has the names; all is private."""
    world = MarkingWorld()
    learner = world.learners[0]
    names = {"ñandú & co.PDF": PDF, "a/b/same.txt": b"1", "c/same.txt": b"2", "x.tar.gz": b"3"}
    world.hand_in("Essay", learner, names)
    folder = tmp_path / "work"
    done = await fetch(world, folder)
    assert (RunState.COMPLETED, 4) == (done.state, done.counts["downloaded"])
    entries = manifest(folder)
    kept = [one for one in entries if one["state"] == "downloaded"]
    assert {"ñandú & co.PDF", "same.txt", "x.tar.gz"} <= {one["name"] for one in kept}
    assert all(one["file"].startswith(f"user-{learner}_attempt-1_") for one in kept)
    assert len({one["file"] for one in kept}) == len(kept)
    assert PDF == content(folder)["ñandú & co.PDF"]
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert not (folder / ".parts").exists()


async def test_a_name_that_leads_out_is_not_asked_for(tmp_path: Path) -> None:
    """A path with dots in it is no path of ours: the file is told as kept elsewhere."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"../../up.txt": b"a", "fine.txt": b"b"})
    done = await fetch(world, tmp_path / "work")
    assert (1, 1, RunState.DEGRADED) == (done.counts["downloaded"], done.counts["elsewhere"], done.state)


async def test_nothing_is_fetched_twice(tmp_path: Path) -> None:
    """A second download asks for no file; a new version comes beside the old one, one taken back is marked."""
    world = MarkingWorld()
    one, two = world.learners[:2]
    row = world.hand_in("Essay", one, {"a.pdf": PDF})
    world.hand_in("Essay", two, {"b.pdf": PDF})
    await fetch(world, tmp_path)
    again = await fetch(world, tmp_path)
    assert (2, 0, 2) == (again.counts["unchanged"], again.counts["downloaded"], world.called(FILES))
    world.site.now += 60
    row["plugins"][1]["fileareas"][0]["files"] = world.site.marking.add_files(
        330, row["id"], {"a.pdf": PDF + b"more"}, world.site.now
    )
    third = await fetch(world, tmp_path)
    assert (1, 1, 1) == (third.counts["unchanged"], third.counts["downloaded"], third.counts["gone"])
    assert [("downloaded", len(PDF) + 4), ("gone", len(PDF))] == sorted(
        (one["state"], len((tmp_path / one["file"]).read_bytes()))
        for one in manifest(tmp_path)
        if one["name"] == "a.pdf"
    )


async def test_a_file_that_was_lost_is_fetched_again(tmp_path: Path) -> None:
    """What the list has and the folder has not, or not whole, is fetched."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    await fetch(world, tmp_path)
    file = tmp_path / manifest(tmp_path)[0]["file"]
    file.write_bytes(b"cut")
    done = await fetch(world, tmp_path)
    assert (1, PDF) == (done.counts["downloaded"], file.read_bytes())


async def test_a_broken_connection_goes_on(tmp_path: Path) -> None:
    """The rest is asked for, in the same run; a text comes whole once more, since Moodle gives no part of it."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    world.site.marking.cut_after = 1000
    done = await fetch(world, tmp_path / "pdf")
    ranges = [call[1]["range"] for call in world.fake.calls if call[0] == WEB_FILES]
    assert (1, ["", "bytes=1000-"]) == (done.counts["downloaded"], ranges)
    assert PDF == content(tmp_path / "pdf")["a.pdf"]
    world.hand_in("Blind", world.learners[0], {"b.txt": PDF})
    world.site.marking.cut_after = 1000
    await fetch(world, tmp_path / "text", "Blind")
    assert PDF == content(tmp_path / "text")["b.txt"]


async def test_an_interrupted_download_goes_on_in_the_next(tmp_path: Path) -> None:
    """What an earlier run left half is continued, unless the content has changed since."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    world.site.marking.cut_after = 700
    world.fake.fail_next(WEB_FILES, "dropped", times=9, after=1)
    first = await fetch(world, tmp_path)
    assert ([("no_answer")], RunState.DEGRADED) == ([reason for _, reason in first.failed], first.state)
    world.fake._failures._due.clear()
    world.desk = world.new_desk()
    await fetch(world, tmp_path)
    assert "bytes=700-" == [call[1]["range"] for call in world.fake.calls if call[0] == WEB_FILES][-1]
    assert PDF == content(tmp_path)["a.pdf"]


async def test_quiet_hours_that_begin_in_the_middle(tmp_path: Path) -> None:
    """Nothing more is asked for then, and afterwards the same command does the rest."""
    world = MarkingWorld()
    for learner in world.learners:
        world.hand_in("Essay", learner, {"a.pdf": PDF})
    answer, files = world.fake, 0

    def slow(request: httpx.Request) -> httpx.Response:
        nonlocal files
        files += WEB_FILES in request.url.path
        world.clock.advance(3600.0 if files == 2 else 0.0)
        return answer(request)

    now = datetime.fromtimestamp(world.clock.now(), UTC)
    soon = now.hour * 60 + now.minute + 30
    quiet = Limits(quiet=QuietHours(((soon % 1440, (soon + 240) % 1440),)))
    transport = httpx.MockTransport(slow)
    client = MoodleClient(
        world.site.url, Login(world.fake.token), clock=world.clock, transport=transport, limits=quiet
    )
    world.desk = Desk(client)
    with pytest.raises(QuietTime, match="Moodle has its quiet hours"):
        await fetch(world, tmp_path)
    assert (len(list(tmp_path.glob("user-*"))) < 5, files < 5) == (True, True)
    world.clock.advance(5 * 3600.0)
    done = await fetch(world, tmp_path)
    assert (RunState.COMPLETED, 5) == (done.state, done.counts["downloaded"] + done.counts["unchanged"])
    assert 5 == len(list(tmp_path.glob("user-*")))


async def test_half_of_another_content_is_thrown_away(tmp_path: Path) -> None:
    """The hash tells that the rest belongs to something else; the file is then fetched whole."""
    world = MarkingWorld()
    row = world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    world.site.marking.cut_after = 700
    world.fake.fail_next(WEB_FILES, "dropped", times=9, after=1)
    await fetch(world, tmp_path)
    world.fake._failures._due.clear()
    changed = PDF[::-1]
    path = f"/330/assignsubmission_file/submission_files/{row['id']}/a.pdf"
    world.site.marking.contents[path] = changed
    world.desk = world.new_desk()
    done = await fetch(world, tmp_path)
    assert (1, changed) == (done.counts["downloaded"], content(tmp_path)["a.pdf"])


@pytest.mark.parametrize("code", ["invalidtoken", "accessexception", "sitemaintenance"])
async def test_an_error_is_no_file(tmp_path: Path, code: str) -> None:
    """Moodle's errors come as JSON with status 200: they end the download and are not kept as a file."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.json": b'{"errorcode": "mine"}'})
    found = await world.find("Essay")

    def answer(request: httpx.Request) -> httpx.Response:
        if WEB_FILES in request.url.path:
            body = {"error": "No", "errorcode": code, "stacktrace": None}
            return httpx.Response(200, json=body, headers={"Content-Type": "application/json; charset=utf-8"})
        return world.fake(request)

    world.desk = desk_with(world, answer)
    with pytest.raises((AccessDenied, Maintenance)):
        await download(world.desk, found, str(tmp_path), world.clock)
    assert ["manifest.json"] == [path.name for path in tmp_path.iterdir()]
    assert [""] == [one["sha1"] for one in manifest(tmp_path)]


def desk_with(world: MarkingWorld, answer: Any) -> Desk:
    """Return a desk whose Moodle is answered by something else."""
    transport = httpx.MockTransport(answer)
    return Desk(MoodleClient(world.site.url, Login(world.fake.token), clock=world.clock, transport=transport))


async def test_a_real_json_file_is_one(tmp_path: Path) -> None:
    """A submitted file that looks like an error of Moodle is a file all the same."""
    world = MarkingWorld()
    body = b'{"error": "x", "errorcode": "invalidtoken"}'
    world.hand_in("Essay", world.learners[0], {"a.json": body})
    await fetch(world, tmp_path)
    assert body == content(tmp_path)["a.json"]


async def test_a_web_page_is_no_file(tmp_path: Path) -> None:
    """A page in place of a file (a login form, a proxy) is refused."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="<html>") if WEB_FILES in request.url.path else world.fake(request)

    world.desk = desk_with(world, answer)
    done = await fetch(world, tmp_path)
    assert ["no_file"] == [reason for _, reason in done.failed]
    assert {} == content_there(tmp_path)


def content_there(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are not its list."""
    return {path.name: path for path in folder.iterdir() if path.name != "manifest.json"}


@pytest.mark.parametrize("wrong", ["shorter", "longer", "other"])
async def test_size_and_content_are_checked(tmp_path: Path, wrong: str) -> None:
    """What has another size than Moodle lists, or another hash than it sends, is not kept."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    bodies = {"shorter": PDF[:-1], "longer": PDF + b"x", "other": PDF[::-1]}

    def answer(request: httpx.Request) -> httpx.Response:
        real = world.fake(request)
        if WEB_FILES not in request.url.path:
            return real
        headers = {name: real.headers[name] for name in ("Content-Disposition", "Etag", "Content-Type")}
        return httpx.Response(200, headers=headers, content=bodies[wrong])

    world.desk = desk_with(world, answer)
    done = await fetch(world, tmp_path)
    assert (["changed"], {}) == ([reason for _, reason in done.failed], content_there(tmp_path))


async def test_caps(tmp_path: Path) -> None:
    """Too large by its own word: not asked for; larger than its word: cut off while it comes."""
    world = MarkingWorld()
    one, two, three = world.learners[:3]
    world.hand_in("Essay", one, {"large.pdf": bytes(2000)})
    row = world.hand_in("Essay", two, {"liar.pdf": bytes(3000)})
    row["plugins"][1]["fileareas"][0]["files"][0]["filesize"] = 10
    world.hand_in("Essay", three, {"small.pdf": bytes(900)})
    done = await fetch(world, tmp_path, caps=Caps(file=1000, total=10_000))
    assert {"too_large": 2, "downloaded": 1} == dict(done.counts)
    total = await fetch(world, tmp_path / "b", caps=Caps(file=2000, total=2500))
    assert 1 == total.counts["over_total"]
    assert not [path for path in tmp_path.rglob("*") if ".parts" in str(path) and path.is_file()]


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.org/webservice/pluginfile.php/1/a.pdf",
        "http://moodle.example.org/webservice/pluginfile.php/1/a.pdf",
        "https://moodle.example.org:8443/webservice/pluginfile.php/1/a.pdf",
        "https://moodle.example.org@elsewhere.example.org/webservice/pluginfile.php/1/a.pdf",
        "https://user:pw@moodle.example.org/webservice/pluginfile.php/1/a.pdf",
        "https://moodle.example.org/webservice/pluginfile.php/../rest/server.php",
        "https://moodle.example.org/webservice/pluginfile.php/%2e%2e/rest/server.php",
        "https://moodle.example.org/webservice/pluginfile.php/1/%2e./x",
        "https://moodle.example.org/other/webservice/pluginfile.php/1/a.pdf",
        "https://moodle.example.org/admin.php",
        "ftp://moodle.example.org/webservice/pluginfile.php/1/a.pdf",
        "//moodle.example.org/webservice/pluginfile.php/1/a.pdf",
        "https://moodle.example.org:bad/webservice/pluginfile.php/1/a.pdf",
    ],
)
def test_only_from_the_configured_moodle(url: str) -> None:
    """Scheme, host, port and path have to be those of the site; the token goes nowhere else."""
    with pytest.raises(AccessDenied, match="not asked for"):
        file_path("https://moodle.example.org", url)


def test_paths_below_the_site() -> None:
    """A site in a folder, the usual port written out, queries dropped, plain addresses turned into ours."""
    site = "https://example.org:443/moodle"
    for url in (
        "https://example.org/moodle/webservice/pluginfile.php/1/a%20b.pdf?forcedownload=1",
        "https://EXAMPLE.org/moodle/pluginfile.php/1/a%20b.pdf",
    ):
        assert "/webservice/pluginfile.php/1/a%20b.pdf" == file_path(site, url)


async def test_a_file_of_another_site(tmp_path: Path) -> None:
    """It is told and not asked for; the others are fetched."""
    world = MarkingWorld()
    row = world.hand_in("Essay", world.learners[0], {"a.pdf": PDF, "b.pdf": PDF})
    file = row["plugins"][1]["fileareas"][0]["files"][0]
    file["fileurl"] = f"https://elsewhere.example.org{file['fileurl']}"
    done = await fetch(world, tmp_path)
    assert (1, 1) == (done.counts["downloaded"], done.counts["elsewhere"])


async def test_only_what_was_submitted(tmp_path: Path) -> None:
    """Drafts are left alone unless they are wanted."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF}, status="draft")
    assert 0 == (await fetch(world, tmp_path)).submissions
    drafts = await fetch(world, tmp_path, wanted=Filter(statuses=frozenset({"draft"})))
    assert 1 == drafts.counts["downloaded"]


async def test_blind_marking(tmp_path: Path) -> None:
    """Neither the names in the folder nor the list tell whose it is, where the account may not know."""
    world = MarkingWorld()
    world.fake.revoke("mod/assign:revealidentities")
    world.hand_in("Blind", world.learners[0], {"a.pdf": PDF})
    await fetch(world, tmp_path, "Blind")
    (entry,) = manifest(tmp_path)
    assert entry["file"].startswith(f"participant-{entry['participant']}_attempt-1_")
    assert (None, []) == (entry["person"], entry["members"])


async def test_group_work(tmp_path: Path) -> None:
    """The work of a group comes once, with its members in the list."""
    world = MarkingWorld()
    north = world.site.members[world.course][world.learners[0]].groups[0]
    world.hand_in("Team", 0, {"a.pdf": PDF}, groupid=north)
    await fetch(world, tmp_path, "Team")
    (entry,) = manifest(tmp_path)
    assert [world.learners[0], world.learners[2]] == entry["members"]
    assert entry["file"].startswith(f"group-{north}_attempt-1_")


@pytest.mark.parametrize("known", [True, False])
async def test_a_participant_number_that_comes_later(tmp_path: Path, known: bool) -> None:
    """Once the account is mended the list gets the number, and keeps it; nothing is fetched again."""
    world = MarkingWorld()
    if not known:
        world.fake.revoke("mod/assign:revealidentities")
    learner = world.learners[0]
    number = world.site.marking.number(world.instance("Blind"), learner)
    world.hand_in("Blind", learner, {"a.pdf": PDF})
    world.site.update_user(learner, lastname="<Last0")
    await fetch(world, tmp_path, "Blind")
    (first,) = manifest(tmp_path)
    assert first["participant"] is None
    world.site.update_user(learner, lastname="Last0")
    done = await fetch(world, tmp_path, "Blind")
    assert [first | {"participant": number}] == manifest(tmp_path)
    assert (1, 1, 1) == (done.counts["unchanged"], done.renewed, world.called(FILES))
    assert "manifest.json: whose work it is was renewed for 1 unchanged file." in told(done)
    world.site.update_user(learner, lastname="<Last0")
    done = await fetch(world, tmp_path, "Blind")
    assert (0, [number]) == (done.renewed, [one["participant"] for one in manifest(tmp_path)])
    (tmp_path / first["file"]).unlink()
    await fetch(world, tmp_path, "Blind")
    assert [number] == [one["participant"] for one in manifest(tmp_path)]


async def members_after(world: MarkingWorld, folder: Path) -> list[int]:
    """Download the work of a group once more and return its members in the list."""
    await fetch(world, folder, "Team")
    (entry,) = manifest(folder)
    return list(entry["members"])


async def test_members_in_the_list_are_those_of_today(tmp_path: Path) -> None:
    """Whom Moodle could not show comes in and stays; who left goes, unless that is what cannot be told."""
    world = MarkingWorld()
    one, other, bad, *_ = world.learners
    in_course = world.site.members[world.course]
    (north,), (south,) = in_course[one].groups, in_course[other].groups
    world.hand_in("Team", 0, {"a.pdf": PDF}, groupid=north)
    world.site.update_user(bad, lastname="<Last2")
    assert [one] == await members_after(world, tmp_path)
    world.site.update_user(bad, lastname="Last2")
    assert [one, bad] == await members_after(world, tmp_path)
    world.site.update_user(bad, lastname="<Last2")
    assert [one, bad] == await members_after(world, tmp_path)
    world.site.enrol(world.course, one, groups=[south])
    assert [bad] == await members_after(world, tmp_path)
    world.site.enrol(world.course, bad, groups=[south])
    assert [bad] == await members_after(world, tmp_path)
    world.site.update_user(bad, lastname="Last2")
    assert [] == await members_after(world, tmp_path)
    assert 1 == world.called(FILES)


async def test_who_may_not_be_known_any_more_leaves_the_list(tmp_path: Path) -> None:
    """Without the right to reveal identities neither person nor members stay, whomever Moodle cannot show."""
    world = MarkingWorld()
    cmid = world.site.activities.set(world.course, "Blind team", teamsubmission=1, blindmarking=1)
    world.cmid["Blind team"] = cmid
    one, other, member, *_ = world.learners
    north = world.site.members[world.course][one].groups[0]
    world.hand_in("Blind", other, {"b.pdf": PDF})
    world.hand_in("Blind team", 0, {"a.pdf": PDF}, groupid=north)

    async def whose() -> list[tuple[int | None, list[int]]]:
        found = []
        for name in ("Blind", "Blind team"):
            await fetch(world, tmp_path / name, name)
            found += [(entry["person"], entry["members"]) for entry in manifest(tmp_path / name)]
        return found

    assert [(other, []), (None, [one, member])] == await whose()
    world.fake.revoke("mod/assign:revealidentities")
    world.site.update_user(member, lastname="<Last2")
    assert [(None, []), (None, [])] == await whose()


def of(*people: int, participants: tuple[int, ...] = ()) -> Filter:
    """Return the wish for what these people have submitted."""
    return Filter(frozenset({"submitted"}), people=frozenset(people), participants=frozenset(participants))


async def test_the_work_of_some(tmp_path: Path) -> None:
    """Only the files of the people named are fetched; the copies of the others are not taken for gone."""
    world = MarkingWorld()
    for number, learner in enumerate(world.learners[:3]):
        world.hand_in("Essay", learner, {f"{number}.pdf": PDF})
    first, second, _, fourth, _ = world.learners
    done = await fetch(world, tmp_path, wanted=of(first))
    assert ({"0.pdf"}, 1, []) == (set(content(tmp_path)), done.submissions, done.messages)
    done = await fetch(world, tmp_path, wanted=of(second, fourth))
    assert ({"0.pdf", "1.pdf"}, {"downloaded": 1}) == (set(content(tmp_path)), dict(done.counts))
    assert [f"Person {fourth} has handed in nothing that is submitted."] == done.messages
    assert RunState.COMPLETED == done.state
    assert done.messages[0] in told(done)


async def test_the_work_of_a_member_is_that_of_the_group(tmp_path: Path) -> None:
    """Each member of a group has handed in what the group has; who is in no group has nothing of it."""
    world = MarkingWorld()
    north = world.site.members[world.course][world.learners[0]].groups[0]
    world.hand_in("Team", 0, {"a.pdf": PDF}, groupid=north)
    first, south, second, _, alone = world.learners
    for number, member in enumerate((first, second)):
        done = await fetch(world, tmp_path / str(number), "Team", wanted=of(member))
        assert ({"a.pdf"}, []) == (set(content(tmp_path / str(number))), done.messages)
    done = await fetch(world, tmp_path / "none", "Team", wanted=of(south, alone))
    nothing = "has handed in nothing that is submitted."
    assert (0, [f"Person {south} {nothing}", f"Person {alone} {nothing}"]) == (done.submissions, done.messages)


@pytest.mark.parametrize("known", [True, False])
async def test_the_work_of_a_participant(tmp_path: Path, known: bool) -> None:
    """Blind marking goes by its numbers; user ids only where the account may know whose work it is."""
    world = MarkingWorld()
    if not known:
        world.fake.revoke("mod/assign:revealidentities")
    first, second, *_ = world.learners
    for learner in (first, second):
        world.hand_in("Blind", learner, {f"{learner}.pdf": PDF})
    numbers = [world.site.marking.number(world.instance("Blind"), one) for one in world.learners]
    done = await fetch(world, tmp_path / "a", "Blind", wanted=of(participants=(numbers[0], numbers[3])))
    assert {f"{first}.pdf"} == set(content(tmp_path / "a"))
    assert [f"Participant {numbers[3]} has handed in nothing that is submitted."] == done.messages
    if known:
        await fetch(world, tmp_path / "b", "Blind", wanted=of(second))
        assert {f"{second}.pdf"} == set(content(tmp_path / "b"))
        return
    with pytest.raises(UsageError, match=r"marked blindly.*--participant"):
        await fetch(world, tmp_path / "b", "Blind", wanted=of(second))
    assert not (tmp_path / "b").exists()


async def test_the_work_of_a_participant_in_a_blind_group(tmp_path: Path) -> None:
    """Where members are not told, a member's number still finds the group's work."""
    world = MarkingWorld()
    world.fake.revoke("mod/assign:revealidentities")
    cmid = world.site.activities.set(world.course, "Blind team", teamsubmission=1, blindmarking=1)
    world.cmid["Blind team"] = cmid
    north = world.site.members[world.course][world.learners[0]].groups[0]
    world.hand_in("Blind team", 0, {"a.pdf": PDF}, groupid=north)
    member, other = (world.site.marking.number(world.instance("Blind team"), one) for one in world.learners[:2])
    done = await fetch(world, tmp_path, "Blind team", wanted=of(participants=(member, other)))
    assert {"a.pdf"} == set(content(tmp_path))
    assert [f"Participant {other} has handed in nothing that is submitted."] == done.messages


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (of(999), "Nobody with the number 999 may submit"),
        (of(participants=(5,)), "is not marked blindly: give user ids"),
    ],
)
async def test_numbers_of_nobody(tmp_path: Path, wanted: Filter, said: str) -> None:
    """A number that nobody has is told before anything is fetched."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    with pytest.raises(UsageError, match=said):
        await fetch(world, tmp_path / "work", wanted=wanted)
    assert not (tmp_path / "work").exists()


async def test_a_folder_belongs_to_one_assignment(tmp_path: Path) -> None:
    """Another assignment, a damaged list, a list that leads out, a folder with other things: each is refused."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    folder = tmp_path / "work"
    await fetch(world, folder)
    with pytest.raises(UsageError, match="another assignment"):
        await fetch(world, folder, "Blind")
    listed = (folder / "manifest.json").read_text()
    for text in (
        "{",
        listed.replace('"file": "user-', '"file": "../user-'),
        listed.replace('"format": 1', '"format": 9'),
    ):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match="damaged"):
            await fetch(world, folder)
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        await fetch(world, shared)


@pytest.fixture
def memory() -> Iterator[str]:
    """Give an address in fsspec's memory, as a stand-in for any remote one."""
    system = fsspec.filesystem("memory")
    yield "memory://marking"
    system.rm("marking", recursive=True)


async def test_any_place_that_fsspec_knows(memory: str) -> None:
    """Files are sent when they are whole, and the list makes the next download incremental there too."""
    world = MarkingWorld()
    world.hand_in("Essay", world.learners[0], {"a.pdf": PDF})
    world.site.marking.cut_after = 100
    await fetch(world, memory)
    system = fsspec.filesystem("memory")
    listed = json.loads(system.cat_file("/marking/manifest.json"))
    (entry,) = listed["files"].values()
    assert PDF == system.cat_file(f"/marking/{entry['file']}")
    assert 1 == (await fetch(world, memory)).counts["unchanged"]


@pytest.mark.parametrize("target", ["s3://key:secret@bucket/x", "nosuch://x", "https://h/x?token=abc"])
async def test_targets_that_cannot_be_used(target: str) -> None:
    """A scheme that nobody knows and a secret in the address are said, the secret is not repeated."""
    world = MarkingWorld()
    with pytest.raises(UsageError) as raised:
        await fetch(world, target)
    assert "secret@" not in str(raised.value)
    assert "abc" not in str(raised.value)


def test_names_in_the_list() -> None:
    """Names are composed, without control characters and separators, and at most 200 bytes."""
    assert "é.txt" == clean_name("e\u0301.txt")
    assert "ab.txt" == clean_name("a\u202e/\x00b.txt")
    assert 200 >= len(clean_name("ñ" * 500).encode())
