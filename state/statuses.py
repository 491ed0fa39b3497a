"""What the books say of a case in one word, and what follows from it.

active       its record is there, or was when it was last read
withdrawn    its person is kept out: personal values are emptied
withdrawing  the same, decided and maybe sent; nobody knows whether CommCare has it so
returning    the same of somebody who was let in again
ended        its course is over
left         its person is gone
leaving      the same, and nobody knows whether CommCare has it so
rejoining    away, or maybe, and its record is there again; CommCare has not taken that in yet
closing      a close was sent, and nobody knows whether CommCare has it so
closed       closed by us, in whatever way its person went
emptying     closed by us, else as withdrawing
clearing     left, else as withdrawing
replaced     its mapping makes other keys now; it is to be marked as left
erasing      its person is being erased
"""

from __future__ import annotations

from typing import Final

LEAVING: Final = "leaving"
EMPTYING: Final = "emptying"
CLEARING: Final = "clearing"

LIVING: Final = ("active", "withdrawn", "ended", "withdrawing", "returning", "rejoining", "closing")
"""Weighs with the guards, and may leave."""
MARKED: Final = frozenset({"left", LEAVING})
"""Says that its person is gone, or may say so."""
UNSETTLED: Final = (LEAVING, EMPTYING, CLEARING)
"""Does not, and is looked for all the same: CommCare may not have been told."""
GONE: Final = ("left", LEAVING, "closed", EMPTYING, CLEARING)
"""Lives no more, be it that CommCare has not taken that in."""
CLOSED: Final = frozenset({"closed", EMPTYING})
"""Closed by us: who comes back gets the next case."""
MAYBE_CLOSED: Final = frozenset({"closing", "withdrawing", "returning", CLEARING, "replaced"})
"""May be closed by us: CommCare knows."""
TO_BE_EMPTIED: Final = frozenset({"withdrawing", EMPTYING, CLEARING})
"""Is to be emptied, and nobody knows whether it is."""
KEPT_OUT: Final = frozenset({"withdrawn", "withdrawing", CLEARING})
"""Its children are kept out as well."""
EMPTIED: Final = KEPT_OUT | {"returning"}
"""Lost its personal values, or may have lost them."""
AWAY: Final = EMPTIED | {"left", LEAVING, "rejoining", "ended", "closing"}
"""Comes back when its record is there."""
GOING: Final = TO_BE_EMPTIED | {LEAVING, "closing"}
"""Was allowed to go, and nobody knows whether it did."""
UNDER_WAY: Final = GOING - {"closing"}
"""The same, and was not seen since, which of a close is not certain: nobody is asked again."""
PASSING: Final = frozenset({"replaced", "erasing"})
"""Goes its own way, whatever becomes of its record."""
ALL: Final = frozenset(LIVING) | {*GONE} | PASSING
