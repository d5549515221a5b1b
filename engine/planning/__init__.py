"""From a campaign and a list to a frozen plan: checked whole before anything is sent.

    campaign ──┐
    templates ─┼─▶ checked against each other ─▶ snapshot + copies ─▶ manifest
    list ──────┘

Everything after reads the snapshot and the copies, so that a run sends exactly what
was planned, however long it takes and however often it is taken up again. No network.

    plan.py    the plan: what it says of itself, and what follows from a campaign
    draw.py    a new plan, drawn up and frozen
    again.py   the plan of an earlier start: taken up, compared, tried again
    audience.py who the campaign leaves out, and which message the others get
    earlier.py  whom earlier runs have written to
    check.py   the rules of `engine.lint`, put to it
    leaving.py who has said no since
    variants.py a message for each share of the list
    links.py   each recipient's own link to unsubscribe
    extras.py  copies, headers, files and invitations: from the file to a recipe
"""

from engine.planning.again import as_planned, differences, rows_of, take_up
from engine.planning.check import refuse
from engine.planning.draw import draw_up
from engine.planning.leaving import Left, left_since
from engine.planning.plan import Occasion, Plan, base_url_of, inputs

__all__ = [
    "Left",
    "Occasion",
    "Plan",
    "as_planned",
    "base_url_of",
    "differences",
    "draw_up",
    "inputs",
    "left_since",
    "refuse",
    "rows_of",
    "take_up",
]
