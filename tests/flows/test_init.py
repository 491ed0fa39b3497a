"""`init` with scripted answers: what is asked, what is written, what is kept, and that no secret is shown."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from adaptors.errors import AccessDenied
from flows.answers import CourseAnswer, Offer, courses
from flows.env_file import changed, parsed, write_private
from flows.init import Written, run_init
from flows.offer import NO_LIST, offer_of
from flows.settings import Settings, SettingsError, load_settings
from tests.flows.terminal import Terminal

OFFER = Offer(
    categories={3: "Nursing", 7: "Community health"},
    courses={2: ("CHW-01", "Basics"), 5: ("CHW-02", "Malaria"), 9: ("MID-01", "Midwifery")},
)
CONNECT = [
    ("Address of the Moodle", "https://moodle.llac.example.org/"),
    ("token, or with user name", "token"),
    ("Token of the service", "canary-token"),
    ("Address of CommCare", ""),
    ("Project space", "demo-space"),
    ("CommCare user name", "Service@Example.org"),
    ("API key", "canary-key"),
]
PROJECT = [
    ("Short name of this Moodle", ""),
    ("Time zone", "Africa/Nairobi"),
    ("Country", "ke"),
    ("Which courses", "2, 5"),
    ("Who owns the cases", "group"),
    ("case-sharing group", "Siaya CHWs"),
]


class Script:
    """A person who answers as written: the question that is expected, and the answer to it."""

    def __init__(self, *lines: tuple[str, str]) -> None:
        self.left = list(lines)
        self.shown: list[str] = []

    def __call__(self, question: str, default: str, secret: bool) -> str:
        """Answer the next question, which must be the one expected."""
        self.shown += [question, default]
        expected, answer = self.left.pop(0)
        assert expected in question
        assert secret == ("canary" in answer or "empty keeps" in question), question
        return answer


def edited(lines: list[tuple[str, str]], *changes: tuple[str, str]) -> list[tuple[str, str]]:
    """Return a script with other answers to some of its questions."""
    answers = dict(changes)
    return [(question, answers.get(question, answer)) for question, answer in lines]


def test_a_new_project_is_asked_for_and_written(tmp_path: Path) -> None:
    """After the last answer both files are there, and the settings can be read."""
    script = Script(*CONNECT, *PROJECT)
    result = run_init(script, tmp_path)
    env, project = tmp_path / ".env", tmp_path / "mappings" / "project.yaml"
    expected = {
        "language": 1,
        "site": "llac",
        "site_url": "https://moodle.llac.example.org",
        "time_zone": "Africa/Nairobi",
        "country": "KE",
        "courses": {"ids": [2, 5]},
        "owner": {"group": "Siaya CHWs"},
    }
    assert (Written((env, project), ()), []) == (result, script.left)
    assert expected == yaml.safe_load(project.read_text(encoding="utf-8"))
    assert "service@example.org" == load_settings({}, env).commcare_username


def test_the_env_file_is_ours_alone(tmp_path: Path) -> None:
    """0600, and nothing else is left behind."""
    run_init(Script(*CONNECT, *PROJECT), tmp_path)
    assert 0o600 == stat.S_IMODE((tmp_path / ".env").stat().st_mode)
    assert [".env", ".gitignore", "mappings"] == sorted(path.name for path in tmp_path.iterdir())


def test_git_takes_neither_the_settings_nor_the_books(tmp_path: Path) -> None:
    """Who puts the folder under git commits no token and no key; a .gitignore that is there stays as it is."""
    run_init(Script(*CONNECT, *PROJECT), tmp_path)
    assert "*.env\nvar/\n" == (tmp_path / ".gitignore").read_text()
    (tmp_path / ".gitignore").write_text("notes.txt\n")
    run_init(Script(("already. Change it", "y"), ("already. Change it", "n"), *CONNECT), tmp_path)
    assert "notes.txt\n" == (tmp_path / ".gitignore").read_text()


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither a question nor a default holds one, also the second time; and project.yaml holds none."""
    first = Script(*CONNECT, *PROJECT)
    run_init(first, tmp_path)
    again = edited(CONNECT, ("Token of the service", ""), ("API key", ""))
    second = Script(("already. Change it", "y"), ("already. Change it", "y"), *again, *PROJECT)
    run_init(second, tmp_path)
    project = (tmp_path / "mappings" / "project.yaml").read_text(encoding="utf-8")
    assert "canary" not in "".join([*first.shown, *second.shown, project])


