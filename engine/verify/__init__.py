"""Check what we promise of a run: against itself, and against the provider's events.

How it works: every file of the run is held against what it was made from: snapshot and
templates against the manifest, the journal against the snapshot, the results against a
fresh projection of the journal. Then the provider's events, if there are any, against
what we hold, in the words of Jepsen.

    check     what was looked at, and what of it is wrong
    files     snapshot and templates
    claims    the journal: who has which row, and one outcome for each
    results   the results file
    audit     the provider's events: lost, duplicated, unexpected, recovered
    verify    all of them in their order

Rules: nothing is changed. No check stops at the first thing that is wrong; one whose
ground is gone is left out and says so. Memory holds some bytes a row.

Source:
    Jepsen, checker `set-full` and its kin: lost, duplicated, unexpected, recovered.
"""

from engine.verify.audit import Anomaly, Audited
from engine.verify.check import Check
from engine.verify.verify import Verified, verify

__all__ = ["Anomaly", "Audited", "Check", "Verified", "verify"]
