"""A made-up Moodle and a made-up CommCare on local ports: the same strict fakes that the tests use."""

from __future__ import annotations

import secrets
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adaptors.commcare.fake import FakeCommCare
from adaptors.commcare.fake_project import FakeProject
from adaptors.moodle.fake import FakeMoodle
from adaptors.moodle.fake_site import FakeSite
from adaptors.serve import LocalServer

DOMAIN = "sandbox"
USERNAME = "sync@example.org"
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
    """Make a site of three courses and twelve learners, and a project space with a group to own their cases."""
    site, items, courses = FakeSite(), dict[str, int](), dict[str, int]()
    teacher = site.add_user("Grace", "Wekesa", username="grace.wekesa", email="grace.wekesa@example.org")
    learners = tuple(
        site.add_user(
            first, last, username=f"{first}.{last}".lower(), email=f"{first}.{last}@example.org".lower(),
            phone1=phone, city="Kisumu", country="KE", lang="en", lastaccess=site.now - 86_400 * number,
        )
        for number, (first, last, phone) in enumerate(LEARNERS)
    )  # fmt: skip
    for shortname, fullname, activities, who in COURSES:
        course = courses[shortname] = site.add_course(shortname, fullname)
        site.enrol(course, teacher, ("editingteacher",))
        for number in who:
            site.enrol(course, learners[number], groups=("Morning" if number % 2 else "Evening",))
        for activity in activities:
            item = items[activity] = site.set_grade_item(course, activity)
            for number in list(who)[::2]:
                site.grade(item, learners[number], 55 + 4 * number)
    project = FakeProject()
    project.add_group("Field coaches")
    api_key = secrets.token_hex(20)
    commcare = FakeCommCare(project, domain=DOMAIN, username=USERNAME, api_key=api_key)
    return Sandbox(FakeMoodle(site, token=secrets.token_hex(16)), commcare, api_key, learners, courses, items)


@contextmanager
def serving(
    sandbox: Sandbox, folder: Path, *, moodle_port: int = 0, commcare_port: int = 0
) -> Iterator[dict[str, str]]:
    """Serve both fakes on 127.0.0.1 and yield the settings to reach them; `folder` is emptied and holds the books.

    The mappings in it are copies of the shipped ones with a project.yaml that fits: free to play with.
    """
    mappings = fresh_mappings(folder)
    with (
        LocalServer(sandbox.moodle, port=moodle_port) as moodle,
        LocalServer(sandbox.commcare, port=commcare_port) as commcare,
    ):
        sandbox.site.url = moodle.url
        yield {
            "MOODLE_URL": moodle.url,
            "MOODLE_TOKEN": sandbox.moodle.token,
            "COMMCARE_URL": commcare.url,
            "COMMCARE_DOMAIN": DOMAIN,
            "COMMCARE_USERNAME": USERNAME,
            "COMMCARE_API_KEY": sandbox.api_key,
            "STATE_URL": f"sqlite:///{folder / 'state.db'}",
            "STATE_KEY_FILE": str(folder / "state.key"),
            "MAPPINGS_DIR": str(mappings),
        }


def fresh_mappings(folder: Path) -> Path:
    """Empty the folder and copy the shipped mappings and the demo's project.yaml into it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    target = folder / "mappings"
    target.mkdir()
    for file in (*SHIPPED.glob("*.yaml"), SHIPPED / "demo" / "project.yaml"):
        if file.name != "project.yaml" or file.parent.name == "demo":
            shutil.copyfile(file, target / file.name)
    return target


def export_lines(settings: Mapping[str, str]) -> str:
    """Return the settings as lines for a shell."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())


def wait_for_end() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
