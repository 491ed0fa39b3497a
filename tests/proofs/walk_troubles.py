"""What goes wrong in a walk: either system fails, loses answers or is late, and processes die or come in pairs."""

from __future__ import annotations

from tests.flows.explorer_troubles import COMMCARE_FAULTS, MOODLE_FAULTS
from tests.proofs.walk_events import Events, Step

READS = (
    None, "core_course_get_courses_by_field", "core_enrol_get_enrolled_users", "core_user_get_users_by_field",
    "gradereport_user_get_grade_items", "core_completion_get_activities_completion_status",
)  # fmt: skip
WRONG = (*MOODLE_FAULTS, "warnings")
LOST = ("timeout", "504_html", "500_html")
LATE = (30.0, 299.0, 900.0)


class Troubles(Events):
    """What is armed here strikes in the next process that meets it."""

    def fail_a_read(self, step: Step) -> bool:
        """Let Moodle fail, or answer only in part."""
        function, kind = READS[step.who % len(READS)], WRONG[step.where % len(WRONG)]
        self.school.moodle.fail_next(function, kind, times=step.one_of((1, 2, 6)), after=step.how % 5)
        return True

    def leave_out(self, step: Step) -> bool:
        """Let Moodle leave people out of its next answers without a word."""
        self.school.unseen |= {self._person(step), self._person(Step("", step.how))}
        return True

    def fail_commcare(self, step: Step) -> bool:
        """Let CommCare fail before it does anything."""
        kind, where = COMMCARE_FAULTS[step.who % len(COMMCARE_FAULTS)], ("write", "any")[step.where % 2]
        self.school.commcare.fail_next(kind, times=step.one_of((1, 3, 8)), where=where)
        return True

    def lose_answers(self, step: Step) -> bool:
        """Let CommCare write, and its answers be lost."""
        self.school.commcare.drop_reply_after_commit(1 + step.how % 3, LOST[step.who % len(LOST)])
        return True

    def write_late(self, step: Step) -> bool:
        """Let the next write take effect long after everybody gave it up."""
        self.school.commcare.late_write(step.one_of(LATE))
        return True

    def lose_rows(self, step: Step) -> bool:
        """Let CommCare change a lookup table, and its answer be lost."""
        self.school.lost_rows = 1 + step.how % 2
        return True

    def crash_at_a_request(self, step: Step) -> bool:
        """Let the next process die at a request."""
        self.school.at_request[1 + step.who] = lambda: setattr(self.school.mortal, "dead", True)
        return True

    def crash_at_the_books(self, step: Step) -> bool:
        """Let the next process die before or after it used the books."""
        self.school.copied.dies_at = step.who * 2 + step.how, bool(step.where % 2)
        return True

    def crash_at_a_write(self, step: Step) -> bool:
        """Let the next process die before or after a write reaches CommCare."""
        self.school.on_write = step.one_of(("crash before", "crash after"))
        return True

    def come_in_pairs(self, step: Step) -> bool:  # noqa: ARG002
        """Let two processes do the next work at the same time."""
        self.school.twice = True
        return True
