"""Claims about `engine.proof`: what rendering every row shows, counted exactly."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import api
from engine.planning import Plan
from engine.proof import Branch, Proof, prove
from engine.proof.watching import Trail
from engine.render import Renderer

CAMPAIGN = """\
name = "letter"
kind = "transactional"
[message]
from = "Shop <shop@harbour.example>"
subject = "subject"
html = "html"
text = "text"
[provider]
token = { env = "SHOP_KEY" }
"""
CLOUDMAILS = 'name = "cloudmails"'
CLOUDFLARE = 'name = "cloudflare"\naccount_id = "0123456789abcdef0123456789abcdef"'
ROWS = [
    {"email": "a@inbox.example", "name": "Ann", "points": 5, "titles": "A|B"},
    {"email": "b@inbox.example", "name": "", "points": 0, "titles": ""},
    {"email": "c@inbox.example", "name": "Cid", "points": None, "titles": "C"},
    {"email": "nobody", "name": "left out", "points": 1, "titles": ""},
]

Make = Callable[..., Plan]


@pytest.fixture
def plan(tmp_path: Path) -> Make:
    """Plan a letter of some templates to a list."""

    def make(
        rows: Sequence[Mapping[str, Any]] = ROWS,
        provider: str = CLOUDMAILS,
        **templates: str,
    ) -> Plan:
        folder = tmp_path / "templates"
        folder.mkdir()
        whole = {"subject": "Hello", "html": "<p>Hi</p>", "text": "Hi", **templates}
        for name, text in whole.items():
            (folder / name).write_text(text, encoding="utf-8")
        (tmp_path / "letter.toml").write_text(CAMPAIGN + provider)
        frame = pl.DataFrame(list(rows))
        rules = ["L27", "L28", "L29"]
        return api.plan(frame, tmp_path / "letter.toml", allow=rules, sandbox=True)

    return make


def branches(proof: Proof, template: str) -> list[tuple[int, str, int, int | None]]:
    """Return line, what it is, rows and the example's row of each branch."""

    def told(branch: Branch) -> tuple[int, str, int, int | None]:
        row = None if branch.example is None else branch.example.row
        return branch.point.line, branch.told, branch.rows, row

    return [told(b) for b in proof.branches if b.point.template == template]


def test_each_branch_has_its_rows_or_none(plan: Make) -> None:
    """If, elif, else, the else that is not there, loops and empty loops are counted."""
    text = """{% if points and points > 3 %}many{% elif points %}few{% else %}none
{%- endif %}
{% if name %}Hi {{ name }}{% endif %}
{% for title in titles.split("|") if title %}{{ title }}{% endfor %}
{% if name == "nobody" %}x{% elif name == "Cid" %}y{% endif %}"""
    proof = prove(plan(text=text))
    assert branches(proof, "text") == [
        (1, "{% if points and points > 3 %} taken", 1, 0),
        (1, "{% elif points %} taken", 0, None),
        (1, "{% if points and points > 3 %} else", 2, 1),
        (3, "{% if name %} taken", 2, 0),
        (3, "{% if name %} not taken", 1, 1),
        (4, '{% for title in titles.split("|") if title %} some turns', 2, 0),
        (4, '{% for title in titles.split("|") if title %} no turn', 1, 1),
        (5, '{% if name == "nobody" %} taken', 0, None),
        (5, '{% elif name == "Cid" %} taken', 1, 2),
        (5, '{% if name == "nobody" %} nor an elif', 2, 0),
    ]


def test_an_if_inside_an_expression_is_two_branches(plan: Make) -> None:
    """What `{{ a if b else c }}` chooses is counted, too."""
    proof = prove(plan(text='{{ "one" if points == 5 else name }}'))
    assert branches(proof, "text") == [
        (1, '{{ "one" if points == 5 else name }} true', 1, 0),
        (1, '{{ "one" if points == 5 else name }} false', 2, 1),
    ]


