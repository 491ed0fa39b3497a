"""A made-up Moodle and a made-up CommCare on local ports: the same strict fakes that the tests use."""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_activities import AUTOMATIC
from adaptors.moodle.fake_hooks import Hook, HookedSite, silent
from adaptors.moodle.fake_marking import plugins
from adaptors.moodle.fake_site import FakeSite
from adaptors.serve import LocalServer
from flows.errors import UsageError

DOMAIN = "sandbox"
USERNAME = "sync@example.org"
DAY = 86_400
SHIPPED = Path(__file__).parent.parent / "mappings"

LEARNERS = (
    ("Amina", "Otieno", "0722 000 101"),
    ("Brian", "Mwangi", "0722 000 102"),
    ("Chebet", "Kiplagat", "+254 722 000 103"),
    ("David", "Ochieng", ""),
    ("Esther", "Wanjiru", "0722 000 105"),
    ("Fatuma", "Abdi", "0722 000 106"),
    ("George", "Njoroge", "0722 000 107"),
    ("Halima", "Yusuf", "0722 000 108"),
    ("Isaac", "Kamau", ""),
    ("Jane", "Achieng", "0722 000 110"),
    ("Kevin", "Mutua", "0722 000 111"),
    ("Lucy", "Nyambura", "0722 000 112"),
)
COACHES = ("joseph.kariuki", "mercy.chebet")
COURSES = (
    ("CHW-101", "Community health basics", ("Home visits", "Referral quiz"), range(12)),
    ("CHW-102", "Mother and child", ("Growth chart", "Danger signs quiz"), range(8)),
    ("CHW-201", "Supervising a team", ("Visit plan",), range(3, 7)),
)


@dataclass
class Sandbox:
    """Both fakes, their data, and the ids that the demo changes."""

    moodle: FakeMoodle
    commcare: FakeCommCare
    api_key: str
    learners: tuple[int, ...]
    courses: dict[str, int]
    items: dict[str, int]

    @property
    def site(self) -> FakeSite:
        """Return Moodle's data."""
        return self.moodle.site

    @property
    def project(self) -> FakeProject:
        """Return CommCare's data."""
        return self.commcare.project


def make_sandbox() -> Sandbox:
    """Make a site of three courses and twelve learners, and a project space with a group of two coaches."""
    site, items, courses = HookedSite(), dict[str, int](), dict[str, int]()
    teacher = site.add_user("Grace", "Wekesa", username="grace.wekesa", email="grace.wekesa@training.example.org")
    learners = tuple(
        site.add_user(
            first, last, username=f"{first}.{last}".lower(), email=f"{first}.{last}@training.example.org".lower(),
            phone1=phone, city="Kisumu", country="KE", lang="en", lastaccess=site.now - DAY * number,
        )
        for number, (first, last, phone) in enumerate(LEARNERS)
    )  # fmt: skip
    for shortname, fullname, activities, who in COURSES:
        course = courses[shortname] = site.add_course(shortname, fullname)
        site.enrol(course, teacher, ("editingteacher",))
        for number in who:
            site.enrol(course, learners[number], groups=("Morning" if number % 2 else "Evening",))
        for place, activity in enumerate(activities):
            item = items[activity] = site.set_grade_item(course, activity)
            cmid = site.activities.set(course, activity, tracking=AUTOMATIC, due=site.now + DAY * (14 * place - 3))
            for number in list(who)[::2]:
                site.grade(item, learners[number], 55 + 4 * number)
                _hand_in(site, cmid, learners[number])
                site.activities.complete(cmid, learners[number], site.now - 2 * DAY)
    project = FakeProject()
    coaches = project.add_group("Field coaches")
    for coach in COACHES:
        project.add_user(coach)
        project.place_user(coach, groups=[coaches])
    api_key = secrets.token_hex(20)
    commcare = FakeCommCare(project, domain=DOMAIN, username=USERNAME, api_key=api_key)
    return Sandbox(FakeMoodle(site, token=secrets.token_hex(16)), commcare, api_key, learners, courses, items)


def _hand_in(site: FakeSite, cmid: int, learner: int) -> None:
    """Let a learner have handed in a file and a text, graded by now."""
    when = site.now - 2 * DAY
    site.activities.submit(cmid, learner, when, gradingstatus="graded")
    row = site.activities.submissions[site.activities.instance_of(cmid)][-1]
    report = f"Report of learner {learner}\n".encode()
    files = site.marking.add_files(cmid, row["id"], {"report.txt": report}, when)
    row["plugins"] = plugins(files, "<p>Please see the report.</p>")


CHANGES: tuple[tuple[str, Callable[[Sandbox], None]], ...] = (
    (
        "Brian Mwangi gets 88 points for 'Home visits'",
        lambda box: box.site.grade(box.items["Home visits"], box.learners[1], 88),
    ),
    (
        "Chebet Kiplagat is now called Kiplagat-Rono",
        lambda box: box.site.update_user(box.learners[2], lastname="Kiplagat-Rono"),
    ),
    (
        "Amina Otieno joins 'Supervising a team'",
        lambda box: box.site.enrol(box.courses["CHW-201"], box.learners[0]),
    ),
    (
        "Lucy Nyambura leaves 'Community health basics', her only course",
        lambda box: box.site.unenrol(box.courses["CHW-101"], box.learners[11]),
    ),
)
"""What may happen in the made-up Moodle: in words, and as it is done."""


