"""The shape of `write_back`: which case properties of a coach go back to Moodle, and to which assignment."""

from __future__ import annotations

from pydantic import Field

from mappings.engine.fields import Strict, Whole


class WriteBackSpec(Strict):
    """`{feedback: coach_feedback, assignment: 14}`: a text that somebody writes into the case becomes feedback."""

    feedback: str = Field(description="The case property with the text; it becomes the feedback for the learner.")
    assignment: Whole | None = Field(
        None,
        description="The number in the address of the assignment's page; left out where each case is about one.",
    )
    grade: str | None = Field(
        None, description="The case property with points that go along; without it no grade is ever changed."
    )
