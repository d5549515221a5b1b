"""Jinja templates compiled once per run; rows in, messages out.

environment.py   what every template runs in: sandboxed, strict, steady
budget.py        what a row may cost: counted work, and a look at the clock
costs.py         what operators, filters and methods are about to make
counting.py      templates compiled so that they count what they do
template.py      what a template needs, found without running it
slots.py         one template, cut into static text and slots, filled by the column
filler.py        one template, filled with row after row
markdown.py      Markdown bodies, which no row can add structure to
plain.py         the text part, made from the HTML
recipe.py        what a campaign says of copies, headers, files and invitations
extras.py        the same, compiled: what is shared, and what differs from row to row
files.py         attachments, read from one folder and from nowhere else
calendar.py      an invitation
watch.py         who looks on while templates are filled
made.py          the parts of many messages while they are made
render.py        all of a message together; one bad row fails alone
"""

from engine.render.extras import shared, varying
from engine.render.recipe import File, Invitation, Recipe, Words
from engine.render.render import Failure, Rendered, Renderer
from engine.render.watch import Watch

__all__ = [
    "Failure",
    "File",
    "Invitation",
    "Recipe",
    "Rendered",
    "Renderer",
    "Watch",
    "Words",
    "shared",
    "varying",
]
