"""The Prefect flows of assignments: they end as the commands do, and Prefect is told counts and ids only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptors.moodle.fake_site import FakeSite
from flows.deployed_assignments import assignments_download, assignments_feedback
from tests.canaries import found_in, found_in_files
from tests.flows.test_deployed import Place, ended, marked, place

pytest_plugins = ["tests.prefect_server"]
__all__ = ["place"]


@marked
async def test_download_and_feedback(
    place: Place, prefect_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are fetched, feedback is stored, and what Prefect keeps holds nothing of anybody."""
    box = place.sandbox
    site: FakeSite = box.site
    course, learner = str(box.courses["CHW-101"]), box.learners[0]
    site.update_user(learner, firstname="QanaryFirst", lastname="QanaryLast")
    cmid = next(one.cmid for one in site.activities.by_course[int(course)].values() if one.name == "Home visits")
    kind, name, message = await ended(
        assignments_download, course=course, assignment=f"cmid:{cmid}", target=str(tmp_path / "work")
    )
    assert ("COMPLETED", "Completed") == (kind, name)
    assert message.startswith("6 files downloaded (0.0 MB), 0 unchanged, of 6 submissions, into ")
    some = tmp_path / "some"
    mine = await ended(
        assignments_download, course=course, assignment=f"cmid:{cmid}", target=str(some), users=[learner]
    )
    assert ("Completed", True) == (mine[1], mine[2].startswith("1 file downloaded"))
    site.update_user(learner, lastname="<QanaryLast")
    bad = await ended(assignments_download, course=course, assignment=f"cmid:{cmid}", target=str(some))
    assert ("FAILED", "Degraded") == bad[:2]
    assert bad[2].startswith("5 files downloaded (0.0 MB), 1 unchanged, of 6 submissions, into ")
    assert f"Moodle itself cannot show the name of person {learner}, for a value in the account" in bad[2]
    site.update_user(learner, lastname="QanaryLast")
    source = tmp_path / "feedback.json"
    source.write_text(json.dumps([{"extId": learner, "text": "QanaryFeedback"}, {"extId": 999, "text": "x"}]))
    told = await ended(assignments_feedback, course=course, assignment=f"cmid:{cmid}", file=str(source))
    assert ("FAILED", "Degraded") == told[:2]
    assert "Feedback: 1 stored, 1 refused." in told[2]
    wrong = await ended(assignments_download, course=course, assignment="4711", target=str(tmp_path / "work"))
    assert ("FAILED", "Failed") == wrong[:2]
    assert "has no assignment 4711" in wrong[2]
    monkeypatch.setenv("MOODLE_QUIET_HOURS", "00:00-12:00,12:00-24:00")
    asked = box.moodle.requests
    later = await ended(
        assignments_download, course=course, assignment=f"cmid:{cmid}", target=str(tmp_path / "late")
    )
    assert (("COMPLETED", "Postponed"), asked) == (later[:2], box.moodle.requests)
    assert later[2].startswith("Moodle has its quiet hours, ")
    assert [] == found_in(message + bad[2] + told[2])
    assert {} == found_in_files(prefect_folder)