def test_branches_of_macros_parents_and_includes_are_counted(plan: Make) -> None:
    """A branch counts where it stands, whatever template leads there; once a row."""
    proof = prove(
        plan(
            parent="{% if name %}p{% endif %}{% block b %}{% endblock %}",
            macros="{% macro m(x) %}{% if x %}m{% endif %}{% endmacro %}",
            bit="{% for _ in range(3) %}{% if points %}i{% endif %}{% endfor %}",
            text='{% extends "parent" %}{% from "macros" import m %}'
            '{% block b %}{{ m(name) }}{% include "bit" %}{% endblock %}',
        )
    )
    assert [row[2] for row in branches(proof, "parent")] == [2, 1]
    assert [row[2] for row in branches(proof, "macros")] == [2, 1]
    assert [row[2] for row in branches(proof, "bit")] == [1, 2, 3, 0]


TEMPLATES = {
    "parent": "<b>{% block b %}{% endblock %}</b>{% if name %}{{ name }}{% endif %}",
    "subject": "Hi {{ name }} {{ points }}{% if points %}!{% endif %}",
    "html": """{% extends "parent" %}{% macro m(x) -%}
<i>{{ x }}{{ caller() if caller is defined and caller else "" }}</i>
{%- endmacro %}{% set y %}{{ name }}{% endset %}
{% block b %}{{ m(name) }}{% call m("<") %}{{ points }}{% endcall %}
{% for t in titles.split("|") recursive %}{{ loop.index }}{{ t }}{% else %}-{% endfor %}
{% filter upper %}{{ name or "nobody" }}{% endfilter %}{{ name|default("x", true) }}
{{ "a" if points else "b" }}{{ y }}{% raw %}{{ }}{% endraw %}{% endblock %}""",
    "text": "{% for t in titles %}{{ t }}{% if loop.last %}.{% endif %}{% endfor %}"
    "{% autoescape true %}{{ name }}{% endautoescape %}",
}


def test_what_is_printed_is_the_same_to_the_byte(tmp_path: Path) -> None:
    """Templates that tell print what those print that do not."""
    for name, text in TEMPLATES.items():
        (tmp_path / name).write_text(text)
    parts = {part: part for part in ("subject", "html", "text")}
    rows = [
        {"name": name, "points": points, "titles": titles}
        for name in ("Ann", "", "<&>", None)
        for points in (0, 7, None)
        for titles in ("", "a|b", "|")
    ]
    chunk = pl.DataFrame(
        {
            "row": pl.Series(range(len(rows)), dtype=pl.UInt64),
            "address": [f"a{n}@a.example" for n in range(len(rows))],
            "name": [""] * len(rows),
            "message_id": [f"m{n}" for n in range(len(rows))],
            "data": pl.Series(rows),
        }
    )
    plain = Renderer(tmp_path, parts, {"name": "c"}).render(chunk)
    trail = Trail()
    told = Renderer(tmp_path, parts, {"name": "c"}, watch=trail).render(chunk)
    assert plain.messages == told.messages
    assert plain.failures == told.failures
    assert len(trail.points) > 10
    assert len(plain.messages) > 10


def test_failures_name_the_line_the_variables_and_the_rows(plan: Make) -> None:
    """Rows that fail alike are one entry; a value does not make two of it."""
    rows = [
        {"email": f"r{n}@inbox.example", "name": "x" if n % 3 else "", "n": f"v{n}"}
        for n in range(9)
    ]
    proof = prove(plan(rows, text="Hi\n{{ name[0].upper() }}\n{{ n|int + n|length }}"))
    (failing,) = proof.failures
    assert (failing.cause.template, failing.cause.line) == ("text", 2)
    assert failing.cause.names == ("name",)
    assert failing.count.rows == proof.failed == 3
    assert [example.row for example in failing.count.examples] == [0, 3, 6]
    assert proof.worst == 0


