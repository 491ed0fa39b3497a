"""Where we connect to and with what: read once, from the environment and a `.env` file, into one frozen object.

Everything that is wrong is said at once, each in one sentence that names the setting and never shows a secret.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from flows.addresses import commcare_address, mail_address, moodle_address, slack_address, webhook_address
from flows.env_file import parsed
from flows.limits import last_day, quiet_hours

DEFAULT_FILE = Path(".env")
OFF = "off"
SETTINGS_FILE = "SETTINGS_FILE"
"""Variable by which `serve` names the settings file to the runs that it starts; "" for none."""
FAMILIES = ("MOODLE_", "COMMCARE_", "STATE_", "NUDGE_", "FORWARDING_", "WEBHOOK_", "RECEIVER_")
NOT_OURS = {"STATE_DIRECTORY"}  # systemd sets it for services
SECRETS = (
    *("MOODLE_TOKEN", "MOODLE_PASSWORD", "COMMCARE_API_KEY", "COMMCARE_PASSWORD", "STATE_URL"),
    *("NUDGE_WEBHOOK_URL", "NUDGE_SLACK_URL", "NUDGE_MAIL_URL"),  # who knows such an address may write to it
    *("WEBHOOK_TOKEN", "FORWARDING_PASSWORD", "FORWARDING_TOKEN"),
)
PASSWORDS = ("MOODLE_PASSWORD", "COMMCARE_PASSWORD", "FORWARDING_PASSWORD")  # may begin or end with a space
SHORTEST_SECRET = 16
Values = dict[str, str]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Secret = Annotated[SecretStr, Field(default=SecretStr(""))]
NUMBERS = {
    "MOODLE_MAX_CONCURRENCY": "a whole number from 1 to 8: so many requests at once, at most",
    "MOODLE_MAX_SHARE": "a number above 0, at most 1: 0.5 is half of the time",
    "COMMCARE_MAX_REQUESTS_PER_MINUTE": "a whole number from 1",
    "STATE_HISTORY_DAYS": "a whole number of days from 1 to 3650",
    "RECEIVER_PORT": "a whole number from 1 to 65535",
    "NUDGE_REPEAT_HOURS": "a number of hours from 0; 0 tells of each run",
    "NUDGE_SILENT_HOURS": "a number of hours above 0",
    "NUDGE_PROBLEMS": "a whole number from 0: so many listed problems tell nobody yet",
    "NUDGE_EXPIRY_DAYS": "a whole number of days from 0",
}


class SettingsError(Exception):
    """The settings cannot be used; one sentence a line, each naming a setting and the remedy, never a secret."""


class Settings(BaseModel):
    """The settings of one Moodle site and one project space; addresses have no slash at the end.

    Either `moodle_token` is given or the login of the service account, either `commcare_api_key` or a password;
    what is not given is "". Webhooks are taken in from Moodle with `webhook_token`, from CommCare with
    `forwarding_token` or user name and password. Times are in seconds. A lease that holds less than the longest
    wait for one answer and two renewals (300 s) may be lost to another run in mid-work, which sends nothing twice.
    Quiet hours are times of the day in the project's time zone. The last day of a token or key is a date
    (2027-01-31), "never", or "" when nobody said it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    moodle_url: str
    moodle_token: Secret
    moodle_username: str = ""
    moodle_password: Secret
    moodle_service: str = ""
    commcare_url: str = "https://www.commcarehq.org"
    commcare_domain: str
    commcare_username: str
    commcare_api_key: Secret
    commcare_password: Secret
    state_url: str = Field(default="sqlite:///var/state.db", repr=False)  # may hold a password
    state_key_file: Path = Path("var/state.key")
    state_page_file: Path | None = None
    mappings_dir: Path = Path("mappings")
    moodle_ca_file: Path | None = None
    commcare_ca_file: Path | None = None
    moodle_max_concurrency: int | None = Field(default=None, ge=1, le=8)
    moodle_max_share: float = Field(default=0.8, gt=0, le=1)
    moodle_quiet_hours: str = ""
    commcare_max_requests_per_minute: int | None = Field(default=None, ge=1)
    commcare_quiet_hours: str = ""
    in_doubt_rest_s: Seconds = 1200.0
    lease_ttl_s: Seconds = 600.0
    state_history_days: int = Field(default=90, ge=1, le=3650)
    receiver_port: int = Field(default=4201, ge=1, le=65535)
    webhook_token: Secret
    forwarding_username: str = ""
    forwarding_password: Secret
    forwarding_token: Secret
    forwarding_ignore_users: str = ""
    moodle_token_expires: str = ""
    commcare_api_key_expires: str = ""
    nudge_webhook_url: Secret
    nudge_slack_url: Secret
    nudge_mail_url: Secret
    nudge_block: str = ""
    nudge_repeat_hours: float = Field(default=6.0, ge=0, allow_inf_nan=False)
    nudge_silent_hours: float = Field(default=6.0, gt=0, allow_inf_nan=False)
    nudge_problems: int = Field(default=100, ge=0)
    nudge_expiry_days: int = Field(default=14, ge=0)

    @property
    def page_file(self) -> Path | None:
        """Return where each run leaves the status page, beside the key file unless said; None for nowhere."""
        if self.state_page_file is not None:
            return None if str(self.state_page_file) == OFF else self.state_page_file.expanduser()
        stem = self.state_key_file.stem
        return self.state_key_file.with_name("status.html" if stem == "state" else f"status-{stem}.html")

    @property
    def may_be_posted_to(self) -> bool:
        """Whether there is a secret with which Moodle or CommCare may post webhooks."""
        secrets = self.webhook_token, self.forwarding_password, self.forwarding_token
        return any(one.get_secret_value() for one in secrets)

    def secrets(self) -> list[str]:
        """Return the values that must never be shown, for the filter of the logs."""
        raw = [self.moodle_token, self.moodle_password, self.commcare_api_key, self.commcare_password]
        found = [secret.get_secret_value() for secret in raw]
        for secret in found[2:]:  # CommCare is sent them as one word with the user name
            found.append(f"{self.commcare_username}:{secret}" if secret else "")
        found += [one.get_secret_value() for one in (self.webhook_token, self.forwarding_token)]
        if password := self.forwarding_password.get_secret_value():
            found += [password, f"{self.forwarding_username}:{password}"]
        from state.address import passwords_in  # not above: it takes the books along

        found += passwords_in(self.state_url)
        for place in (self.nudge_webhook_url, self.nudge_slack_url, self.nudge_mail_url):
            address = place.get_secret_value()
            found += [address, *passwords_in(address)]
        return [secret for secret in found if secret]


