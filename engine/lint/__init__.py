"""Whether a list can be trusted and a mail may be sent: the rules, and what they find.

rule.py       every rule: id, severity, where it is looked at, what to do
lists.py      the frozen list, as it goes by; picks the rows that tell most
domain.py     domains that look like another, and names of roles
source.py     templates, before any row fills them
mail.py       messages of the picked rows
page.py       what a reader of a message sees
url.py        what a link may begin with, and whether it can be guessed
sender.py     the campaign's sender
audience.py   how many, how much room, how late, how new
authenticity.py  whether receivers will believe who sends

Pure: whoever calls brings the list, the messages and the circumstances. The engine
refuses a plan for an error unless its rule was allowed by name.
"""

from engine.lint import audience, authenticity, mail, sender, source
from engine.lint.lists import ListLook
from engine.lint.rule import (
    RULES,
    Example,
    Finding,
    Rule,
    Severity,
    Where,
    overridden,
    refusals,
)

__all__ = [
    "RULES",
    "Example",
    "Finding",
    "ListLook",
    "Rule",
    "Severity",
    "Where",
    "audience",
    "authenticity",
    "mail",
    "overridden",
    "refusals",
    "sender",
    "source",
]
