"""The settings: where they come from, what wins, and how mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.settings import Settings, SettingsError, load_settings

ENV = {
    "MOODLE_URL": "https://moodle.example.org",
    "MOODLE_TOKEN": "canary-token",
    "COMMCARE_DOMAIN": "demo-space",
    "COMMCARE_USERNAME": "Service@Example.org",
    "COMMCARE_API_KEY": "canary-key",
}


def changed(**changes: str | None) -> dict[str, str]:
    """Return the usual environment with some settings changed; None takes one away."""
    return {name: value for name, value in {**ENV, **changes}.items() if value is not None}


def refused(env: dict[str, str], file: Path | None = None) -> str:
    """Return what is said about settings that cannot be used."""
    with pytest.raises(SettingsError) as caught:
        load_settings(env, file)
    assert "canary" not in str(caught.value)
    return str(caught.value)


def test_five_settings_are_enough() -> None:
    """Everything else has a default."""
    found = load_settings(ENV, None)
    expected = Settings(
        moodle_url="https://moodle.example.org",
        moodle_token="canary-token",
        commcare_url="https://www.commcarehq.org",
        commcare_domain="demo-space",
        commcare_username="service@example.org",
        commcare_api_key="canary-key",
        state_url="sqlite:///var/state.db",
        state_key_file=Path("var/state.key"),
        mappings_dir=Path("mappings"),
        moodle_max_concurrency=None,
        moodle_max_share=0.8,
        moodle_quiet_hours="",
        commcare_max_requests_per_minute=None,
        commcare_quiet_hours="",
        in_doubt_rest_s=1200,
        lease_ttl_s=600,
    )
    assert expected == found


def test_passwords_do_instead_of_token_and_key() -> None:
    """A service account may log in, on both sides."""
    env = changed(
        MOODLE_TOKEN=None,
        MOODLE_USERNAME="service",
        MOODLE_PASSWORD=" canary pass ",
        MOODLE_SERVICE="commcare",
        COMMCARE_API_KEY=None,
        COMMCARE_PASSWORD="canary-word",
    )
    found = load_settings(env, None)
    assert (" canary pass ", "canary-word", "") == (
        found.moodle_password.get_secret_value(),
        found.commcare_password.get_secret_value(),
        found.moodle_token.get_secret_value(),
    )


def test_settings_stay_as_they_are() -> None:
    """The object is frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        load_settings(ENV, None).moodle_url = "https://other.example.org"  # type: ignore[misc]


def test_secrets_are_not_shown() -> None:
    """Neither repr nor str of the settings holds a secret, the password of a database included."""
    found = load_settings(changed(STATE_URL="postgresql://books:canary-db@db.example.org/books"), None)
    assert "canary" not in f"{found!r} {found}"


def test_secrets_are_given_to_the_filter() -> None:
    """The filter of the logs learns each secret, and the word CommCare is sent."""
    found = load_settings(changed(STATE_URL="postgresql://books:can%40ry@db.example.org/books"), None)
    expected = ["canary-token", "canary-key", "service@example.org:canary-key", "can%40ry", "can@ry"]
    assert expected == found.secrets()


def test_a_password_among_the_words_of_an_address_is_a_secret() -> None:
    """What a database takes after the question mark is learnt by the filter as well."""
    found = load_settings(changed(STATE_URL="postgresql://db.example.org/books?user=mc&password=can%40ry"), None)
    assert {"can%40ry", "can@ry"} < {*found.secrets()}


UNCLEAR = ["can@ry:canary", "can@canary", "can/canary", "can/ry:canary", "can?canary", "can#canary"]


@pytest.mark.parametrize("password", UNCLEAR)
def test_a_password_that_could_end_in_two_places_is_refused(password: str) -> None:
    """What stands behind the first of two `@` would be shown as the name of a server."""
    text = refused(changed(STATE_URL=f"postgresql://books:{password}@db.example.org:5432/books"))
    assert (True, True) == (text.startswith("STATE_URL can be read in two ways"), "`@` as %40" in text)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("books:can:ary@db.example.org/books", {"can:ary"}),
        ("books:can[ary@db.example.org/books", {"can[ary"}),
        ("db.example.org/books?user=mc&password=can+ary", {"can+ary", "can ary"}),
        ("db.example.org/books?password=can#ary", {"can#ary"}),
    ],
)
def test_the_whole_password_is_learnt(words: str, expected: set[str]) -> None:
    """The filter takes it from where the database takes it, whatever marks are in it."""
    found = load_settings(changed(STATE_URL=f"postgresql://{words}"), None).secrets()
    assert expected == {one for one in found if one.startswith("can") and "canary" not in one}


