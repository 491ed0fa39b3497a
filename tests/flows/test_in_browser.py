"""Runs by hand from Prefect's UI, in a real Chromium: forms, runs, artifacts, and a person who decides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.flows.browser import CHROMIUM, Pages, chromium
from tests.flows.served_whole import whole

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not CHROMIUM, reason="There is no Chromium on this machine (apt-get install chromium)."),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of playwright's pipes
]


def test_runs_by_hand(tmp_path: Path) -> None:
    """The first run waits and says for what; its answer is a form; then one course is previewed and sent."""
    with whole(tmp_path, "--sandbox") as served, chromium(served.url, tmp_path / "pictures") as pages:
        first = re.search(r"First run: +(http\S+)", served.output.read_text())
        assert first is not None
        _approve_wrongly(pages, first[1])
        _first_run(pages, first[1])
        _approve(pages)
        _preview(pages)
        _sync(pages)


def _first_run(pages: Pages, address: str) -> None:
    """The run that serve names is on its page, and tells there what to fill into which form."""
    pages.open(address)
    pages.wait_for_state("Waiting")
    pages.open_tab("Details")
    pages.shows("kind first-run, count 36")
    pages.picture("first-run")
    pages.open_artifact("demo-needs-a-person")
    pages.shows("first-run")
    pages.picture("needs-a-person")


def _approve_wrongly(pages: Pages, address: str) -> None:
    """A form that is filled in by hand with another number changes nothing, and is answered in a sentence."""
    pages.open(address)
    pages.wait_for_state("Waiting")
    pages.open_form("approve")
    pages.choose("kind", "first-run")
    pages.fill("count (Optional)", 35)
    pages.submit()
    pages.wait_for_state("Failed")
    pages.open_tab("Details")
    pages.shows("The run found 36 cases, not 35. Give the count 36 if that is right.")
    pages.picture("approve-wrongly")


def _approve(pages: Pages) -> None:
    """The question links to the form with the answer in it, which starts the run that sends."""
    pages.open_filled_form()
    pages.holds("count (Optional)", 36)
    pages.shows("first-run")
    pages.picture("approve")
    pages.submit()
    pages.wait_for_state("Completed")
    pages.open_tab("Details")
    pages.shows("Started: sync run")


def _preview(pages: Pages) -> None:
    """One course in the form is one course in the run."""
    pages.open_form("preview")
    pages.add("courses (Optional)", 2)
    pages.picture("preview-form")
    pages.submit()
    pages.wait_for_state("Completed")
    pages.open_tab("Details")
    pages.shows("Preview: nothing was sent. student: 12 unchanged. enrolment: 12 unchanged.")
    pages.open_artifact("demo-preview")
    pages.shows("1 course read completely, with nothing to send.")
    pages.picture("preview")
    assert "Amina" not in pages.text()


def _sync(pages: Pages) -> None:
    """A sync of one course leaves its artifacts, with counts and without anybody's name."""
    pages.open_form("sync")
    pages.add("courses (Optional)", 3)
    pages.submit()
    pages.wait_for_state("Completed")
    pages.open_tab("Details")
    pages.shows("enrolment: 8 unchanged.")
    pages.open_logs()
    pages.shows("enrolment: 8 unchanged.")
    pages.open_artifact("demo-run")
    pages.shows("enrolment")
    pages.picture("run")
    assert "Amina" not in pages.text()