NAMES = tuple(name.upper() for name in Settings.model_fields)
KNOWN = frozenset(NAMES) | {f"{name}_FILE" for name in SECRETS}

# What excludes each other: a secret and its file, and two ways to prove who we are.
_MOODLE_LOGIN = ("MOODLE_USERNAME", "MOODLE_PASSWORD", "MOODLE_PASSWORD_FILE")
EITHER_OR: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    *(((name,), (f"{name}_FILE",)) for name in SECRETS),
    (("MOODLE_TOKEN", "MOODLE_TOKEN_FILE"), _MOODLE_LOGIN),
    (("COMMCARE_API_KEY", "COMMCARE_API_KEY_FILE"), ("COMMCARE_PASSWORD", "COMMCARE_PASSWORD_FILE")),
    (
        ("FORWARDING_TOKEN", "FORWARDING_TOKEN_FILE"),
        ("FORWARDING_USERNAME", "FORWARDING_PASSWORD", "FORWARDING_PASSWORD_FILE"),
    ),
)


def load_settings(env: Mapping[str, str], env_file: Path | None) -> Settings:
    """Read the settings from an environment and, behind it, a file; raise SettingsError with all that is wrong.

    The environment wins, also with one way to prove who we are over the other in the file. A file that is not
    there is an error, unless it is the usual `.env`.
    """
    file = beside_file(read_file(env_file), env_file)
    values = _merged(_given(env), _given(file))
    problems = [*unknown({**file, **env}), *_contradictions(values)]
    if not problems:
        problems += _read_secrets(values)
        problems += _missing(values, env_file)
        problems += _checked(values)
    if problems:
        raise SettingsError("\n".join(problems))
    return _built(values)


def read_file(path: Path | None) -> Values:
    """Return all variables of a settings file; SettingsError when it cannot be read."""
    if path is None or (path == DEFAULT_FILE and not path.exists()):
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {_reason(error)}.") from None
    return parsed(text)