@pytest.mark.parametrize(
    "url", ["sqlite:////srv/a@b/books.db", "sqlite:///x@y.db", "postgresql:///books?user=a@b"]
)
def test_an_at_sign_that_no_password_ends_at_stays(url: str) -> None:
    """A file may be called as it likes."""
    assert url == load_settings(changed(STATE_URL=url), None).state_url


# ---- the file


def env_file(folder: Path, text: str, name: str = "site.env") -> Path:
    """Write a settings file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_is_read(tmp_path: Path) -> None:
    """Quotes, comments and the mark Windows puts in front are understood; nothing is replaced inside a value."""
    lines = (
        "\ufeffMOODLE_URL=https://moodle.example.org/m/\n# a note\nMOODLE_TOKEN='a${HOME}b'\nOTHER=1\nnonsense\n"
    )
    lines += 'COMMCARE_DOMAIN=demo # said so\nexport COMMCARE_USERNAME="a@example.org"\nCOMMCARE_API_KEY=k\n'
    found = load_settings({}, env_file(tmp_path, lines))
    assert ("https://moodle.example.org/m", "a${HOME}b", "demo") == (
        found.moodle_url,
        found.moodle_token.get_secret_value(),
        found.commcare_domain,
    )


def test_the_environment_wins(tmp_path: Path) -> None:
    """What is set for one command counts, the file fills the rest."""
    path = env_file(tmp_path, "MOODLE_URL=https://file.example.org\nLEASE_TTL_S=300\n")
    found = load_settings(ENV, path)
    assert ("https://moodle.example.org", 300.0) == (found.moodle_url, found.lease_ttl_s)


def test_a_blank_setting_is_none(tmp_path: Path) -> None:
    """An empty variable does not hide the file."""
    path = env_file(tmp_path, "MOODLE_URL=https://file.example.org\n")
    assert "https://file.example.org" == load_settings(changed(MOODLE_URL=" "), path).moodle_url


def test_the_environment_wins_with_its_way_to_log_in(tmp_path: Path) -> None:
    """A token in the environment stands for the login in the file."""
    path = env_file(tmp_path, "MOODLE_USERNAME=x\nMOODLE_PASSWORD=y\nMOODLE_SERVICE=z\nCOMMCARE_PASSWORD=w\n")
    found = load_settings(ENV, path)
    assert ("", "canary-token", "") == (
        found.moodle_username,
        found.moodle_token.get_secret_value(),
        found.commcare_password.get_secret_value(),
    )


def test_a_login_may_be_split_between_environment_and_file(tmp_path: Path) -> None:
    """The name in the file, the password in the environment."""
    path = env_file(tmp_path, "MOODLE_USERNAME=service\nMOODLE_SERVICE=commcare\n")
    found = load_settings(changed(MOODLE_TOKEN=None, MOODLE_PASSWORD="canary"), path)
    assert ("service", "canary") == (found.moodle_username, found.moodle_password.get_secret_value())


def test_the_usual_file_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything may come from the environment."""
    monkeypatch.chdir(tmp_path)
    assert "https://moodle.example.org" == load_settings(ENV, Path(".env")).moodle_url


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A mistyped --env-file does not silently give another site."""
    assert "site.env cannot be read: No such file" in refused(ENV, tmp_path / "site.env")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """The reason is given, not the content."""
    (tmp_path / "site.env").write_bytes(b"MOODLE_TOKEN=canary\xff\xfe")
    assert "not text in UTF-8" in refused(ENV, tmp_path / "site.env")


# ---- secrets in files


@pytest.mark.parametrize("name", ["MOODLE_TOKEN", "COMMCARE_API_KEY", "STATE_URL"])
def test_a_secret_may_come_from_a_file(tmp_path: Path, name: str) -> None:
    """Docker and systemd hand secrets over as files."""
    path = env_file(tmp_path, "sqlite:///canary\n".replace(":", "-"), "secret")
    found = load_settings(changed(**{name: None, f"{name}_FILE": str(path)}), None)
    value = getattr(found, name.lower())
    assert "sqlite-///canary" == (value if isinstance(value, str) else value.get_secret_value())


def test_a_password_from_a_file_keeps_its_spaces(tmp_path: Path) -> None:
    """Only the line break at the end goes."""
    path = env_file(tmp_path, " canary \r\n", "secret")
    found = load_settings(changed(COMMCARE_API_KEY=None, COMMCARE_PASSWORD_FILE=str(path)), None)
    assert " canary " == found.commcare_password.get_secret_value()


def test_secret_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """A missing and an empty file are said in one go."""
    empty = env_file(tmp_path, "\n", "empty")
    env = changed(MOODLE_TOKEN=None, COMMCARE_API_KEY=None)
    text = refused({**env, "MOODLE_TOKEN_FILE": f"{tmp_path}/no", "COMMCARE_API_KEY_FILE": str(empty)})
    assert f"MOODLE_TOKEN_FILE names {tmp_path}/no, which cannot be read: No such file or directory." in text
    assert f"COMMCARE_API_KEY_FILE names {empty}, which is empty." in text


# ---- mistakes


def test_all_that_is_missing_is_said_at_once() -> None:
    """One sentence, with the command that asks for them."""
    expected = (
        "Missing: MOODLE_URL, COMMCARE_DOMAIN, COMMCARE_USERNAME, "
        "MOODLE_TOKEN (or MOODLE_USERNAME, MOODLE_PASSWORD and MOODLE_SERVICE), "
        "COMMCARE_API_KEY (or COMMCARE_PASSWORD). They are not in the environment. "
        "Run `moodle-commcare init` to be asked for them."
    )
    assert expected == refused({})


def test_half_a_login_is_missing_the_other_half() -> None:
    """Whoever gives a user name is asked for the rest of that way."""
    text = refused(changed(MOODLE_TOKEN=None, MOODLE_USERNAME="service"))
    assert text.startswith("Missing: MOODLE_PASSWORD, MOODLE_SERVICE. ")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"MOODLE_TOKEN_FILE": "x"}, "MOODLE_TOKEN and MOODLE_TOKEN_FILE"),
        ({"MOODLE_USERNAME": "x"}, "MOODLE_TOKEN and MOODLE_USERNAME"),
        ({"COMMCARE_PASSWORD": "x"}, "COMMCARE_API_KEY and COMMCARE_PASSWORD"),
        ({"STATE_URL": "sqlite://", "STATE_URL_FILE": "x"}, "STATE_URL and STATE_URL_FILE"),
    ],
)
def test_two_ways_at_once_are_refused(given: dict[str, str], named: str) -> None:
    """Which one counts is for a person to say."""
    assert f"{named} are both given: keep one of them." == refused({**ENV, **given})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MOODLE_TOKN", "did you mean MOODLE_TOKEN?"),
        ("COMMCARE_APIKEY", "did you mean COMMCARE_API_KEY?"),
        ("STATE_KEYFILE", "did you mean STATE_KEY_FILE?"),
        ("WEBHOOK_TOKN", "did you mean WEBHOOK_TOKEN?"),
        ("RECEIVER_PROT", "did you mean RECEIVER_PORT?"),
        ("STATE_X", "there are STATE_URL, STATE_KEY_FILE, STATE_PAGE_FILE, STATE_HISTORY_DAYS."),
    ],
)
def test_an_unknown_variable_is_refused(tmp_path: Path, name: str, hint: str) -> None:
    """A typo is found wherever it stands, with the name that was meant."""
    path = env_file(tmp_path, f"{name}=canary\n")
    expected = f"{name} is not a setting; {hint}"
    assert [expected, expected] == [refused({**ENV, name: "canary"}), refused(ENV, path)]


def test_variables_of_others_are_left_alone() -> None:
    """Also the one systemd sets for services."""
    env = changed(STATE_DIRECTORY="/var/lib/x", PATH="/bin", PREFECT_API_URL="http://localhost:4200/api")
    assert "demo-space" == load_settings(env, None).commcare_domain


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://Moodle.Example.org/", "https://moodle.example.org"),
        ("HTTPS://moodle.example.org:443/lms//", "https://moodle.example.org/lms"),
        ("http://localhost:8081", "http://localhost:8081"),
        ("http://127.8.9.1/m", "http://127.8.9.1/m"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_addresses_have_one_form(given: str, expected: str) -> None:
    """However an address is written, the books see the same one; http:// is for this computer."""
    found = load_settings(changed(MOODLE_URL=given, COMMCARE_URL=given), None)
    assert [expected, expected] == [found.moodle_url, found.commcare_url]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://moodle.example.org", "in clear. Use https://"),
        ("http://localhost.example.org", "in clear. Use https://"),
        ("http://10.0.0.5", "in clear. Use https://"),
        ("moodle.example.org", "does not begin with https://"),
        ("ftp://moodle.example.org", "does not begin with https://"),
        ("https://", "names no server"),
        ("https://me:canary@moodle.example.org", "holds a user name or password"),
        ("http://canary@localhost", "holds a user name or password"),
        ("https://moodle.example.org?wstoken=canary", "goes on after ? or #"),
        ("https://moodle.example.org/#canary", "goes on after ? or #"),
        ("https://moodle.example.org/webservice/rest/server.php", "a page inside the site"),
        ("https://moodle.example.org/login/", "a page inside the site"),
        ("https://moodle.example.org/m/login/index.php", "a page inside the site"),
        ("https://moodle.example.org:canary", "is no address"),
        ("https://moodle .example.org", "holds a space"),
        ("https://moodle.example.org\\@localhost", "backslash"),
    ],
)
def test_a_wrong_address_is_explained(given: str, said: str) -> None:
    """What is wrong and what is right, without the address: it may hold a secret."""
    text = refused(changed(MOODLE_URL=given))
    assert (True, True) == (text.startswith("MOODLE_URL "), said in text)