def test_a_value_in_an_error_does_not_make_two_causes(plan: Make) -> None:
    """Errors that quote the row are told together."""
    rows = [{"email": f"r{n}@inbox.example", "n": str(n)} for n in range(5)]
    proof = prove(plan(rows, text='{{ ("%d" % n) }}{{ n[9:][0] }}'))
    assert [failing.count.rows for failing in proof.failures] == [5]


def test_a_gap_is_shown_in_the_sentence_that_it_breaks(plan: Make) -> None:
    """An empty field is told with what is read around it, if a sentence is broken."""
    html = '<p title="{{ name }}">Dear <b>{{ name }}</b>, hello.</p><p>{{ titles }}</p>'
    proof = prove(plan(text="Hi {{ name }},\nyou have {{ points }} points", html=html))
    found = [
        (e.point.template, e.reads, e.breaks, e.count.rows, e.count.examples[0].row)
        for e in proof.empties
    ]
    assert found == [
        ("html", "Dear ▯, hello.", True, 1, 1),
        ("text", "Hi ▯,", True, 1, 1),
        ("text", "you have ▯ points", True, 1, 2),
        ("html", '<p title="▯">Dear <b></b>, hello.</p><p></p>', False, 1, 1),
        ("html", "▯", False, 1, 1),
    ]


def test_an_emptiness_that_is_meant_is_no_gap(plan: Make) -> None:
    """Where the template says "" itself, nothing is missing."""
    text = 'Hi{{ " " ~ name if name else "" }}, {{ name|default("", true) }}{{ "" }}.'
    assert prove(plan(text=text)).empties == []


def test_empty_and_null_cells_are_counted_by_column(plan: Make) -> None:
    """A cell that is empty and one that is null are told apart."""
    proof = prove(plan(text="{{ name }}{{ points }}{{ titles }}"))
    columns = {name: (c.rows, nulls) for name, (c, nulls) in proof.columns.items()}
    assert columns == {"name": (1, 0), "points": (1, 1), "titles": (1, 0)}


def test_what_readers_stumble_over_is_counted(plan: Make) -> None:
    """Subjects, sizes, braces and links without https, each with its rows."""
    rows = [
        {"email": "a@inbox.example", "s": "x" * 71, "b": "{{ oops }}", "size": "1"},
        {"email": "b@inbox.example", "s": " ", "b": "http://a.example/x", "size": "9"},
        {"email": "c@inbox.example", "s": "ok", "b": "fine", "size": "999999"},
    ]
    proof = prove(
        plan(
            rows,
            subject="{{ s }}",
            html="{{ b }}<p xmlns='http://www.w3.org/1999/xhtml'>"
            "{{ '<' * size|int if size|int < 100000 else 'x' * 110000 }}</p>",
        )
    )
    look = proof.look
    assert (look.empty_subjects.rows, look.long_subjects.rows) == (1, 1)
    assert look.longest_subject.size == 71
    assert {part: count.rows for part, count in look.braces.items()} == {"html": 1}
    assert {link: c.rows for link, c in look.links.items()} == {"http://a.example/x": 1}
    assert look.clipped.rows == 1
    assert look.largest.example.row == 2
    assert proof.worst == 0


def test_what_no_request_has_room_for_is_found_by_its_true_size(
    plan: Make,
) -> None:
    """Of two large messages the one over the provider's 5 MiB is told."""
    rows = [
        {"email": "a@inbox.example", "text": "x" * 4_500_000},
        {"email": "b@inbox.example", "text": "x" * 5_300_000},
    ]
    proof = prove(plan(rows, provider=CLOUDFLARE, text="{{ text }}"))
    assert [example.row for example in proof.look.too_large.examples] == [1]
    assert proof.look.too_large.rows == 1


def test_same_bodies_are_grouped_and_others_compared(plan: Make) -> None:
    """Bodies alike to the byte are counted; of the rest a share is told."""
    rows = [
        {"email": f"r{n}@inbox.example", "name": "all" if n < 6 else f"only {n}"}
        for n in range(8)
    ]
    words = "one two three four five six seven eight nine ten"
    alike = prove(plan(rows, text=f"{words} {{{{ name }}}}")).alike
    assert (alike.rows, alike.groups) == (6, [(6, 0)])
    assert alike.share == 1.0
    assert alike.least is not None
    assert 0 < alike.least < 1
    assert alike.sample == 8