def test_nothing_is_written_before_the_last_answer(tmp_path: Path) -> None:
    """Who gives up in the middle finds everything as it was."""
    with pytest.raises(IndexError):
        run_init(Script(*CONNECT, *PROJECT[:-1]), tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_token_that_is_pasted_too_early_is_taken(tmp_path: Path) -> None:
    """In the place of the word `token`; it is not asked for again, nor shown."""
    token = "0123456789abcdef" * 2
    early = [CONNECT[0], ("token, or with user name", f" {token} "), *CONNECT[3:]]
    script = Script(*early, *PROJECT)
    run_init(script, tmp_path)
    found = load_settings({}, tmp_path / ".env")
    assert (token, "") == (found.moodle_token.get_secret_value(), found.moodle_username)
    assert token not in "".join(script.shown)
    half = [CONNECT[0], ("token, or with user name", token[:-1]), ("That is none of the choices", "token")]
    script = Script(*half, *CONNECT[2:], *PROJECT)
    run_init(script, tmp_path / "other")
    assert token[:-1] not in "".join(script.shown)


def test_a_login_is_asked_for_instead_of_a_token(tmp_path: Path) -> None:
    """User name, password and service; a password keeps its spaces and quotes."""
    login = [
        CONNECT[0],
        ("token, or with user name", "login"),
        ("User name of the service", "service"),
        ("Password of the service", " canary's \\ $HOME ${X} # "),
        ("external service", "commcare"),
        *CONNECT[3:],
    ]
    run_init(Script(*login, *PROJECT), tmp_path)
    found = load_settings({}, tmp_path / ".env")
    assert ("service", " canary's \\ $HOME ${X} # ", "commcare", "") == (
        found.moodle_username,
        found.moodle_password.get_secret_value(),
        found.moodle_service,
        found.moodle_token.get_secret_value(),
    )


@pytest.mark.parametrize(
    ("question", "wrong", "sentence"),
    [
        ("Address of the Moodle", "moodle.example.org", "That does not begin with https://."),
        ("Address of the Moodle", "http://moodle.example.org", "That begins with http://, and the password"),
        ("Address of the Moodle", "", "That does not begin with https://."),
        ("token, or with user name", "maybe", "That is none of the choices: answer token or login."),
        ("Token of the service", "canary canary", "That holds a space"),
        ("Address of CommCare", "https://www.commcarehq.org/a/demo/", "That is the address of a page"),
        ("Project space", "my space", "That is not the name of a project space"),
        ("CommCare user name", " ", "That is blank, and this is needed."),
        ("Short name of this Moodle", "LLAC Kenya", "That is no short name"),
        ("Time zone", "Nairobi", "That is not the name of a time zone; did you mean Africa/Nairobi?\n"),
        ("Time zone", "+3", "That is not the name of a time zone; write it as in Africa/Nairobi.\n"),
        ("Country", "Kenya", "That is no country: a country is two capital letters, as in KE."),
        ("Country", "uk", "That is no country: the code of the United Kingdom is GB."),
        ("Which courses", "", "That chooses no course"),
        ("Who owns the cases", "me", "answer user, location, group or none."),
        ("case-sharing group", "", "That is blank, and this is needed."),
    ],
)
def test_a_wrong_answer_is_asked_again(tmp_path: Path, question: str, wrong: str, sentence: str) -> None:
    """One sentence says what is wrong, then the same question comes."""
    lines = [*CONNECT, *PROJECT]
    place = [line[0] for line in lines].index(question)
    lines.insert(place, (question, wrong))
    script = Script(*lines)
    run_init(script, tmp_path)
    said = script.shown[2 * (place + 1)]
    assert (True, 1) == (sentence in said, said.index(question) and said.count(question))


# ---- a project that is there


EXISTING = """\
# our notes
MOODLE_URL=https://old.example.org
export MOODLE_TOKEN_FILE=/run/secrets/token

COMMCARE_DOMAIN="old-space"  # theirs
COMMCARE_USERNAME=a@example.org
COMMCARE_PASSWORD='canary word'
PREFECT_API_URL=http://localhost:4200/api
"""


def present(folder: Path) -> Path:
    """Write a project that is there already."""
    (folder / ".env").write_text(EXISTING, encoding="utf-8")
    project = folder / "mappings" / "project.yaml"
    project.parent.mkdir()
    project.write_text("site: old\n", encoding="utf-8")
    return project


def test_files_that_are_there_are_left_without_a_yes(tmp_path: Path) -> None:
    """Two times Enter changes nothing."""
    project = present(tmp_path)
    result = run_init(Script((".env already", ""), ("project.yaml already", "")), tmp_path)
    assert Written((), (tmp_path / ".env", project)) == result
    assert (EXISTING, "site: old\n") == ((tmp_path / ".env").read_text(), project.read_text())


def test_other_lines_of_the_env_file_stay(tmp_path: Path) -> None:
    """Only what was answered differently changes; what it replaces goes, notes and other names stay."""
    present(tmp_path)
    script = Script((".env already", "y"), ("project.yaml already", "n"), *CONNECT)
    run_init(script, tmp_path)
    expected = """\
# our notes
MOODLE_URL=https://moodle.llac.example.org

COMMCARE_DOMAIN=demo-space
COMMCARE_USERNAME=service@example.org
PREFECT_API_URL=http://localhost:4200/api
MOODLE_TOKEN=canary-token
COMMCARE_URL=https://www.commcarehq.org
COMMCARE_API_KEY=canary-key
"""
    assert expected == (tmp_path / ".env").read_text(encoding="utf-8")


def test_what_is_there_is_the_default(tmp_path: Path) -> None:
    """Enter keeps each setting, secrets included, in whichever form they are."""
    present(tmp_path)
    enter = [(question, "") for question, _ in CONNECT]
    script = Script((".env already", "y"), ("project.yaml already", "n"), *enter)
    run_init(script, tmp_path)
    assert EXISTING + "COMMCARE_URL=https://www.commcarehq.org\n" == (tmp_path / ".env").read_text()
    assert "https://old.example.org" in script.shown


def test_an_address_with_a_password_is_not_shown_as_default(tmp_path: Path) -> None:
    """A setting that cannot be right is asked for as if it were not there."""
    (tmp_path / ".env").write_text("MOODLE_URL=https://me:canary@moodle.example.org\n")
    script = Script((".env already", "y"), *CONNECT, *PROJECT)
    run_init(script, tmp_path)
    assert "canary" not in "".join(script.shown)


def test_a_project_file_that_is_replaced_is_kept(tmp_path: Path) -> None:
    """Code lists and lookups in it are not lost."""
    project = present(tmp_path)
    script = Script((".env already", "n"), ("project.yaml already", "y"), ("Short name", "llac"), *PROJECT[1:])
    run_init(script, tmp_path)
    assert ("site: old\n", "https://old.example.org") == (
        project.with_name("project.yaml.old").read_text(),
        yaml.safe_load(project.read_text())["site_url"],
    )


def test_another_mappings_folder_is_respected(tmp_path: Path) -> None:
    """project.yaml goes where the settings say the mappings are."""
    (tmp_path / ".env").write_text("MAPPINGS_DIR=ours\n")
    run_init(Script((".env already", "y"), *CONNECT, *PROJECT), tmp_path)
    assert (tmp_path / "ours" / "project.yaml").exists()


def test_a_second_site_has_its_own_settings_file(tmp_path: Path) -> None:
    """The usual `.env` is not touched."""
    run_init(Script(*CONNECT, *PROJECT), tmp_path, env_name="second.env")
    assert [".gitignore", "mappings", "second.env"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_typo_in_the_env_file_is_said_at_once(tmp_path: Path) -> None:
    """Not after all the questions."""
    (tmp_path / ".env").write_text("MOODLE_TOKN=canary\n")
    with pytest.raises(SettingsError, match=r"did you mean MOODLE_TOKEN\?"):
        run_init(Script(), tmp_path)


# ---- a site that answers


class Probe:
    """A site that refuses some times before it lists what it has."""

    def __init__(self, refusals: int = 0, system: str = "Moodle") -> None:
        self.refusals, self.system = refusals, system
        self.asked: list[Settings] = []

    def __call__(self, settings: Settings) -> Offer:
        """List the site, or refuse."""
        self.asked.append(settings)
        if len(self.asked) <= self.refusals:
            raise AccessDenied(
                f"{self.system} refuses the token.",
                system=self.system,
                operation="x",
                remedy="Make a new one and put it into MOODLE_TOKEN.",
            )
        return OFFER


def test_the_site_is_listed_before_courses_are_chosen(tmp_path: Path) -> None:
    """Categories and courses stand above the question, and their names beside the ids in the file."""
    script = Script(*CONNECT, *edited(PROJECT, ("Which courses", "5, category 3")))
    run_init(script, tmp_path, probe=Probe())
    (question,) = [text for text in script.shown if "Which courses" in text]
    project = (tmp_path / "mappings" / "project.yaml").read_text(encoding="utf-8")
    assert "  category 7: Community health\n  course 2: CHW-01: Basics\n" in question
    assert "    - 5  # CHW-02: Malaria\n" in project
    assert {"ids": [5], "categories": [3]} == yaml.safe_load(project)["courses"]


@pytest.mark.parametrize(("system", "own"), [("Moodle", CONNECT[:3]), ("CommCare", CONNECT[3:])])
def test_a_system_that_refuses_is_asked_about_again(
    tmp_path: Path, system: str, own: list[tuple[str, str]]
) -> None:
    """The sentence is shown, and what was answered is the default; the secrets and the other system are kept."""
    enter = [(question, "") for question, _ in own]
    probe = Probe(refusals=1, system=system)
    said = f"{system} refuses the token. Make a new one.\nAnswer these"
    script = Script(*CONNECT, (said, "y"), *enter, *PROJECT)
    run_init(script, tmp_path, probe=probe)
    assert [] == script.left
    assert ["canary-token"] * 2 == [settings.moodle_token.get_secret_value() for settings in probe.asked]


def test_an_owner_is_looked_for(tmp_path: Path) -> None:
    """One that CommCare does not know is asked for again; whoever keeps it, or hears nothing, goes on."""

    def find(_: Settings, kind: str, name: str) -> str:
        if name == "closed":
            raise AccessDenied("No.", system="CommCare", operation="x")
        return "" if (kind, name) == ("group", "Siaya CHWs") else f"There is no {kind} '{name}'."

    wrong = ("case-sharing group", "Siaya CHW"), ("There is no group 'Siaya CHW'.\nGive another name?", "y")
    script = Script(*CONNECT, *PROJECT[:-1], *wrong, PROJECT[-1])
    run_init(script, tmp_path / "right", find_owner=find)
    assert [] == script.left
    kept = Script(*CONNECT, *PROJECT[:-1], wrong[0], (wrong[1][0], "n"))
    run_init(kept, tmp_path / "kept", find_owner=find)
    run_init(
        Script(*CONNECT, *PROJECT[:-1], ("case-sharing group", "closed")), tmp_path / "closed", find_owner=find
    )
    file = "mappings/project.yaml"
    assert ["Siaya CHWs", "Siaya CHW", "closed"] == [
        yaml.safe_load((tmp_path / name / file).read_text(encoding="utf-8"))["owner"]["group"]
        for name in ("right", "kept", "closed")
    ]


def test_one_may_go_on_without_the_site(tmp_path: Path) -> None:
    """A Moodle that is down today does not stop the writing of the files."""
    script = Script(*CONNECT, ("Answer these questions again", "n"), *PROJECT)
    run_init(script, tmp_path, probe=Probe(refusals=9))
    assert "canary-key" == load_settings({}, tmp_path / ".env").commcare_api_key.get_secret_value()


def test_a_site_is_listed_without_changing_the_settings(tmp_path: Path) -> None:
    """The present settings serve for the list; where they do not, the list is left out."""
    (tmp_path / ".env").write_text("MOODLE_URL=https://moodle.llac.example.org\n")
    probe = Probe()
    run_init(Script((".env already", "n"), *PROJECT), tmp_path, probe=probe)
    assert [] == probe.asked


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    """Forty lines, and how many more there are."""
    many = Offer(courses={number: (f"C{number}", "Course") for number in range(1, 101)})
    script = Script(*CONNECT, *PROJECT)
    run_init(script, tmp_path, probe=lambda _: many)
    assert any("  course 40: C40: Course\n  and 60 more\n" in text for text in script.shown)


# ---- the choice of courses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", CourseAnswer(ids=[2])),
        ("2, 5,9, 5", CourseAnswer(ids=[2, 5, 9])),
        ("category 3", CourseAnswer(categories=[3])),
        ("Categories 3, 7, course 2", CourseAnswer(ids=[2], categories=[3, 7])),
        ("CHW-*", CourseAnswer(shortname_like="CHW-*")),
        ("CHW-*, running", CourseAnswer(shortname_like="CHW-*", only_running=True)),
        ("running", CourseAnswer(only_running=True)),
        ("all", CourseAnswer(shortname_like="*")),
    ],
)
def test_courses_are_chosen_in_words(text: str, expected: CourseAnswer) -> None:
    """Ids, categories, a pattern, and these together."""
    assert expected == courses(text, OFFER)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "names course 4, which this account does not see"),
        ("category 2", "names category 2, which this account does not see"),
        ("chw-01", "fits the short name of no course"),
        ("CHW_01", "there is CHW-01"),
        ("CHW-*, MID-*", "has two patterns"),
        (" , ", "chooses no course"),
        ("1", "the site's front page"),
    ],
)
def test_courses_that_are_not_there_are_refused(text: str, said: str) -> None:
    """When the site is known, a choice of nothing is found at once."""
    with pytest.raises(ValueError, match=said):
        courses(text, OFFER)