@pytest.mark.parametrize("page", ["/a/demo-space/", "/accounts/login/"])
def test_a_page_of_commcare_is_not_its_address(page: str) -> None:
    """The project space is a setting of its own."""
    assert "the project space is apart" in refused(changed(COMMCARE_URL=f"https://www.commcarehq.org{page}"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("COMMCARE_DOMAIN", "https://www.commcarehq.org/a/demo", "the word after /a/"),
        ("MOODLE_TOKEN", "canary canary", "copy it again"),
        ("COMMCARE_API_KEY", "me@example.org:canary", "without the user name"),
        ("LEASE_TTL_S", "canary", "must be a number of seconds above 0."),
        ("IN_DOUBT_REST_S", "0", "must be a number of seconds above 0."),
        ("IN_DOUBT_REST_S", "inf", "must be a number of seconds above 0."),
        ("MOODLE_MAX_CONCURRENCY", "0", "must be a whole number from 1 to 8"),
        ("MOODLE_MAX_CONCURRENCY", "canary", "must be a whole number from 1 to 8"),
        ("MOODLE_MAX_SHARE", "50", "must be a number above 0, at most 1: 0.5 is half of the time."),
        ("MOODLE_MAX_SHARE", "nan", "must be a number above 0, at most 1"),
        ("COMMCARE_MAX_REQUESTS_PER_MINUTE", "-1", "must be a whole number from 1."),
        ("MOODLE_QUIET_HOURS", "canary", "must be times of the day like 08:00-17:00"),
        ("MOODLE_QUIET_HOURS", "8-17", "must be times of the day like 08:00-17:00"),
        ("MOODLE_QUIET_HOURS", "08:00-08:00", "must be times of the day like 08:00-17:00"),
        ("MOODLE_QUIET_HOURS", "08:60-17:00", "must be times of the day like 08:00-17:00"),
        ("COMMCARE_QUIET_HOURS", "08:00-12:00,", "several with commas between them"),
        ("COMMCARE_QUIET_HOURS", "00:00-24:00", "must be times of the day like 08:00-17:00"),
    ],
)
def test_a_value_that_cannot_be_right_is_explained(name: str, value: str, said: str) -> None:
    """The setting is named, the value is not shown."""
    text = refused(changed(**{name: value}))
    assert (True, True) == (text.startswith(f"{name} "), said in text)


