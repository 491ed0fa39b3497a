"""What may stand as the address of a Moodle or a CommCare: the site alone, and never in clear over a network.

And as the address that nudges go to, which is a secret itself: it is never shown.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, parse_qs, urlsplit

PORTS = {"http": 80, "https": 443}
MOODLE_PAGE = re.compile(r"/(webservice|login)(/.*)?$|/[^/]*\.php(/.*)?$", re.IGNORECASE)
SLACK = re.compile(r"https://hooks\.slack(-gov)?\.com/services/[A-Z0-9]+/[A-Z0-9]+/[A-Z0-9]+/?", re.IGNORECASE)
COMMCARE_PAGE = re.compile(r"/(a|accounts|login)(/.*)?$", re.IGNORECASE)


def moodle_address(text: str) -> str:
    """Return the address of a Moodle site in its normal form; ValueError says what is wrong with it."""
    return _address(text, MOODLE_PAGE, "Give the address of the site alone, as in https://moodle.example.org")


def commcare_address(text: str) -> str:
    """Return the address of a CommCare server in its normal form; ValueError says what is wrong with it."""
    remedy = "Give the address of the server alone, as in https://www.commcarehq.org; the project space is apart"
    return _address(text, COMMCARE_PAGE, remedy)


def webhook_address(text: str) -> str:
    """Return the address of a webhook as it is; ValueError when it is none, or the message could be read."""
    parts = _parts(text, "Give the whole address of the webhook, as its owner shows it")
    if parts.scheme == "http" and not is_loopback((parts.hostname or "").lower()):
        raise ValueError("begins with http://; use https://. http:// is only for this computer itself (localhost)")
    if "{{" in text:
        raise ValueError("holds {{, which Prefect would fill in")
    return text


def slack_address(text: str) -> str:
    """Return the address of an incoming webhook of Slack; ValueError when it is none."""
    if not SLACK.fullmatch(text):
        raise ValueError(
            "is not the address of an incoming webhook: https://hooks.slack.com/services/ and three words with / "
            "between them. A webhook of another kind belongs into NUDGE_WEBHOOK_URL"
        )
    return text


def mail_address(text: str) -> str:
    """Return the address of a mail server, its login and who gets the mail; ValueError when it is none.

    In clear it may only go to this computer's own mail server.
    """
    example = "as in mailtos://user:password@mail.example.org:587?to=ops@example.org&from=sync@example.org"
    try:
        parts = urlsplit(text)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise ValueError(f"is no address of a mail server, {example}") from None
    if parts.scheme not in ("mailto", "mailtos") or not parts.hostname or port_is_wrong:
        raise ValueError(f"is no address of a mail server, {example}")
    if parts.scheme == "mailto" and not is_loopback(parts.hostname):
        raise ValueError("begins with mailto://, and mail and password would go in clear. Use mailtos://")
    if not parse_qs(parts.query).get("to"):
        raise ValueError(f"does not say who gets the mail (to=), {example}")
    return text


def _address(text: str, page: re.Pattern[str], remedy: str) -> str:
    """Check an address and bring it into its normal form: small letters, no usual port, no slash at the end.

    What is wrong is said without the address: it may hold a password, and a token may stand where it belongs.
    """
    parts = _parts(text, remedy)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ValueError("holds a user name or password. User, password and token have settings of their own")
    if parts.query or parts.fragment:
        raise ValueError(f"goes on after ? or #. {remedy}")
    if page.search(parts.path):
        raise ValueError(f"is the address of a page inside the site. {remedy}")
    host = (parts.hostname or "").lower()
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            f"begins with http://, and the password or token would cross the network to {host} in clear. "
            "Use https://; http:// is only for this computer itself (localhost)"
        )
    return f"{parts.scheme}://{_netloc(host, parts)}{parts.path.rstrip('/')}"


def _parts(text: str, remedy: str) -> SplitResult:
    """Take an address apart; ValueError when it is none."""
    if "\\" in text or any(mark.isspace() or not mark.isprintable() for mark in text):
        raise ValueError(f"holds a space, a line break or a backslash. {remedy}")
    try:
        parts = urlsplit(text)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise ValueError(f"is no address. {remedy}") from None
    if parts.scheme not in PORTS:
        raise ValueError(f"does not begin with https://. {remedy}")
    if not parts.hostname or port_is_wrong:
        raise ValueError(f"names no server. {remedy}")
    return parts


def is_loopback(host: str) -> bool:
    """Tell whether a host name is certainly this computer: localhost, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _netloc(host: str, parts: SplitResult) -> str:
    """Return host and port, without the port everybody expects."""
    shown = f"[{host}]" if ":" in host else host
    return shown if parts.port in (None, PORTS[parts.scheme]) else f"{shown}:{parts.port}"
