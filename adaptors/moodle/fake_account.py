"""The service account of the fake Moodle: its token, and `login/token.php`, which hands the token out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import httpx

from adaptors.moodle.fake_answers import MAINTENANCE, login_answer, login_refusal, no_access
from adaptors.moodle.fake_form import moodle_error
from adaptors.moodle.fake_people import User
from adaptors.moodle.fake_site import FakeSite

MOBILE_SERVICE = "moodle_mobile_app"


class Account:
    """One token of one service; `authorised` False stands for a wrong address or an account not on its list."""

    def __init__(self, token: str, passwords: Mapping[str, str]) -> None:
        self.token = token
        self.passwords = dict(passwords)
        self.service = "commcare_sync"
        self.authorised = True
        self._expired = self._deleted = False

    def expire(self) -> None:
        """Let the token expire."""
        self._expired = True

    def check(self, site: FakeSite, token: str) -> None:
        """Refuse a token that is wrong or expired, an account that is suspended, a site in maintenance."""
        if self._deleted or token != self.token:
            raise moodle_error("invalidtoken", "Invalid token - token not found")
        if self._expired:
            self._deleted = True  # Moodle deletes an expired token on its first use
            raise no_access()
        if not self.authorised:
            raise no_access()
        if site.maintenance == "web":
            raise moodle_error("sitemaintenance", MAINTENANCE)
        user = site.users[site.info["userid"]]
        if user.suspended:
            message = f"Refused web service access for suspended username: {user.username}"
            raise moodle_error("wsaccessusersuspended", message)

    def login(self, site: FakeSite, form: Mapping[str, Any]) -> httpx.Response:
        """Answer login/token.php, which has its own shape of errors."""
        if not site.web_services:
            return login_refusal("enablewsdescription")
        if missing := [name for name in ("username", "password", "service") if name not in form]:
            return login_refusal("missingparam", missing[0])
        user = next((user for user in site.users.values() if user.username == form["username"]), None)
        if user is None or not self._lets_in(user, form["password"]):
            return login_refusal("invalidlogin")
        if site.maintenance == "web":
            return login_refusal("sitemaintenance")
        if form["service"] not in {self.service, MOBILE_SERVICE}:
            return login_refusal("servicenotavailable")
        if form["service"] == self.service and user.id != site.info["userid"]:
            return login_refusal("usernotallowed", self.service)
        return login_answer({"token": self._token_for(form["service"], user), "privatetoken": None})

    def _lets_in(self, user: User, password: Any) -> bool:
        """Tell whether a password is right; Moodle does not say whether it was that, the name or a suspension."""
        return not user.suspended and self.passwords.get(user.username) == password

    def _token_for(self, service: str, user: User) -> str:
        """Return the account's token: the one there is, unless that is gone."""
        if service == MOBILE_SERVICE:
            return hashlib.sha256(user.username.encode()).hexdigest()[:32]
        if self._expired:
            self.token = hashlib.sha256(self.token.encode()).hexdigest()[:32]
            self._expired = self._deleted = False
        return self.token