@contextmanager
def serving(
    sandbox: Sandbox, folder: Path, *, moodle_port: int = 0, commcare_port: int = 0, keep: bool = False
) -> Iterator[dict[str, str]]:
    """Serve both fakes on 127.0.0.1 and yield the settings to reach them; `folder` holds mappings and new books.

    The mappings are copies of the shipped ones with a project.yaml that fits, free to play with; with `keep` those
    that are there already stay. Raises UsageError when somebody else is at work in the folder.
    """
    with (
        _alone(folder),
        LocalServer(sandbox.moodle, port=moodle_port) as moodle,
        LocalServer(sandbox.commcare, port=commcare_port) as commcare,
    ):
        mappings = prepare(folder, keep=keep)
        sandbox.site.url = moodle.url
        yield {
            "MOODLE_URL": moodle.url,
            "MOODLE_TOKEN": sandbox.moodle.token,
            "COMMCARE_URL": commcare.url,
            "COMMCARE_DOMAIN": DOMAIN,
            "COMMCARE_USERNAME": USERNAME,
            "COMMCARE_API_KEY": sandbox.api_key,
            "MOODLE_TOKEN_EXPIRES": "never",
            "COMMCARE_API_KEY_EXPIRES": "never",
            "STATE_URL": f"sqlite:///{folder / 'state.db'}",
            "STATE_KEY_FILE": str(folder / "state.key"),
            "MAPPINGS_DIR": str(mappings),
        }


@contextmanager
def hooked(sandbox: Sandbox, address: str) -> Iterator[dict[str, str]]:
    """Let the made-up Moodle tell an address of what happens, and yield the settings of who listens there."""
    site = sandbox.site
    if not address or not isinstance(site, HookedSite):
        yield {}
        return
    token = secrets.token_hex(16)
    hook = site.post = Hook(address, token, site.url)
    try:
        yield {"WEBHOOK_TOKEN": token}
    finally:
        site.post = silent
        hook.close()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that a second sandbox does not take the books from under the first."""
    for place in (folder.parent, folder):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            who = lock.read().strip()
            raise UsageError(
                f"Another sandbox is at work in {folder}{f' ({who})' if who else ''}. End it with Ctrl-C in its "
                "terminal, or start this one in another folder."
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()
        yield


def prepare(folder: Path, *, keep: bool = False) -> Path:
    """Begin new books, and copy the shipped mappings and the demo's project.yaml; returns the mappings' folder."""
    for file in folder.glob("state.*"):
        file.unlink()
    shutil.rmtree(folder / "backups", ignore_errors=True)  # of systems that are no more
    target = folder / "mappings"
    if not keep:
        shutil.rmtree(target, ignore_errors=True)
    if not (target / "project.yaml").exists():
        target.mkdir(parents=True, exist_ok=True)
        copy_shipped(target)
        shutil.copyfile(SHIPPED / "demo" / "project.yaml", target / "project.yaml")
    return target


def copy_shipped(target: Path, *, offline: bool = False) -> list[Path]:
    """Copy the shipped mappings into a folder, leaving what is there, and return the new files.

    With `offline` they are those for students who have their cases on phones of their own. The schemas that the
    files name for editors go along; they are generated, so they are not among the new files.
    """
    source = SHIPPED / "offline" if offline else SHIPPED
    found = [file for file in sorted(source.glob("*.yaml")) if file.name != "project.yaml"]
    new = [target / file.name for file in found if not (target / file.name).exists()]
    for path in new:
        shutil.copyfile(source / path.name, path)
    (target / "schema").mkdir(exist_ok=True)
    for file in (SHIPPED / "schema").glob("*.json"):
        if not (target / "schema" / file.name).exists():
            shutil.copyfile(file, target / "schema" / file.name)
    return new


def export_lines(settings: Mapping[str, str]) -> str:
    """Return the settings as lines for a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())


def wait_for_end(sandbox: Sandbox, say: Callable[[str], None]) -> None:
    """Wait for Ctrl-C or SIGTERM; each Enter meanwhile changes something in the made-up Moodle."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    change = changes_on_enter(sandbox, say)
    while not ended.wait(0.1):
        change()


def changes_on_enter(sandbox: Sandbox, say: Callable[[str], None]) -> Callable[[], None]:
    """Return what makes the next change in the made-up Moodle when Enter was pressed since the last call."""
    changes = iter(CHANGES)

    def change() -> None:
        if _enter_was_pressed():
            told, make = next(changes, ("That was all that happens here", lambda _: None))
            make(sandbox)
            say(f"In Moodle: {told}.")

    return change


def _enter_was_pressed() -> bool:
    """Tell whether a line was typed at our terminal; reading from it in the background would stop the process."""
    if not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        return False
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and bool(sys.stdin.readline())
