"""The address of a database: what in it is a password, and which addresses can be read in one way only.

SQLAlchemy ends a password at the first `@`, others at the last one before the first `/`. Where the two differ, a
part of the password would be taken for the name of the server, and shown.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

UNCLEAR = (
    "can be read in two ways: in a user name, a password and whatever else stands in it write `@` as %40, `/` as "
    "%2F, `?` as %3F and `#` as %23"
)


def clear_address(url: str) -> str:
    """Return the address of a database; ValueError, without it, when it is not clear where the password ends.

    One `@` at most, before the first `/`, `?` or `#`; the path of a file may hold any.
    """
    rest = url.partition("://")[2]
    server = _server(rest)
    beyond = "" if rest.startswith("/") else rest[len(server) :]
    if server.count("@") > 1 or "@" in beyond:
        raise ValueError(UNCLEAR)
    return url


def passwords_in(url: str) -> list[str]:
    """Return the passwords in an address, as they stand there and as they are meant."""
    rest = url.partition("://")[2]
    login = _server(rest).rpartition("@")[0]
    pairs = [pair.partition("=") for pair in rest.partition("?")[2].split("&")]
    found = {login.partition(":")[2], *(value for name, _, value in pairs if "password" in name)}
    return sorted({*found, *map(unquote, found), *map(unquote_plus, found)} - {""})


def _server(rest: str) -> str:
    """Return user, password and server of what follows `://`."""
    return re.split("[/?#]", rest, maxsplit=1)[0]
