"""Files of the fake Moodle held against recorded answers of `webservice/pluginfile.php`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptors.moodle.fake import FakeMoodle
from tests.adaptors.moodle_world import RECORDINGS, recorded_site

FILES = {path.stem: path for path in sorted((RECORDINGS / "moodle-4.5-files").glob("*.json"))}
COMPARED = ("Content-Type", "Content-Length", "Content-Disposition", "Etag", "Accept-Ranges", "Location")
PNG = "/330/assignsubmission_file/submission_files/11/foto ñ  (1).png"


def fake_with_the_picture() -> FakeMoodle:
    """Return the recorded site, with the bytes of the two recorded files."""
    fake = FakeMoodle(recorded_site())
    whole: dict[str, Any] = json.loads(FILES["pluginfile__ok_get"].read_text("utf-8"))
    fake.site.marking.contents[PNG] = picture(whole["response_head"])
    fake.site.marking.contents["/330/assignsubmission_file/submission_files/1/report_10.txt"] = b"Report of 10\n"
    return fake


def picture(head: str) -> bytes:
    """Return a picture of the size that was recorded (the recording holds it as a text that lost some bytes)."""
    return (head.encode("latin-1", "replace") + bytes(70))[:70]


def sent(fake: FakeMoodle, recording: dict[str, Any]) -> httpx.Response:
    """Send what was sent when the answer was recorded."""
    asked = recording["request"]
    weak = "weak_token" in recording.get("name", "")
    if weak:
        fake.site.info["downloadfiles"] = 0

    def token(text: str) -> str:
        return text.replace("<TOKEN>", fake.token).replace("token=" + "0" * 32, f"token={fake.token}")

    headers = dict(asked["headers"] or {})
    if asked["body"]:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    return fake(
        httpx.Request(
            asked["method"],
            f"https://moodle.example.org{token(asked['path'])}",
            content=token(asked["body"] or ""),
            headers=headers,
        )
    )


@pytest.mark.parametrize("name", FILES)
def test_fake_serves_files_as_the_real_site_did(name: str) -> None:
    """Status, headers and error codes are those recorded; the hash of the made-up picture is its own."""
    recording = json.loads(Path(FILES[name]).read_text("utf-8")) | {"name": name}
    fake = fake_with_the_picture()
    if name == "pluginfile__maintenance_web_mode":
        fake.site.maintenance = "web"
    answer = sent(fake, recording)
    headers = httpx.Headers([(k.encode(), v.encode("latin-1")) for k, v in recording["headers"].items()])
    real = {key: headers.get(key) for key in COMPARED}
    got = {key: answer.headers.get(key) for key in COMPARED}
    if "forcedownload" in name or "png" in recording["request"]["path"]:
        assert (real.pop("Etag") is None) == (got.pop("Etag") is None)
    if answer.status_code == 303 or headers["Content-Type"].startswith("application/json"):
        for one in ("Content-Length", "Content-Type" if answer.status_code == 303 else "Content-Length"):
            real.pop(one, None), got.pop(one, None)
    assert (recording["status"], real) == (answer.status_code, got)
    if headers["Content-Type"].startswith("application/json"):
        assert json.loads(recording["response_head"]) == answer.json()


async def test_a_part_and_what_did_not_change() -> None:
    """Range gives the rest of a picture and the whole of a text; the hash as If-None-Match gives 304."""
    fake = fake_with_the_picture()
    base = "https://moodle.example.org/webservice/pluginfile.php/330/assignsubmission_file/submission_files"
    whole = fake(httpx.Request("POST", f"{base}/11/foto ñ  (1).png", data={"token": fake.token}))
    rest = fake(
        httpx.Request(
            "POST", f"{base}/11/foto ñ  (1).png", data={"token": fake.token}, headers={"Range": "bytes=60-"}
        )
    )
    text = fake(
        httpx.Request("POST", f"{base}/1/report_10.txt", data={"token": fake.token}, headers={"Range": "bytes=6-"})
    )
    same = fake(
        httpx.Request(
            "POST",
            f"{base}/11/foto ñ  (1).png",
            data={"token": fake.token},
            headers={"If-None-Match": whole.headers["Etag"]},
        )
    )
    assert (206, whole.content[60:]) == (rest.status_code, rest.content)
    assert (200, b"Report of 10\n") == (text.status_code, text.content)
    assert (304, b"") == (same.status_code, same.content)