def test_a_row_is_counted_once_and_the_first_ones_are_shown(plan: Make) -> None:
    """A link in both bodies is one; the mean is of what the largest is of.

    And the examples are the first rows, whichever way through the template they take.
    """
    rows = [
        {"email": f"r{n}@inbox.example", "name": "", "x": "y" if n % 2 else ""}
        for n in range(20)
    ]
    body = "Hi {{ name }}, {% if x %}odd{% endif %} http://a.example/x"
    proof = prove(plan(rows, html=f"<p>{body}</p>", text=body))
    assert {c.rows for c in proof.look.links.values()} == {20}
    sizes = proof.to_dict()["sizes"]
    assert 0 < sizes["mean"] <= sizes["largest"]
    for gap in proof.empties:
        assert [example.row for example in gap.count.examples] == [0, 1, 2]


@pytest.mark.slow
def test_processes_tell_the_same_as_one(plan: Make) -> None:
    """The sheet of many processes is that of one, whatever the pieces."""
    rows = [
        {
            "email": f"r{n}@inbox.example" if n % 50 else "bad",
            "name": "" if n % 7 == 0 else f"N{n}",
            "points": n % 5,
            "titles": "|".join("abc"[: n % 4]),
        }
        for n in range(12_000)
    ]
    made = plan(
        rows,
        text="Hi {{ name }},{% if points > 3 %}{{ titles[5] }}{% endif %}"
        "{% for t in titles %}{{ t }}{% endfor %}",
    )
    done: list[int] = []
    several = prove(made, processes=2, on_rows=done.append)
    assert several.to_dict() == prove(made, processes=1).to_dict()
    assert sum(done) == several.rows == made.manifest.mailable
    assert len(done) > 2


def test_the_command_tells_people_and_programs(tmp_path: Path, plan: Make) -> None:
    """`plan --render-all` shows coverage, prints JSON, and exits 1 on failures."""
    plan(text="Hi {{ name }},{% if points > 3 %}x{% endif %}")
    pl.DataFrame(ROWS).write_csv(tmp_path / "list.csv")
    words = "plan letter.toml --recipients list.csv --render-all --sandbox --json"
    typed = ["--set", 'recipients.types={points="integer"}']
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words.split(), *typed],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr  # no comparison with a null
    proof = json.loads(done.stdout)["proof"]
    assert (proof["rows"], proof["failed"]) == (3, 1)
    assert proof["failures"][0]["variables"] == ["name", "points"]
    assert [(b["tag"], b["rows"]) for b in proof["branches"]] == [
        ("{% if points > 3 %}", 1),
        ("{% if points > 3 %}", 1),
    ]
    assert "“Hi ▯,” where nothing is printed of name, text:1" in done.stderr
    assert "1 row (2)" in done.stderr


def test_the_command_renders_all_though_a_rule_is_broken(
    tmp_path: Path, plan: Make
) -> None:
    """How many rows break it is what one wants to know; it is refused afterwards."""
    rows = [{"email": f"r{n}@inbox.example", "name": ""} for n in range(30)]
    plan(rows, text="Hi {{ name }},{{ 1 // (name|length) }}")
    pl.DataFrame(rows).write_csv(tmp_path / "list.csv")
    words = "plan letter.toml --recipients list.csv --render-all --sandbox --json"
    done = subprocess.run(
        [sys.executable, "-m", "engine", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["exit"]) == ("refused", 2)
    assert "L27" in told["error"]["message"]
    assert "--allow L27" in told["error"]["next"]
    assert told["proof"]["failed"] == 30
    assert "proof      30 rows rendered; 30 cannot be" in done.stderr
    assert done.stderr.count("L27") == 2  # what is wrong, and how it is overridden
