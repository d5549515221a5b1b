"""A provider's events: from a file, kept for good, and whose they are.

file    posts line by line, or an array of them, in memory for one at a time
store   every event once, in a database beside the runs
roster  whose event is it: by our id, the provider's, or the address
"""

from engine.events.file import read
from engine.events.roster import By, Match, Roster
from engine.events.store import EventStore, Kept, Via, Whose

__all__ = ["By", "EventStore", "Kept", "Match", "Roster", "Via", "Whose", "read"]
