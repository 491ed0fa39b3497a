"""A made-up Moodle of any size, always the same for the same size, and changes that touch a share of it."""

from __future__ import annotations

from dataclasses import dataclass

from adaptors.moodle.fake_site import FakeSite

FIRST_NAMES = ("Amina", "Brian", "Chebet", "David", "Esther", "Fatuma", "George", "Halima", "Isaac", "Jane")
LAST_NAMES = ("Otieno", "Mwangi", "Kiplagat", "Ochieng", "Wanjiru", "Abdi", "Njoroge", "Yusuf", "Kamau", "Achieng")
GROUPS = ("Morning", "Evening", "Weekend")


@dataclass(frozen=True)
class Load:
    """How large a site is: courses, people in each, grades of each person in each course.

    With `shared` the same people, so many, are in all courses by turns; 0 gives every course people of its own.
    """

    courses: int
    people: int = 200
    grades: int = 10
    shared: int = 0


def make_site(load: Load) -> FakeSite:
    """Make a site; one person in five has no grade for the last activity."""
    site = FakeSite()
    pool = [_person(site, number) for number in range(load.shared or load.courses * load.people)]
    for number in range(load.courses):
        course = site.add_course(f"CHW-{number:03}", f"Community health & care, part {number}")
        groups = [site.add_group(course, name) for name in GROUPS]
        items = [site.set_grade_item(course, f"Activity {activity}") for activity in range(load.grades)]
        start = number * load.people
        for place in range(load.people):
            person = pool[(start + place) % len(pool)]
            site.enrol(course, person, groups=(groups[place % len(groups)],))
            for item in items[: load.grades - (place % 5 == 0)]:
                site.grade(item, person, (person * 7 + item * 13) % 101)
    return site


def _person(site: FakeSite, number: int) -> int:
    first, last = FIRST_NAMES[number % 10], LAST_NAMES[number // 10 % 10]
    return site.add_user(
        first,
        f"{last} {number}",
        username=f"learner{number}",
        phone1="" if number % 10 == 9 else f"0722 {number:06}",
        city="Kisumu",
        country="KE",
        department="Community health",
        lastaccess=site.now - number,
        profile={"facility": f"Facility {number % 40}"},
    )


def change(site: FakeSite, percent: float) -> None:
    """Give a share of all learners in courses another grade, and the same share of all people another name."""
    step = max(1, round(100 / percent))
    learners = [(course, person) for course, members in site.members.items() for person in members]
    for course, person in learners[::step]:
        items = site.gradebooks[course].items
        site.grade(items[0].id, person, 50.5)
    for person in [number for number, user in site.users.items() if user.username.startswith("learner")][::step]:
        site.update_user(person, lastname=f"{site.users[person].lastname}-Rono")
