"""The last net under the logs."""

from __future__ import annotations

import base64
import html
import json
import logging
from collections.abc import Iterator
from io import StringIO
from urllib.parse import quote, quote_plus

import pytest

from flows.redact import RedactingFilter, install

SECRET = "s3cr3t välue/+1"


class Log:
    """A logger of its own with the filter on its handler, and what it wrote."""

    def __init__(self, *secrets: str) -> None:
        self.stream = StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.addFilter(RedactingFilter(secrets))
        self.logger = logging.Logger("test")
        self.logger.addHandler(handler)

    @property
    def text(self) -> str:
        """Return what was written."""
        return self.stream.getvalue()


def basic(text: str, *, safe: bool = False) -> str:
    """Return a text in base64."""
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    return encode(text.encode()).decode()


@pytest.mark.parametrize(
    "shown",
    [SECRET, quote(SECRET, safe=""), quote_plus(SECRET), repr(SECRET), json.dumps(SECRET)],
)
def test_a_registered_secret_is_replaced(shown: str) -> None:
    """In clear, in an address, quoted, in JSON."""
    log = Log(SECRET)
    log.logger.error("it was " + shown)
    assert "it was" in log.text
    assert "s3cr3t" not in log.text


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("user", ["a", "ab", "abc", ""])
def test_a_secret_inside_base64_is_replaced(user: str, safe: bool) -> None:
    """Wherever in the encoded text it begins, too little is left to decode it."""
    encoded = basic(f"{user}:{SECRET}:more", safe=safe)
    log = Log(SECRET)
    log.logger.error("sent %s", encoded)
    assert "***" in log.text
    assert encoded[8:20] not in log.text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("GET /webservice/rest/server.php?wstoken=abc123&x=1", "GET /webservice/rest/server.php?wstoken=***&x=1"),
        ("https://moodle.example.org/file.php?token=abc123", "https://moodle.example.org/file.php?token=***"),
        ("wstoken%3Dabc123", "wstoken%3D***"),
        ("username=sync&password=abc123&service=x", "username=sync&password=***&service=x"),
        ("COMMCARE_API_KEY=abc123", "COMMCARE_API_KEY=***"),
        ('{"token": "abc123", "privatetoken":"x"}', '{"token": "***", "privatetoken":"***"}'),
        ("Authorization: ApiKey a@example.org:abc123", "Authorization: ApiKey ***"),
        ("headers {'Authorization': 'Basic YTpiYzEyMw=='}", "headers {'Authorization': 'Basic ***'}"),
        ("Authorization: Bearer abc123abc123", "Authorization: Bearer ***"),
    ],
)
def test_what_looks_like_a_secret_is_replaced(written: str, expected: str) -> None:
    """Nobody has to have registered it."""
    assert expected == RedactingFilter([]).clean(written)


@pytest.mark.parametrize(
    "written",
    ["The token is not valid.", "a basic course", "tokens: 3", "course 12: 40 people", "token=***", ""],
)
def test_other_texts_stay(written: str) -> None:
    """Ordinary words are left alone, and what is clean stays clean."""
    assert written == RedactingFilter([SECRET]).clean(written)


def test_a_secret_on_a_page_is_replaced() -> None:
    """An error page may show what was sent, with the marks of HTML written out."""
    assert "<p>***</p>" == RedactingFilter(['a<b>&"c']).clean(f"<p>{html.escape('a<b>&' + chr(34) + 'c')}</p>")


def test_a_secret_in_an_argument_is_replaced() -> None:
    """The other arguments stay what they are."""
    log = Log(SECRET)
    log.logger.error("%s of %d: %r", SECRET, 7, ValueError(SECRET))
    assert "*** of 7: " in log.text
    assert "s3cr3t" not in log.text


def test_a_secret_in_named_arguments_is_replaced() -> None:
    """Logging knows arguments by name too."""
    log = Log(SECRET)
    log.logger.error("%(a)s and %(b)s", {"a": SECRET, "b": 1})
    assert "*** and 1\n" == log.text


def test_a_secret_made_of_text_and_argument_is_replaced() -> None:
    """`token=%s` shows its secret only once both are put together."""
    log = Log()
    log.logger.error("asked with token=%s", "abc123")
    assert "asked with token=***\n" == log.text


def test_arguments_that_do_not_fit_are_no_way_out() -> None:
    """A wrong format string neither raises nor leaks."""
    log = Log(SECRET)
    log.logger.error("%d", SECRET)
    assert "s3cr3t" not in log.text


def test_a_secret_in_a_traceback_is_replaced() -> None:
    """What an exception says reaches the log cleaned."""
    log = Log(SECRET)
    try:
        raise ValueError(f"no such key {SECRET}")
    except ValueError:
        log.logger.exception("it failed")
    assert "ValueError: no such key ***" in log.text


def test_a_traceback_kept_as_text_is_cleaned() -> None:
    """Also when another handler has written it before."""
    record = logging.LogRecord("test", logging.ERROR, "", 0, "x", (), None)
    record.exc_text, record.stack_info = f"ValueError: {SECRET}", f"stack {SECRET}"
    RedactingFilter([SECRET]).filter(record)
    assert ("ValueError: ***", "stack ***") == (record.exc_text, record.stack_info)


def test_a_clean_record_is_not_touched() -> None:
    """Formatters that look at arguments and tracebacks find them as they were."""
    try:
        raise ValueError("course 12")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("test", logging.ERROR, "", 0, "%s %d", ("a", 1), info)
    RedactingFilter([SECRET]).filter(record)
    assert ("%s %d", ("a", 1), info, None) == (record.msg, record.args, record.exc_info, record.exc_text)


def test_a_very_short_secret_is_not_registered() -> None:
    """It would black out ordinary words."""
    assert "a course" == RedactingFilter(["a", ""]).clean("a course")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """Give the root logger with a handler, and put everything back."""
    logger, level = logging.getLogger(), logging.getLogger("httpx").level
    handler = logging.StreamHandler(StringIO())
    logger.addHandler(handler)
    before = {one: list(one.filters) for one in logger.handlers}
    yield logger
    logger.removeHandler(handler)
    for one, filters in before.items():
        one.filters[:] = filters
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(level)


def test_install_covers_the_handlers_of_all_loggers(root: logging.Logger) -> None:
    """Records of any logger pass the net, whether they reach the root or not."""
    stream = StringIO()
    apart = logging.getLogger("tests.apart")
    apart.addHandler(logging.StreamHandler(stream))
    apart.propagate = False
    install([SECRET])
    apart.error("x %s", SECRET)
    apart.handlers.clear()
    assert "x ***\n" == stream.getvalue()
    assert all(any(isinstance(one, RedactingFilter) for one in handler.filters) for handler in root.handlers)


def test_install_again_replaces_the_net(root: logging.Logger) -> None:
    """Settings read again do not stack filters."""
    install([SECRET])
    net = install(["other secret"])
    filters = [one for one in root.handlers[-1].filters if isinstance(one, RedactingFilter)]
    assert [net] == filters


def test_install_quietens_the_http_client(root: logging.Logger) -> None:
    """Its addresses are not for the log."""
    install([])
    levels = [root.manager.loggerDict[name].level for name in ("httpx", "httpcore")]  # type: ignore[union-attr]
    assert [logging.WARNING] * 2 == levels
