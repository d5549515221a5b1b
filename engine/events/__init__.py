"""A file of a provider's events, and the rows of a run that they are about.

file    posts line by line, or an array of them, in memory for one at a time
roster  whose event is it: by our id, the provider's, or the address
"""

from engine.events.file import read
from engine.events.roster import By, Match, Roster

__all__ = ["By", "Match", "Roster", "read"]