def test_several_mistakes_are_said_together() -> None:
    """One look is enough to mend them all."""
    text = refused(changed(MOODLE_URL="moodle", COMMCARE_URL="commcare", COMMCARE_DOMAIN=None))
    assert ["Missing:", "MOODLE_URL", "COMMCARE_URL"] == [line.split()[0] for line in text.splitlines()]


def test_numbers_and_misspelt_names_are_said_with_the_rest() -> None:
    """A number, a wrong value, a name nobody knows: all of them, and nothing that only seems to be missing."""
    wrong = {"MOODLE_MAX_SHARE": "half", "MOODLE_MAX_CONCURRENCY": "99", "COMMCARE_URL": "commcare"}
    text = refused(changed(**wrong, MOODLE_TOKNE="x", MOODLE_TOKEN=None, MOODLE_URL=None))
    names = ["MOODLE_TOKNE", "COMMCARE_URL", "MOODLE_MAX_CONCURRENCY", "MOODLE_MAX_SHARE"]
    assert names == [line.split()[0] for line in text.splitlines()]


def test_places_in_a_settings_file_are_beside_it(tmp_path: Path) -> None:
    """`init --env-file other/site.env` writes other/mappings, and from there they are read."""
    file = tmp_path / "other" / "site.env"
    file.parent.mkdir()
    file.write_text("".join(f"{name}={value}\n" for name, value in ENV.items()))
    settings = load_settings({}, file)
    assert (file.parent / "mappings", file.parent / "var/state.key") == (
        settings.mappings_dir,
        settings.state_key_file,
    )
    assert f"sqlite:///{file.parent}/var/state.db" == settings.state_url


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("sqlite:///books.db", "sqlite:///{folder}/books.db"),
        ("sqlite:////srv/books.db", "sqlite:////srv/books.db"),
        ("postgresql://books.example.org/x", "postgresql://books.example.org/x"),
        ("sqlite://", "sqlite://"),
    ],
)
def test_only_a_relative_file_moves(tmp_path: Path, written: str, read: str) -> None:
    """An absolute path, a server and memory are where they are."""
    file = tmp_path / "site.env"
    lines = {**ENV, "STATE_URL": written, "MAPPINGS_DIR": "/srv/mappings"}
    file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    settings = load_settings({}, file)
    assert (read.format(folder=tmp_path), Path("/srv/mappings")) == (settings.state_url, settings.mappings_dir)


