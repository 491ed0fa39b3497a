"""Prefect's pages as a person uses them, in a real Chromium of this machine that reaches no other address."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 60_000
RUN_MS = 180_000
TRIES = 5


class Pages:
    """What a person does on Prefect's pages; every wait has an end. Pictures of them go into a folder."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self.page = page
        self._url = url
        self._pictures = pictures

    def open(self, address: str) -> None:
        """Open an address, or a path of this server."""
        self.page.goto(address if address.startswith("http") else f"{self._url}{address}")

    def open_form(self, deployment: str) -> None:
        """Go from the list of deployments to the form of one."""
        self.open("/v2/deployments?limit=25")
        links = self.page.locator("a[href*='/deployments/deployment/']")
        links.get_by_text(deployment, exact=True).click()
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def add(self, label: str, number: int) -> None:
        """Add a number to the list with this label."""
        field = self._field(label)
        field.get_by_role("button", name="Add item").click()
        field.locator("input[type=number]").last.fill(str(number))

    def choose(self, label: str, value: str) -> None:
        """Choose a value of the menu with this label."""
        self.page.get_by_role("button", name=f"Select {label}").click()
        self.page.get_by_role("option", name=value, exact=True).click()

    def fill(self, label: str, number: int) -> None:
        """Fill in the field of a number."""
        self._field(label).locator("input[type=number]").fill(str(number))

    def holds(self, label: str, number: int) -> None:
        """Wait until the field of a number has that number in it."""
        field = self._field(label).locator("input[type=number]")
        self.page.wait_for_function(
            "([one, number]) => one.value === number", arg=[field.element_handle(), f"{number}"]
        )

    def submit(self) -> None:
        """Submit the form, again while the database is locked, and go to the page of the run.

        The link to it is on the screen for a few seconds only, too short for a busy machine.
        """
        for left in reversed(range(TRIES)):
            with self.page.expect_response("**/create_flow_run") as made:
                self.page.get_by_role("button", name="Submit").click()
            if made.value.ok or not left:
                break
            self.page.wait_for_timeout(2000)
        assert made.value.ok, f"The form was answered {made.value.status}: {self.text()}"
        self.open(f"/v2/runs/flow-run/{made.value.json()['id']}")

    def wait_for_state(self, state: str) -> None:
        """Wait until the page of a run shows a state."""
        self.page.locator("main").get_by_text(state, exact=True).first.wait_for(timeout=RUN_MS)

    def open_tab(self, name: str) -> None:
        """Open a tab of the page of a run."""
        self.page.get_by_role("tab", name=name).click()

    def open_logs(self) -> None:
        """Open the logs of a run that has ended; what came after its end is shown once the page is loaded anew."""
        self.open_tab("Logs")
        self.page.wait_for_timeout(4000)  # the log is sent every two seconds
        self.page.reload()

    def open_artifact(self, key: str) -> None:
        """Go from the artifacts of a run to the newest one with this key, and open it."""
        self.open_tab("Artifacts")
        self.page.locator(f"main a[href$='/artifacts/key/{key}']").first.click()
        self.page.locator("main a[href*='/artifacts/artifact/']").first.click()
        self.page.wait_for_url("**/artifacts/artifact/**")

    def open_filled_form(self) -> None:
        """Follow the link of an artifact to a form that is filled in."""
        self.page.locator("main").get_by_role("link", name="Open the form, filled in").click()
        self.page.get_by_role("button", name="Submit").wait_for()

    def shows(self, text: str) -> None:
        """Wait until the page shows a text; fails with what it shows instead."""
        try:
            self.page.locator("main").get_by_text(text).first.wait_for()
        except Exception:
            raise AssertionError(f"The page does not show {text!r} but: {self.text()}") from None

    def text(self) -> str:
        """Return what the page shows."""
        return self.page.locator("main").inner_text()

    def picture(self, name: str) -> None:
        """Take a picture of the page, to look at after a failure."""
        self.page.screenshot(path=self._pictures / f"{name}.png", full_page=True)

    def _field(self, label: str) -> Locator:
        """Return the part of the form with this label."""
        found = self.page.get_by_text(label, exact=True)
        return found.locator("xpath=ancestor::div[following-sibling::fieldset or .//fieldset][1]/..")


@contextmanager
def chromium(url: str, pictures: Path) -> Iterator[Pages]:
    """Give the pages of a server in a Chromium without a window; addresses elsewhere are not asked."""
    from playwright.sync_api import sync_playwright  # a third of a second that only these tests need

    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.route(lambda address: not address.startswith(url), lambda route: route.abort())
            page.set_default_timeout(PATIENCE_MS)
            yield Pages(page, url, pictures)
        finally:
            browser.close()
