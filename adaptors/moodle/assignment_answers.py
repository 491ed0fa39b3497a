"""The shapes of Moodle's answers to whoever marks: who may submit, what was handed in, what was given for it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from adaptors.lists import TupleOf
from adaptors.moodle.activity_answers import Assignment, Submission, Warned


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class PluginSetting(_Answer):
    """One setting of a kind of submission or feedback; `enabled` "1" switches it on."""

    plugin: str
    subtype: str
    name: str
    value: str | None = None


class MarkedAssignment(Assignment):
    """An assignment with what decides how it is marked."""

    course: int = 0
    submissiondrafts: int = 1
    revealidentities: int = 0
    markingworkflow: int = 0
    attemptreopenmethod: str = ""
    configs: TupleOf[PluginSetting] = ()

    @property
    def hides_people(self) -> bool:
        """Return whether those who mark are not to know whose work it is."""
        return bool(self.blindmarking) and not self.revealidentities

    @property
    def takes_comments(self) -> bool:
        """Return whether text feedback is switched on."""
        return any(
            (one.subtype, one.plugin, one.name, one.value) == ("assignfeedback", "comments", "enabled", "1")
            for one in self.configs
        )


class MarkedCourse(_Answer):
    """The assignments of one course; `unseen` is how many more there are that the account may not see."""

    id: int
    fullname: str = ""
    shortname: str = ""
    assignments: TupleOf[MarkedAssignment] = ()
    unseen: int = 0


class MarkedCourses(_Answer):
    """The answer of `mod_assign_get_assignments`."""

    courses: TupleOf[MarkedCourse]
    warnings: TupleOf[Warned] = ()


class Participant(_Answer):
    """A row of `mod_assign_list_participants` (`onlyids`): somebody who may submit.

    `recordid` is the participant number of blind marking, -1 elsewhere; `groupid` is there in group assignments
    for who is in exactly one group.
    """

    id: int
    fullname: str = ""
    recordid: int = -1
    groupid: int = 0
    submissionstatus: str = ""


class UserMapping(_Answer):
    """A participant number and whose it is."""

    id: int
    userid: int


class MappingsOfAssignment(_Answer):
    """The participant numbers of one assignment."""

    assignmentid: int
    mappings: TupleOf[UserMapping] = ()


class MappingList(_Answer):
    """The answer of `mod_assign_get_user_mappings`."""

    assignments: TupleOf[MappingsOfAssignment]
    warnings: TupleOf[Warned] = ()


class SubmittedFile(_Answer):
    """A file of a submission; the path begins and ends with a slash. Moodle gives no hash here."""

    filename: str
    filepath: str = "/"
    filesize: int = 0
    fileurl: str = ""
    timemodified: int = 0
    mimetype: str | None = None
    isexternalfile: bool = False


class FileArea(_Answer):
    """The files of one kind."""

    area: str
    files: TupleOf[SubmittedFile] = ()


class EditorField(_Answer):
    """A text as it was typed; `format` 1 is HTML."""

    name: str
    text: str = ""
    format: int = 1


class Plugin(_Answer):
    """What one kind of submission or feedback holds: `file`, `onlinetext`, `comments`."""

    type: str
    fileareas: TupleOf[FileArea] = ()
    editorfields: TupleOf[EditorField] = ()


class Work(Submission):
    """One attempt of a person, or with `userid` 0 of a group, with files and texts."""

    plugins: TupleOf[Plugin] = ()


class WorkOfAssignment(_Answer):
    """What was handed in for one assignment."""

    assignmentid: int
    submissions: TupleOf[Work] = ()


class WorkList(_Answer):
    """The answer of `mod_assign_get_submissions`."""

    assignments: TupleOf[WorkOfAssignment]
    warnings: TupleOf[Warned] = ()


class GivenGrade(_Answer):
    """What somebody was given: `grade` is a number as text, "-1.00000" for none."""

    id: int
    userid: int
    attemptnumber: int = 0
    timemodified: int = 0
    grader: int = 0
    grade: str = ""

    @property
    def points(self) -> float | None:
        """Return the points (of a scale: the position of the word), None when there is no grade."""
        try:
            points = float(self.grade)
        except ValueError:
            return None
        return points if points >= 0 else None


class GradesOfAssignment(_Answer):
    """The grades of one assignment."""

    assignmentid: int
    grades: TupleOf[GivenGrade] = ()


class GradeList(_Answer):
    """The answer of `mod_assign_get_grades`."""

    assignments: TupleOf[GradesOfAssignment]
    warnings: TupleOf[Warned] = ()


class UserFlags(_Answer):
    """Where somebody stands in the marking workflow."""

    userid: int
    workflowstate: str = ""


class FlagsOfAssignment(_Answer):
    """The flags of one assignment."""

    assignmentid: int
    userflags: TupleOf[UserFlags] = ()


class FlagList(_Answer):
    """The answer of `mod_assign_get_user_flags`."""

    assignments: TupleOf[FlagsOfAssignment]
    warnings: TupleOf[Warned] = ()


class Feedback(_Answer):
    """What the student of the latest attempt was told; without a grade row Moodle leaves `plugins` out."""

    grade: GivenGrade | None = None
    plugins: TupleOf[Plugin] = ()

    @property
    def comment(self) -> str | None:
        """Return the text feedback, None when Moodle does not tell."""
        texts = [
            field.text for one in self.plugins if one.type == "comments" for field in one.editorfields
        ]  # one editor, "comments"
        return texts[0] if texts else None


class PreviousAttempt(_Answer):
    """An earlier attempt, with its grade if there is one."""

    attemptnumber: int
    submission: Work | None = None
    grade: GivenGrade | None = None


class SubmissionStatus(_Answer):
    """The answer of `mod_assign_get_submission_status` for one person."""

    feedback: Feedback | None = None
    previousattempts: TupleOf[PreviousAttempt] = ()
    warnings: tuple[Any, ...] = ()


class GradingArea(_Answer):
    """How a module is marked; `activemethod` is empty for plain points, else rubric, guide or another."""

    cmid: int
    activemethod: str | None = None


class GradingAreas(_Answer):
    """The answer of `core_grading_get_definitions`."""

    areas: TupleOf[GradingArea]
    warnings: tuple[Any, ...] = ()


PARTICIPANTS = TypeAdapter(TupleOf[Participant])
