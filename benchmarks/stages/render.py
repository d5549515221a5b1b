"""Rendering: three templates with five variables, an `if` and two filters.

All texts are read, as the others give them; a run does not read them, it joins their
pieces with the rest of a request: that is the stage `make`.
"""

import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from benchmarks import mail
from benchmarks.stages.material import draw_plan, read_chunks, render, texts_of

Values = Mapping[str, Any]
TITLE = re.compile(r"([-\s({\[<]+)")


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, f-strings, and what Jinja's front page shows."""
    plan = draw_plan(rows, folder)
    chunks = read_chunks(plan)
    values = [row for chunk in chunks for row in chunk["data"].to_list()]
    fill = f_strings()
    (first,) = render(plan, chunks[:1])
    wanted = texts_of(first)
    if wanted != [fill(row) for row in values[: len(wanted)]]:
        raise AssertionError("the f-strings do not give the same mails")
    return {
        "mailvolley": lambda: [texts_of(messages) for messages in render(plan, chunks)],
        "the ceiling: f-strings": lambda: [fill(row) for row in values],
        "Template.render": lambda: [mail.build_message(row) for row in values],
    }


def _title(value: str) -> str:
    # As Jinja's filter does it, which is not `str.title`.
    pieces = TITLE.split(value)
    return "".join(piece[0].upper() + piece[1:].lower() for piece in pieces if piece)


def f_strings() -> Callable[[Values], tuple[str, str, str]]:
    """Make a function of f-strings that gives the same as the templates."""
    names = ("subject.txt.j2", "body.html.j2", "body.txt.j2")
    subject, html, text = (
        (mail.TEMPLATES / name).read_text(encoding="utf-8").removesuffix("\n")
        for name in names
    )
    source = "def fill(row):\n"
    source += "    name, city = title(row['first_name']), row['city'].upper()\n"
    source += "    gold = row['tier'] == 'gold'\n"
    source += "    book, points = row['book'], row['points']\n"
    source += f"    text = {_choice(text)}\n    subject = {_choice(subject)}\n"
    source += "    name, city, book = escape(name), escape(city), escape(book)\n"
    source += f"    return subject, {_choice(html)}, text\n"
    made: dict[str, Any] = {}
    exec(source, {"title": _title, "escape": _escape}, made)
    fill: Callable[[Values], tuple[str, str, str]] = made["fill"]
    return fill


def _escape(value: str) -> str:
    # As MarkupSafe spells it.
    return escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _choice(template: str) -> str:
    """Turn a template with at most one `if` into an expression."""
    found = re.search(
        r"{% if .*?%}(.*?){% else %}(.*?){% endif %}", template, re.DOTALL
    )
    if found is None:
        return _f_string(template)
    before, after = template[: found.start()], template[found.end() :]
    gold, other = (_f_string(before + part + after) for part in found.groups())
    return f"{gold} if gold else {other}"


def _f_string(template: str) -> str:
    slots = {
        "{{ first_name|title }}": "{name}",
        "{{ city|upper }}": "{city}",
        "{{ book }}": "{book}",
        "{{ points }}": "{points}",
    }
    made = template
    for slot, name in slots.items():
        made = made.replace(slot, name)
    return "f" + repr(made)
