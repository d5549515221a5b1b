"""Forget people: nothing under the runs folder tells any more who they were.

    people   who they are, and where a text or a column names them
    run      one run, made anew without them beside itself
    erase    everything, in an order that survives a crash

Source:
    GDPR, article 17; and article 18, for the mark that stays: it is needed never to
    write to them again.
"""

from engine.erase.erase import Erased, Left, Survey, erase, survey
from engine.erase.people import People

__all__ = ["Erased", "Left", "People", "Survey", "erase", "survey"]