def beside_file(values: Values, env_file: Path | None) -> Values:
    """Return a settings file's variables with relative places, also the usual ones, beside the file."""
    folder = env_file.parent if env_file is not None else Path()
    if folder == Path() or not (values or (env_file and env_file.exists())):
        return values
    places = {"MAPPINGS_DIR": "mappings", "STATE_KEY_FILE": "var/state.key"}
    usual = {name: values.get(name, "").strip() or place for name, place in places.items()}
    files = {
        name: text
        for name, text in values.items()
        if name in KNOWN and name.endswith("_FILE") and text.strip() not in ("", OFF)
    }
    found = {name: str(folder / Path(text.strip()).expanduser()) for name, text in {**usual, **files}.items()}
    if "STATE_URL_FILE" not in values:
        found["STATE_URL"] = _beside(values.get("STATE_URL", "").strip() or "sqlite:///var/state.db", folder)
    return {**values, **found}


def _beside(url: str, folder: Path) -> str:
    """Return the address of an SQLite file with its path beside the settings file; any other as it is."""
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path.startswith(("/", "~", ":memory:")):
        return url
    return f"sqlite:///{folder / path}"


def _given(source: Mapping[str, str]) -> Values:
    """Return our settings that have a value, without the spaces around it."""
    trimmed = {name: source[name] if name in PASSWORDS else source[name].strip() for name in KNOWN & source.keys()}
    return {name: value for name, value in trimmed.items() if value.strip()}


def _merged(env: Values, file: Values) -> Values:
    """Return what counts of both; what the environment chose drops the other choice in the file."""
    dropped: set[str] = set()
    for one, other in EITHER_OR:
        if env.keys() & set(one) and not env.keys() & set(other):
            dropped |= set(other)
        if env.keys() & set(other) and not env.keys() & set(one):
            dropped |= set(one)
    return {name: value for name, value in file.items() if name not in dropped} | env


def unknown(names: Mapping[str, str]) -> Iterator[str]:
    """Say which variables look like ours and are not."""
    for name in sorted(names):
        if not name.startswith(FAMILIES) or name in KNOWN or name in NOT_OURS:
            continue
        near = difflib.get_close_matches(name, sorted(KNOWN), n=1, cutoff=0.8)
        family = [known for known in NAMES if known.startswith(name.split("_")[0])]
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(family)}."
        yield f"{name} is not a setting; {hint}"


def _contradictions(values: Values) -> Iterator[str]:
    """Say which settings are given in two ways."""
    for one, other in EITHER_OR:
        left, right = ([name for name in names if name in values] for names in (one, other))
        if left and right:
            yield f"{left[0]} and {right[0]} are both given: keep one of them."


def _read_secrets(values: Values) -> Iterator[str]:
    """Put the content of each `..._FILE` in place of its secret; say which cannot be read."""
    for name in SECRETS:
        path = values.pop(f"{name}_FILE", None)
        if path is None:
            continue
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            yield f"{name}_FILE names {path}, which cannot be read: {_reason(error)}."
            continue
        values[name] = text.rstrip("\r\n") if name in PASSWORDS else text.strip()
        if not values[name]:
            yield f"{name}_FILE names {path}, which is empty."


def _missing(values: Values, env_file: Path | None) -> Iterator[str]:
    """Say in one sentence what is not given at all."""
    missing = [name for name in ("MOODLE_URL", "COMMCARE_DOMAIN", "COMMCARE_USERNAME") if name not in values]
    login = ("MOODLE_USERNAME", "MOODLE_PASSWORD", "MOODLE_SERVICE")
    if "MOODLE_USERNAME" in values or "MOODLE_PASSWORD" in values:
        missing += [name for name in login if name not in values]
    elif "MOODLE_TOKEN" not in values:
        missing.append("MOODLE_TOKEN (or MOODLE_USERNAME, MOODLE_PASSWORD and MOODLE_SERVICE)")
    if not values.keys() & {"COMMCARE_API_KEY", "COMMCARE_PASSWORD"}:
        missing.append("COMMCARE_API_KEY (or COMMCARE_PASSWORD)")
    forwarding = {"FORWARDING_USERNAME", "FORWARDING_PASSWORD"}
    if forwarding & values.keys():
        missing += sorted(forwarding - values.keys())
    if missing:
        remedy = "Run `moodle-commcare init` to be asked for them."
        if env_file is not None and not env_file.exists():
            remedy = (
                "Go to the folder in which you ran `moodle-commcare init`, or run it here to be asked for them."
            )
        yield f"Missing: {', '.join(missing)}. {_where_from(env_file)} {remedy}"


