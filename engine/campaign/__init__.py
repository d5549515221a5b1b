"""The campaign file: parsed, checked, and every problem told at once.

load       read, overridden, checked
problems   what is wrong, in the words of the file
sections   its tables; [message] has a file of its own: message
audience   the tables that say who of the list gets it, and what
guards     the tables that hold a campaign back
values     what a single value may be: also judged when a row has filled it
"""

from engine.campaign.audience import BASE, Audience, ExcludeList
from engine.campaign.guards import Canary, Expect, StopRules
from engine.campaign.load import allowing, load, rebased, schema
from engine.campaign.message import AttachedFile, Calendar
from engine.campaign.sections import Campaign, Catalogue, Limits, Token
from engine.campaign.values import PLAIN_NAME, is_inline, is_loopback

__all__ = [
    "BASE",
    "PLAIN_NAME",
    "AttachedFile",
    "Audience",
    "Calendar",
    "Campaign",
    "Canary",
    "Catalogue",
    "ExcludeList",
    "Expect",
    "Limits",
    "StopRules",
    "Token",
    "allowing",
    "is_inline",
    "is_loopback",
    "load",
    "rebased",
    "schema",
]