def test_the_environment_is_read_from_where_we_stand(tmp_path: Path) -> None:
    """What was typed into a terminal belongs to its folder, not to that of a file."""
    file = tmp_path / "site.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in ENV.items()))
    settings = load_settings({"MAPPINGS_DIR": "mine", "STATE_URL": "sqlite:///mine.db"}, file)
    assert (Path("mine"), "sqlite:///mine.db") == (settings.mappings_dir, settings.state_url)


def test_a_missing_env_file_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody in the wrong folder learns it from the sentence."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"There is no \.env in this folder"):
        load_settings({}, Path(".env"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "var/status.html"),
        ({"STATE_KEY_FILE": "var/kisumu.key"}, "var/status-kisumu.html"),
        ({"STATE_PAGE_FILE": "web/now.html"}, "web/now.html"),
        ({"STATE_PAGE_FILE": "off"}, None),
    ],
)
def test_where_the_page_is(tmp_path: Path, given: dict[str, str], expected: str | None) -> None:
    """Beside the key file, under a name of its own for each; or where it is said, beside the settings file."""
    file = tmp_path / "other" / "site.env"
    file.parent.mkdir()
    file.write_text("".join(f"{name}={value}\n" for name, value in (ENV | given).items()))
    assert (file.parent / expected if expected else None) == load_settings({}, file).page_file
    here = load_settings(ENV | given, None).page_file
    assert (Path(expected) if expected else None) == here


# ---- nudges


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("NUDGE_WEBHOOK_URL", "http://chat.example.org/canary", "use https://"),
        ("NUDGE_WEBHOOK_URL", "https://chat.example.org/{{canary}}", "Prefect would fill in"),
        ("NUDGE_WEBHOOK_URL", "canary", "does not begin with https://"),
        ("NUDGE_SLACK_URL", "https://chat.example.org/canary", "NUDGE_WEBHOOK_URL"),
        ("NUDGE_MAIL_URL", "ops@example.org", "is no address of a mail server"),
        ("NUDGE_MAIL_URL", "mailto://u:canary@mail.example.org?to=ops@example.org", "Use mailtos://"),
        ("NUDGE_MAIL_URL", "mailtos://u:canary@mail.example.org", "who gets the mail"),
        ("NUDGE_MAIL_URL", "mailtos://u:canary@mail.example.org:x?to=a@example.org", "no address of a mail"),
        ("NUDGE_BLOCK", "ops", "as in slack-webhook/ops"),
        ("NUDGE_REPEAT_HOURS", "-1", "a number of hours from 0"),
        ("NUDGE_SILENT_HOURS", "0", "a number of hours above 0"),
        ("NUDGE_PROBLEMS", "many", "a whole number from 0"),
        ("NUDGE_PLACE", "x", "is not a setting"),
    ],
)
def test_wrong_nudges(name: str, value: str, words: str) -> None:
    """Each mistake is named with the remedy, and no address is shown."""
    told = refused(changed(**{name: value}))
    assert told.startswith(name)
    assert words in told


def test_addresses_of_nudges_are_secrets(tmp_path: Path) -> None:
    """They may come from a file, are not shown, and the filter of the logs learns them with their passwords."""
    file = tmp_path / "mail"
    file.write_text("mailtos://u:canary-mail@mail.example.org?to=ops@example.org\n")
    env = changed(
        NUDGE_WEBHOOK_URL="http://127.0.0.1:8080/canary-hook",
        NUDGE_SLACK_URL="https://hooks.slack.com/services/T0/B0/canary",
        NUDGE_MAIL_URL_FILE=str(file),
    )
    found = load_settings(env, None)
    assert "canary" not in f"{found!r} {found}"
    assert {
        "http://127.0.0.1:8080/canary-hook",
        "https://hooks.slack.com/services/T0/B0/canary",
        "canary-mail",
    } < {*found.secrets()}
