"""Population proof: every row of a plan rendered, nothing sent, and what that tells.

    proof = prove(plan)

Which rows fail and where, which fields stay empty and how the sentence reads then,
which branches of the templates no row takes, and what a recipient or a provider would
stumble over: sizes, subjects, links, forgotten braces, bodies that are all alike.

count.py     rows counted, with a few examples; what is merged from many processes
tags.py      a template's tags as they stand in its text
watching.py  templates compiled so that they tell which way a row takes
looking.py   what the rendered messages show
alike.py     how much of their text messages share
snippet.py   what is read around a field that is empty
sheet.py     all that some rows have told; sheets add up
prove.py     the processes, and the sheet of all rows
wanted.py    rows that somebody asks for
proof.py     the same in words and numbers, for people and for programs
"""

from engine.proof.proof import Branch, Empty, Failing, Proof
from engine.proof.prove import Prover, prove
from engine.proof.wanted import Wanted, find, read

__all__ = [
    "Branch",
    "Empty",
    "Failing",
    "Proof",
    "Prover",
    "Wanted",
    "find",
    "prove",
    "read",
]
