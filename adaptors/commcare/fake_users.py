"""How FakeCommCare makes mobile workers: user name and password are needed, and no user name is given twice."""

from __future__ import annotations

import json
import re

import httpx

from adaptors.commcare.fake_project import FakeProject

_USERNAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.IGNORECASE)


def make_user(project: FakeProject, request: httpx.Request) -> httpx.Response:
    """Answer POST user/v1: 201 with the id, or 400 with a text; unknown fields are dropped without a word."""
    body = json.loads(request.content)
    username, password = body.get("username"), body.get("password")
    if not username or not password:
        return _refused("Password or connect username required")
    short = str(username).partition("@")[0]
    if not _USERNAME.fullmatch(short):
        return _refused(f"The username component '{short}' of '{username}' may not contain special characters.")
    if short.casefold() in project.users:
        return _refused(f"Username '{username}' is already taken or reserved.")
    data = {name: value for name, value in body.get("user_data", {}).items() if isinstance(value, str)}
    return httpx.Response(201, json={"id": project.add_user(short, user_data=data)})


def _refused(text: str) -> httpx.Response:
    return httpx.Response(400, json={"error": text})
