"""`moodle-commcare init`: asks for what a new project needs, and writes `.env` and project.yaml at the end.

Nothing is written before the last answer; what is there is changed only when a person says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from adaptors.errors import AdaptorError
from flows import answers
from flows.addresses import commcare_address, is_loopback, moodle_address
from flows.answers import Ask, Offer, settled
from flows.env_file import changed, write_private
from flows.project_file import Answers, project_text
from flows.settings import Settings, SettingsError, load_settings, one_word, project_space, read_file, unknown

Values = dict[str, str]
Changes = dict[str, str | None]
Probe = Callable[[Settings], Offer]
FindOwner = Callable[[Settings, str, str], str]
SHOWN = 40  # courses and categories listed in a question
MOODLE_TOKEN = ("MOODLE_TOKEN", "MOODLE_TOKEN_FILE")
MOODLE_LOGIN = ("MOODLE_USERNAME", "MOODLE_PASSWORD", "MOODLE_PASSWORD_FILE", "MOODLE_SERVICE")
COMMCARE_SECRETS = ("COMMCARE_API_KEY", "COMMCARE_API_KEY_FILE", "COMMCARE_PASSWORD", "COMMCARE_PASSWORD_FILE")
PLAIN_LABELS = {"www", "moodle", "lms", "elearning", "learn", "learning", "online"}


@dataclass(frozen=True)
class Written:
    """Which files were written and which were left as they are."""

    written: tuple[Path, ...]
    kept: tuple[Path, ...]


def run_init(
    ask: Ask,
    folder: Path,
    *,
    probe: Probe | None = None,
    find_owner: FindOwner | None = None,
    env_name: str = ".env",
) -> Written:
    """Ask everything and write `.env` (or another settings file) and project.yaml into a folder.

    `probe` lists the categories and courses of the site; when it raises AdaptorError, its sentence is shown and
    the questions about the system that refused can be answered again. `find_owner` says, for a kind and a name,
    why such an owner cannot have cases, "" when it can. Raises SettingsError for an `.env` that cannot be read or
    holds names nobody knows.
    """
    env_path = folder / env_name
    before = _present(env_path)
    project_path = folder / before.get("MAPPINGS_DIR", "mappings") / "project.yaml"
    with_env = _may_write(ask, env_path, "Other lines in it stay.")
    with_project = _may_write(ask, project_path, "The present one is kept as project.yaml.old.")
    if with_env:
        after, offer = _connect(ask, before, probe)
    else:
        after, (offer, *_) = before, _offer(before, probe if with_project else None)
    project = _project_text(ask, after, offer, find_owner) if with_project else None
    if with_env:
        _write_env(env_path, before, after)
        _keep_out_of_git(env_path.with_name(".gitignore"))
    if project is not None:
        _write_project(project_path, project)
    choices = {env_path: with_env, project_path: with_project}
    return Written(
        tuple(path for path, chosen in choices.items() if chosen),
        tuple(path for path, chosen in choices.items() if not chosen),
    )


def _present(path: Path) -> Values:
    """Return the variables of an `.env` that is there; SettingsError when some would stop every command."""
    values = read_file(path) if path.exists() else {}
    if strange := list(unknown(values)):
        raise SettingsError("\n".join(strange))
    return values


def _may_write(ask: Ask, path: Path, note: str) -> bool:
    """Ask whether a file that is there may be changed; a new one may be written."""
    question = f"There is {path} already. Change it? {note} (y/n)"
    return not path.exists() or settled(ask, question, answers.yes, default="n")


def _connect(ask: Ask, values: Values, probe: Probe | None) -> tuple[Values, Offer]:
    """Ask for both systems until they answer, or the person goes on without; again only for one that refuses."""
    systems = {"Moodle": _moodle, "CommCare": _commcare}
    asked = [*systems]
    while True:
        for name in asked:
            values = _after(values, systems[name](ask, values))
        offer, sentence, system = _offer(values, probe)
        asked = [system] if system in systems else [*systems]
        again = f"{sentence}\nAnswer these questions again? (y/n)"
        if not sentence or not settled(ask, again, answers.yes, default="y"):
            return values, offer


def _after(before: Values, changes: Changes) -> Values:
    """Return the variables as they are with the changes."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def _offer(values: Values, probe: Probe | None) -> tuple[Offer, str, str]:
    """Return what the site has to choose from, or the sentence that says why there is no answer, and from whom."""
    if probe is None:
        return Offer(), "", ""
    try:
        return probe(load_settings(values, None)), "", ""
    except AdaptorError as error:
        return (
            Offer(),
            str(error).replace(" and put it into MOODLE_TOKEN", ""),
            error.system,
        )  # it is asked for here
    except SettingsError as error:
        return Offer(), str(error), ""