def test_without_the_site_any_choice_is_taken() -> None:
    """`check` will say what is not there."""
    assert CourseAnswer(ids=[4]) == courses("4", Offer())


# ---- the texts of the files


@pytest.mark.parametrize(("answer", "expected"), [("NO", "NO"), ("ke", "KE")])
def test_a_country_stays_text(tmp_path: Path, answer: str, expected: str) -> None:
    """Norway is not false."""
    run_init(Script(*CONNECT, *edited(PROJECT, ("Country", answer))), tmp_path)
    assert expected == yaml.safe_load((tmp_path / "mappings" / "project.yaml").read_text())["country"]


@pytest.mark.parametrize("name", ["a: b # c", '"quoted" {x}', "Équipe 3", "yes", "12", "- x"])
def test_any_name_of_an_owner_can_be_written(tmp_path: Path, name: str) -> None:
    """Whatever a group is called, YAML gives it back."""
    run_init(Script(*CONNECT, *edited(PROJECT, ("case-sharing group", name))), tmp_path)
    text = (tmp_path / "mappings" / "project.yaml").read_text(encoding="utf-8")
    assert {"group": name} == yaml.safe_load(text)["owner"]


def test_nobody_as_owner_leaves_examples(tmp_path: Path) -> None:
    """The file shows how an owner is written, and names none."""
    run_init(Script(*CONNECT, *edited(PROJECT[:-1], ("Who owns the cases", "none"))), tmp_path)
    text = (tmp_path / "mappings" / "project.yaml").read_text(encoding="utf-8")
    assert ("owner" in yaml.safe_load(text), "# owner: {location: siaya-02}" in text) == (False, True)


