"""What may stand as the address of a Moodle or a CommCare: the site alone, and never in clear over a network."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

PORTS = {"http": 80, "https": 443}
MOODLE_PAGE = re.compile(r"/(webservice|login)(/.*)?$|/[^/]*\.php(/.*)?$", re.IGNORECASE)
COMMCARE_PAGE = re.compile(r"/(a|accounts|login)(/.*)?$", re.IGNORECASE)


def moodle_address(text: str) -> str:
    """Return the address of a Moodle site in its normal form; ValueError says what is wrong with it."""
    return _address(text, MOODLE_PAGE, "Give the address of the site alone, as in https://moodle.example.org")


def commcare_address(text: str) -> str:
    """Return the address of a CommCare server in its normal form; ValueError says what is wrong with it."""
    remedy = "Give the address of the server alone, as in https://www.commcarehq.org; the project space is apart"
    return _address(text, COMMCARE_PAGE, remedy)


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
