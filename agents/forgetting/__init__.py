"""Forgets a person: nothing of them is left in any table, and what stays for others is without their words.

The command `forget_person` and the admin call `begin`; `go_on` does the work, in stages and in batches, under a
lease. One that broke off is taken up by the next call, or by the dispatcher. Each stage is a module, and may be
done again from its beginning:

    sealing   no open turn, no account: who writes now is somebody new
    hearing   the hashes of the person's words, to find them in what stays
    removal   the person's own rows go; what stays is cut, so that nobody is told of it any more
    quiet     what others had begun before that comes to its end
    sweeping  what stays is cut once more: all that was written meanwhile
    ending    streams, indexes, the person; an entry in the audit that names nobody

`docs/privacy.md` states the rule for what stays.
"""

from agents.forgetting.holding import Progress
from agents.forgetting.sealing import CannotForget, begin
from agents.forgetting.survey import Survey, staff_of, survey
from agents.forgetting.working import find_due, find_unfinished, go_on, hand_over

__all__ = [
    "CannotForget",
    "Progress",
    "Survey",
    "begin",
    "find_due",
    "find_unfinished",
    "go_on",
    "hand_over",
    "staff_of",
    "survey",
]