def _where_from(env_file: Path | None) -> str:
    """Say where settings were looked for in vain."""
    if env_file is None:
        return "They are not in the environment."
    if not env_file.exists():
        return f"There is no {env_file} in this folder ({Path.cwd().name}), and they are not in the environment."
    return f"They are neither in {env_file} nor in the environment."


def _checked(values: Values) -> Iterator[str]:
    """Bring the values into their normal form; say which cannot be right."""
    checks: dict[str, Callable[[str], str]] = {
        "MOODLE_URL": moodle_address,
        "COMMCARE_URL": commcare_address,
        "COMMCARE_DOMAIN": project_space,
        "COMMCARE_USERNAME": str.lower,
        "MOODLE_TOKEN": one_word,
        "COMMCARE_API_KEY": one_word,
        "STATE_URL": books_address,
        "MOODLE_CA_FILE": authority,
        "COMMCARE_CA_FILE": authority,
        "MOODLE_QUIET_HOURS": quiet_hours,
        "COMMCARE_QUIET_HOURS": quiet_hours,
        "MOODLE_TOKEN_EXPIRES": last_day,
        "COMMCARE_API_KEY_EXPIRES": last_day,
        "NUDGE_WEBHOOK_URL": webhook_address,
        "NUDGE_SLACK_URL": slack_address,
        "NUDGE_MAIL_URL": mail_address,
        "NUDGE_BLOCK": block_name,
        "WEBHOOK_TOKEN": shared_secret,
        "FORWARDING_TOKEN": shared_secret,
        "FORWARDING_USERNAME": one_word,
        "FORWARDING_IGNORE_USERS": user_ids,
    }
    for name, check in checks.items():
        try:
            if name in values:
                values[name] = check(values[name])
        except ValueError as error:
            yield f"{name} {error}."


def project_space(text: str) -> str:
    """Return the name of a project space; ValueError when it cannot be one."""
    if not re.fullmatch(r"[\w.:-]+", text, re.ASCII):
        raise ValueError("is not the name of a project space: it is the word after /a/ in CommCare's addresses")
    return text


def one_word(text: str) -> str:
    """Return a token or key; ValueError when it cannot be one."""
    if not text.isascii() or any(mark.isspace() or not mark.isprintable() for mark in text):
        raise ValueError("holds a space, a line break or a letter no key has: copy it again, whole and alone")
    if ":" in text:
        raise ValueError("holds a colon: give the key alone, without the user name")
    return text


def block_name(text: str) -> str:
    """Return the name of a block in Prefect, with its type before it; ValueError when it is none."""
    if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", text):
        raise ValueError("must be the type and the name of a block, as in slack-webhook/ops")
    return text


def shared_secret(text: str) -> str:
    """Return a secret that another system sends along; ValueError when it cannot be sent, or is easily guessed."""
    if not text.isascii() or any(mark.isspace() or not mark.isprintable() for mark in text):
        raise ValueError("may hold ASCII letters, digits and marks only, and no space")
    if len(text) < SHORTEST_SECRET:
        raise ValueError(f"is too short: make up at least {SHORTEST_SECRET} characters")
    return text


def user_ids(text: str) -> str:
    """Return ids of CommCare users with commas between them; ValueError when they cannot be ids."""
    ids = [one.strip() for one in text.split(",")]
    if not all(re.fullmatch(r"[\w-]+", one, re.ASCII) for one in ids):
        raise ValueError("must be ids of CommCare users, with commas between them")
    return ",".join(ids)


def books_address(text: str) -> str:
    """Return the address of the books; ValueError when it could be read in two ways."""
    from state.address import clear_address  # not above: it takes the books along

    return clear_address(text)


def authority(text: str) -> str:
    """Return the path of a file with certificates of authorities; ValueError when it is none."""
    path = Path(text).expanduser()
    try:
        ssl.create_default_context(cafile=path)
    except OSError:
        raise ValueError(f"names {path}, which cannot be read or holds no certificate in PEM form") from None
    return str(path)


def _built(values: Values) -> Settings:
    """Make the object; what is left to go wrong are the numbers."""
    try:
        return Settings.model_validate({name.lower(): value for name, value in values.items()})
    except ValidationError as error:
        names = [str(found["loc"][0]).upper() for found in error.errors(include_input=False)]
        wanted = {name: NUMBERS.get(name, "a number of seconds above 0") for name in names}
        raise SettingsError("\n".join(f"{name} must be {what}." for name, what in wanted.items())) from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file cannot be read, without what is in it."""
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else (error.strerror or "no access")
