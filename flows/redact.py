"""The last net under the logs: whatever reaches a handler leaves it without secrets.

Our own messages hold none; this is for what libraries write, and for the mistake nobody has made yet.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

SHOWN = "***"
SHORTEST = 4  # a shorter secret would black out ordinary words
LEARNED = set[str]()
"""Secrets of this process that stand in no setting: tokens that were fetched with a password."""
NOISY = ("httpx", "httpcore")  # they log every address they open

# What follows these words is a secret whoever gave it; the word itself stays, so that the line can be read.
PATTERNS = re.compile(
    r"""(?ix)
    (?P<word> \b (?: \w*token | \w*password | \w*api_?key ) (?: ["'] \s* : \s* ["']? | \s* = \s* ["']? | %3D )
            | \b ApiKey \s+
            | \b (?-i:Basic) \s+ (?= [\w+/-]{4} )
            | \b Bearer \s+ (?= [\w.-]{8} ) )
    (?P<secret> [^\s"'&,;)\]}<>]+ )
    """
)


class RedactingFilter(logging.Filter):
    """Replaces registered secrets, in clear, url-encoded and base64, and what looks like one, in a record."""

    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__()
        self._secrets = set[str]()
        self._registered: re.Pattern[str] | None = None
        self.register(secrets)

    def register(self, secrets: Collection[str]) -> None:
        """Replace these secrets as well from now on."""
        self._secrets |= {*secrets}
        forms = {form for secret in self._secrets if len(secret) >= SHORTEST for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._registered = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean a record in place; it is always let through."""
        record.args = self._arguments(record.args)
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: shown side by side instead
            record.msg, record.args = self.clean(f"{record.msg} {record.args}"), None
        else:
            if (cleaned := self.clean(message)) != message:
                record.msg, record.args = cleaned, None
        self._trace(record)
        return True

    def clean(self, text: str) -> str:
        """Return a text without secrets; a clean text comes back as it is."""
        if self._registered is not None:
            text = self._registered.sub(SHOWN, text)
        return PATTERNS.sub(lambda found: found["word"] + SHOWN, text)

    def _arguments(self, arguments: Any) -> Any:
        """Clean arguments one by one: some formatters look at them instead of at the message."""
        if isinstance(arguments, Mapping):
            return {name: self._argument(value) for name, value in arguments.items()}
        if isinstance(arguments, tuple):
            return tuple(self._argument(value) for value in arguments)
        return arguments

    def _argument(self, value: Any) -> Any:
        """Clean one argument; numbers stay numbers, and an object stays itself unless it shows a secret."""
        if value is None or isinstance(value, (int, float)):
            return value
        shown = str(value)
        cleaned = self.clean(shown)
        return value if cleaned == shown else cleaned

    def _trace(self, record: logging.LogRecord) -> None:
        """Clean the traceback; one with a secret in it is kept as text only."""
        if record.exc_info and not record.exc_text:
            text = logging.Formatter().formatException(record.exc_info)
        else:
            text = record.exc_text or ""
        cleaned = self.clean(text)
        if cleaned != text:
            record.exc_text, record.exc_info = cleaned, None
        if record.stack_info:
            record.stack_info = self.clean(record.stack_info)


def install(secrets: Collection[str]) -> RedactingFilter:
    """Put the filter on the handlers of all loggers, in place of an earlier one; quieten the HTTP client.

    Handlers made later are not covered: call it again after a library has set up its logging.
    """
    net = RedactingFilter({*secrets, *LEARNED})
    for handler in _handlers():
        handler.filters[:] = [one for one in handler.filters if not isinstance(one, RedactingFilter)]
        handler.addFilter(net)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return net


def learn(secret: str) -> None:
    """Register a secret that stands in no setting with the filters that are installed, and with later ones."""
    LEARNED.add(secret)
    for net in {one for handler in _handlers() for one in handler.filters if isinstance(one, RedactingFilter)}:
        net.register({secret})


def _handlers() -> Iterator[logging.Handler]:
    """Return the handlers of the root and of every logger made so far."""
    yield from logging.root.handlers
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield from logger.handlers


def _forms(secret: str) -> Iterator[str]:
    """Return a secret as it may stand in a text: in clear, in an address, in data, on a page, in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    raw = secret.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            yield from _inside(encode(bytes(before) + raw).decode("ascii"), before, len(raw))


def _inside(encoded: str, before: int, size: int) -> Iterator[str]:
    """Return the marks of a base64 text that only the secret decides, wherever in the text it began."""
    first = (before * 8 + 5) // 6
    last = (before + size) * 8 // 6
    if last - first >= SHORTEST:
        yield encoded[first:last]