def _moodle(ask: Ask, present: Values) -> Changes:
    """Ask for the Moodle site and how to sign in to it."""
    url = settled(
        ask,
        "Address of the Moodle site, as in https://moodle.example.org",
        moodle_address,
        default=present.get("MOODLE_URL", ""),
    )
    way = settled(
        ask,
        "Sign in to Moodle with a token, or with user name and password? (token/login)",
        answers.way_to_sign_in,
        default="login" if "MOODLE_USERNAME" in present else "token",
    )
    return {"MOODLE_URL": url, **(_login(ask, present) if way == "login" else _token(ask, present, way))}


def _token(ask: Ask, present: Values, way: str) -> Changes:
    """Ask for the token of the service account, unless the way to sign in was answered with it."""
    if way == "token":
        changes = _secret(ask, "Token of the service account", MOODLE_TOKEN, present, _key)
    else:
        changes = {**dict.fromkeys(MOODLE_TOKEN), MOODLE_TOKEN[0]: way}
    return {**changes, **dict.fromkeys(MOODLE_LOGIN)}


def _login(ask: Ask, present: Values) -> Changes:
    """Ask for the user name, the password and the external service of the service account."""
    user = settled(
        ask, "User name of the service account", answers.something, default=present.get("MOODLE_USERNAME", "")
    )
    kept = ("MOODLE_PASSWORD", "MOODLE_PASSWORD_FILE")
    password = _secret(ask, "Password of the service account", kept, present, answers.something)
    service = settled(
        ask, "Short name of the external service", answers.something, default=present.get("MOODLE_SERVICE", "")
    )
    return {"MOODLE_USERNAME": user, **password, "MOODLE_SERVICE": service, **dict.fromkeys(MOODLE_TOKEN)}


def _commcare(ask: Ask, present: Values) -> Changes:
    """Ask for the project space and how to sign in to it."""
    return {
        "COMMCARE_URL": settled(
            ask,
            "Address of CommCare",
            commcare_address,
            default=present.get("COMMCARE_URL", "https://www.commcarehq.org"),
        ),
        "COMMCARE_DOMAIN": settled(
            ask,
            "Project space: the word after /a/ in CommCare's addresses",
            project_space,
            default=present.get("COMMCARE_DOMAIN", ""),
        ),
        "COMMCARE_USERNAME": settled(
            ask,
            "CommCare user name, an e-mail address",
            lambda text: answers.something(text).lower(),
            default=present.get("COMMCARE_USERNAME", ""),
        ),
        **_secret(ask, "API key of this user", COMMCARE_SECRETS, present, _key),
    }


def _secret(
    ask: Ask, question: str, names: tuple[str, ...], present: Values, check: Callable[[str], str]
) -> Changes:
    """Ask for the secret `names[0]`; without an answer what is there stays, in whichever of `names` it is.

    A secret that is there is never the default of a question: defaults are shown.
    """
    if not any(present.get(name) for name in names):
        given = settled(ask, question, lambda text: check(answers.something(text)), secret=True)
    else:
        question = f"{question} (empty keeps the present one)"
        given = settled(ask, question, lambda text: check(text) if text.strip() else "", secret=True)
    return {**dict.fromkeys(names), names[0]: given} if given else {}