@pytest.mark.parametrize(
    "value", ["plain", "with space", "it's", "back\\slash", '"', "#", "a\\'b", "${HOME}", "é", "\\n"]
)
def test_any_value_survives_the_env_file(value: str) -> None:
    """What is written is what is read."""
    assert {"A": value} == parsed(changed("", {"A": value}))


def test_a_variable_that_stands_twice_is_set_once() -> None:
    """The last one counted; the first place is kept."""
    assert "A=3\nB=1\n" == changed("A=1\nB=1\nA=2", {"A": "3"})


def test_a_value_over_several_lines_is_replaced_whole() -> None:
    """Also what looks like a variable inside it."""
    assert "A=1\nC=2\n" == changed("A='x\nB=y'\nC=2\n", {"A": "1"})


def test_a_file_without_a_last_line_break_is_added_to() -> None:
    """A new variable begins on its own line."""
    assert "A=1\nB=2\n" == changed("A=1", {"B": "2"})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all, and nothing is left beside it."""
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    fail: Callable[..., None] = lambda *_: (_ for _ in ()).throw(OSError("disk full"))  # noqa: E731
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, "A=2\n")
    assert (["A=1\n"], [path]) == ([path.read_text()], list(tmp_path.iterdir()))


def test_a_list_of_courses_that_moodle_cannot_show(tmp_path: Path, terminal: Terminal) -> None:
    """The categories are offered all the same, and the question says why there are no courses."""
    site = terminal.box.site
    site.courses[min(terminal.box.courses.values())]["contacts"] = [{"id": 3, "fullname": "Grace <Wekesa"}]
    offer = offer_of(load_settings(terminal.env, None))
    assert ({*site.categories}, {}, NO_LIST) == ({*offer.categories}, offer.courses, offer.lacking)
    script = Script(*CONNECT, *PROJECT)
    run_init(script, tmp_path, probe=lambda _: offer)
    assert any(f"{NO_LIST}\nWhich courses?" in text for text in script.shown)