def _key(text: str) -> str:
    """Return a token or key without the spaces that came with it from the clipboard."""
    return one_word(text.strip())


def _project_text(ask: Ask, values: Values, offer: Offer, find_owner: FindOwner | None) -> str:
    """Ask for what project.yaml holds, and return its text."""
    url = values.get("MOODLE_URL", "")
    found = Answers(
        site=settled(
            ask,
            "Short name of this Moodle, as in chw-kenya; it is part of every key in CommCare and can never change",
            answers.site_name,
            default=_short_name(url),
        ),
        site_url=url,
        time_zone=settled(ask, "Time zone of the project, as in Africa/Nairobi", answers.time_zone),
        country=settled(ask, "Country for phone numbers, in two letters, as in KE", answers.country),
        courses=settled(ask, _course_question(offer), partial(answers.courses, offer=offer)),
        owner_kind=(
            kind := settled(
                ask,
                "Who owns the cases: a mobile worker, a location, a group, nobody yet? (user/location/group/none)",
                answers.one_of(*answers.OWNERS),
                default="none",
            )
        ),
        owner=_owner_name(ask, kind, partial(_owner_trouble, values, find_owner)),
    )
    return project_text(found, offer)


def _owner_name(ask: Ask, kind: str, trouble: Callable[[str, str], str]) -> str:
    """Ask for the owner's name in CommCare until one can own cases, or the person keeps it all the same."""
    questions = {
        "user": "User name of the mobile worker, without @",
        "location": "Site code of the location",
        "group": "Name of the case-sharing group",
    }
    while kind in questions:
        name = settled(ask, questions[kind], answers.something)
        sentence = trouble(kind, name)
        again = f"{sentence}\nGive another name? (y/n)"
        if not sentence or not settled(ask, again, answers.yes, default="y"):
            return name
    return ""


def _owner_trouble(values: Values, find_owner: FindOwner | None, kind: str, name: str) -> str:
    """Return why an owner cannot have cases, "" when it can, or when nobody tells: `check` looks again."""
    try:
        return find_owner(load_settings(values, None), kind, name) if find_owner else ""
    except (AdaptorError, SettingsError):
        return ""


def _course_question(offer: Offer) -> str:
    """Return the question for the courses, below what there is."""
    lines = [f"  category {number}: {name}" for number, name in sorted(offer.categories.items())]
    lines += [f"  course {number}: {short}: {full}" for number, (short, full) in sorted(offer.courses.items())]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    there = ["The site has", *lines[:SHOWN], *more] if lines else []
    asks = "Which courses? all; or ids as in 2, 5; or category 3; or a short name as in CHW-*"
    return "\n".join([*there, *([offer.lacking] if offer.lacking else []), asks])


def _short_name(url: str) -> str:
    """Guess a site's short name from its address, "" when nothing fits."""
    host = urlsplit(url).hostname or ""
    labels = [] if is_loopback(host) else host.split(".")
    for label in labels[:-1]:
        try:
            if label not in PLAIN_LABELS:
                return answers.site_name(label)
        except ValueError:
            continue
    return ""


def _write_env(path: Path, before: Values, after: Values) -> None:
    """Write what changed into `.env`; the rest of it stays as it is."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    names = {**before, **after}
    write_private(
        path, changed(text, {name: after.get(name) for name in names if before.get(name) != after.get(name)})
    )


def _keep_out_of_git(path: Path) -> None:
    """Let git take neither the settings nor the books with their key; a file that is there is somebody's own."""
    if not path.exists():
        path.write_text("*.env\nvar/\n", encoding="utf-8")


def _write_project(path: Path, text: str) -> None:
    """Write project.yaml; one that was there is kept beside it, with its code lists and lookups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(path.with_name("project.yaml.old"))
    path.write_text(text, encoding="utf-8")
