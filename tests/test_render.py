"""Claims about `engine.render`: rows in, messages out, and one bad row fails alone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engine.errors import TemplateError
from engine.message import HEADER_UNSAFE
from engine.render import Failure, Renderer

CAMPAIGN = {"name": "spring", "tags": ["letter"]}

Files = Mapping[str, str]
MakeFolder = Callable[[Files], Path]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> MakeFolder:
    """Write templates into a new folder; return the folder."""
    numbers = count()
    root = tmp_path_factory.mktemp("render")

    def write(files: Files) -> Path:
        made = root / str(next(numbers)) / "templates"
        for name, text in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text, encoding="utf-8")
        return made

    return write


def chunk(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> pl.DataFrame:
    """Return rows as the snapshot gives them; their positions are 10, 20, 30 …."""
    numbers = range(1, len(rows) + 1)
    return pl.DataFrame(
        {
            "row": pl.Series([n * 10 for n in numbers], dtype=pl.UInt64),
            "address": [f"a{n}@a.example" for n in numbers],
            "name": list(names) or [f"N{n}" for n in numbers],
            "message_id": [f"m{n}" for n in numbers],
            "data": pl.Series([dict(row) for row in rows]),
        }
    )


def renderer(templates: Path) -> Renderer:
    """Compile `subject`, and `html` and `text` as far as they are there."""
    parts = {part: part for part in PARTS if (templates / part).exists()}
    return Renderer(templates, parts, CAMPAIGN)


PARTS = ("subject", "html", "text")


def failure(templates: Path, row: Mapping[str, Any]) -> Failure:
    """Render one row, which must fail."""
    done = renderer(templates).render(chunk([row]))
    assert 0 == len(done.messages)
    (failed,) = done.failures
    return failed


# -- the same as Jinja ----------------------------------------------------------------

SCRIPTS = st.text(
    st.one_of(
        st.sampled_from("<>&\"'{}%#\n\t\r\0\\ |~ßİıẞΣςñé\u200f\u200e\u200d\ufffd"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
LITERAL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="{}%#\r\ufeff"),
    max_size=6,
)
TEXTS, EVERY = ["a", "b"], ["a", "b", "n", "day", "flag", "many"]
FILTERS = [
    "upper", "lower", "title", "trim", "length", "e", "urlencode", "string", "first",
    "replace('a', '<b>')", "default('<i>')", "truncate(5)", "tojson", "wordcount",
    "center(9)", "indent(2)", "striptags", "list", "join('-')", "forceescape",
    "map('upper') | join", "safe", "wordwrap(3)", "format", "reverse", "int",
    "batch(2)",
]  # fmt: skip
LIBRARY = """\
{% macro wrap(x, y="<hr>") %}[{{ x }}{{ y }}{{ caller(1) if caller is defined }}]\
{%- endmacro %}{% macro twice(x) %}{{ wrap(x) }}{{ wrap(x, x) }}{% endmacro %}"""
PARENT = """\
{% block head %}<b>{{ a }}</b>{% endblock %}
{% set outer = b %}{% block main scoped %}{{ outer }}{% endblock %}\
{% include ["nowhere", "piece"] %}"""


def expressions() -> st.SearchStrategy[str]:
    """Draw what stands between double braces; some fail on some rows."""
    simple = st.one_of(
        st.sampled_from(EVERY),
        st.sampled_from(
            ["campaign.name", "a[0]", "a ~ b", "day.year", "n + 1", "many"]
        ),
        st.sampled_from(
            ["'<x>'", "n // 2", "n and a", "not flag", "a in b", "nowhere"]
        ),
    )
    return st.one_of(
        simple, st.builds("{} | {}".format, simple, st.sampled_from(FILTERS))
    )


def bodies(depth: int = 2) -> st.SearchStrategy[str]:
    """Draw pieces of templates, nested `depth` deep."""
    value = expressions()
    leaf = st.one_of(LITERAL, value.map("{{{{ {} }}}}".format), value.map(_printed))
    if depth == 0:
        return leaf
    inner = st.lists(bodies(depth - 1), max_size=3).map("".join)
    nested = [
        "{{% if {0} %}}{1}{{% else %}}{1}{{% endif %}}",
        "{{% if {0} is defined and {0} %}}{1}{{% endif %}}",
        "{{% for i in {0} %}}{{{{ loop.index }}}}{{{{ i }}}}{1}{{% endfor %}}",
        (
            "{{% for i in many %}}{1}{{{{ loop.last }}}}{{% else %}}{{{{ {0} }}}}"
            "{{% endfor %}}"
        ),
        "{{% set v = {0} %}}{1}{{{{ v }}}}",
        "{{% set v %}}{1}{{% endset %}}{{{{ v | upper }}}}{{{{ {0} }}}}",
        "{{% with w = {0} %}}{{{{ w }}}}{1}{{% endwith %}}",
        "{{% filter title %}}{1}{{{{ {0} }}}}{{% endfilter %}}",
        (
            "{{% macro m(p, q='z') %}}{{{{ p }}}}{1}{{{{ q }}}}{{% endmacro %}}"
            "{{{{ m({0}) }}}}"
        ),
        (
            "{{% from 'library' import wrap %}}{{% call(z) wrap({0}) %}}{1}{{{{ z }}}}"
            "{{% endcall %}}"
        ),
        "{{% from 'library' import twice with context %}}{1}{{{{ twice({0}) }}}}",
        "{{% import 'library' as lib %}}{{{{ lib.wrap({0}) }}}}{1}",
        "{{% include 'piece' %}}{1}{{{{ {0} }}}}",
        "{{% include 'nowhere' ignore missing %}}{1}{{{{ {0} }}}}",
        "{{% set ns = namespace(k={0}) %}}{1}{{% set ns.k = 2 %}}{{{{ ns.k }}}}",
        "{{% autoescape false %}}{{{{ {0} }}}}{1}{{% endautoescape %}}",
    ]
    return st.one_of(leaf, st.builds(str.format, st.sampled_from(nested), value, inner))


def _printed(value: str) -> str:
    return f"{{{{- ({value}) -}}}}"


def templates_of(body: str, child: str, piece: str) -> Files:
    """Put drawn pieces into a set of templates with inheritance and includes."""
    return {
        "subject": "{{ a | urlencode }} {{ n }}",
        "text": body,
        "html": f"{{% extends 'parent' %}}{{% block main %}}{{{{ super() }}}}{child}"
        "{% endblock %}",
        "parent": PARENT,
        "piece": piece,
        "library": LIBRARY,
    }


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": SCRIPTS,
            "b": st.one_of(st.none(), SCRIPTS),
            "n": st.one_of(st.none(), st.integers(-99, 99)),
            "day": st.one_of(st.none(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
            "flag": st.booleans(),
            "many": st.lists(SCRIPTS, max_size=3),
        }
    ),
    min_size=1,
    max_size=3,
)


def by_jinja(templates: Path, row: Mapping[str, Any]) -> dict[str, str] | None:
    """Render a row in environments made here, one for each row; None where it fails."""
    done = {}
    for part in PARTS:
        env = ImmutableSandboxedEnvironment(
            loader=jinja2.FileSystemLoader(templates),
            undefined=jinja2.StrictUndefined,
            autoescape=part == "html",
            finalize=lambda value: "" if value is None else value,
        )
        env.globals["campaign"] = CAMPAIGN
        try:
            done[part] = env.get_template(part).render(**row)
        except Exception:  # noqa: BLE001 - a template can raise anything
            return None
    done["subject"] = done["subject"].strip()
    return done if HEADER_UNSAFE.search(done["subject"]) is None else None


@settings(max_examples=50, deadline=None)
@given(bodies(), bodies(), bodies(1), ROWS)
def test_output_is_that_of_jinja(
    folder: MakeFolder,
    body: str,
    child: str,
    piece: str,
    rows: list[dict[str, Any]],
) -> None:
    """To the byte, whatever the template, the row, and the rows rendered before it."""
    templates = folder(templates_of(body, child, piece))
    done = renderer(templates).render(chunk(rows))
    messages = iter(range(len(done.messages)))
    failed = {one.row: one for one in done.failures}
    for place, row in enumerate(rows, 1):
        wanted = by_jinja(templates, row)
        if failure := failed.get(place * 10):
            # We refuse what Jinja prints as an object's address; no filter here does.
            assert wanted is None or " at 0x" in f"{wanted}".lower(), failure
            continue
        at = next(messages)
        made = {
            "subject": done.messages.subjects[at],
            "html": (done.messages.htmls or [])[at],
            "text": (done.messages.texts or [])[at],
        }
        assert wanted == made
        assert place * 10 == done.messages.rows[at]
    assert next(messages, None) is None


@settings(max_examples=15, deadline=None)
@given(bodies(), bodies(), bodies(1), ROWS)
def test_valid_template_is_never_refused_for_a_column_that_it_gets(
    folder: MakeFolder,
    body: str,
    child: str,
    piece: str,
    rows: list[dict[str, Any]],
) -> None:
    """A name that is refused is one without which no such row renders."""
    made = renderer(folder(templates_of(body, child, piece)))
    columns = made.columns
    assert columns is not None
    made.check_columns({*EVERY, "nowhere"})
    kept = [{k: v for k, v in row.items() if k in columns} for row in rows]
    assert made.render(chunk(rows)) == made.render(chunk(kept))


# -- headers --------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            "{{ a }}",
            "Hi {{ a }}, {{ b }}",
            "{{ a | upper }}{{ a | title }}",
            "{{ a | trim }} {{ b | safe }}",
            "{% for x in a %}{{ x }}{% endfor %}",
            "\n  {{ a }}\n",
            "{{ '%s' | format(a) }}{{ '{}'.format(b) }}{{ a | join('\\u2028') }}",
            "{{ a | wordwrap(2) }}{{ a | indent }}{{ a | tojson }}",
        ]
    ),
    SCRIPTS,
    SCRIPTS,
    SCRIPTS,
)
@example("{{ a }}", "x\r\nBcc: all@a.example", "", "")
@example("{{ a }}", "", "", "Ann\nBcc: all@a.example")
@example("{{ a }}", "x\x85y", "", "")
@example("{{ a }}", "x\x7fy", "", "")
def test_no_control_code_reaches_subject_or_name(
    folder: MakeFolder, subject: str, a: str, b: str, name: str
) -> None:
    """Whatever the row holds, what goes into a header is clean or the row fails."""
    templates = folder({"subject": subject, "text": "{{ a }}"})
    done = renderer(templates).render(chunk([{"a": a, "b": b}], [name]))
    shown = [*done.messages.subjects, *done.messages.names]
    assert [] == [text for text in shown if HEADER_UNSAFE.search(text)]
    assert 1 == len(done.messages) + len(done.failures)
    if HEADER_UNSAFE.search(name.strip()) or "{{ a }}" == subject != a == a.strip():
        wanted = bool(HEADER_UNSAFE.search(name.strip()) or HEADER_UNSAFE.search(a))
        assert wanted == bool(done.failures)
    for one in done.failures:
        assert "header_unsafe" == one.reason
        assert HEADER_UNSAFE.search(one.detail) is None


CELLS = SCRIPTS | st.text(" ab\u2003\t\n\x7f\\é", max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1))
@example([("a", "b"), (" a", "b")])
@example([("a", "b"), ("a", "b ")])
@example([("a", "b"), ("", " b")])
@example([("a", "b"), ("a ", "")])
@example([("é", "b"), ("a\u2003b", "\u2003")])
@example([("a", "b"), ("a\x7fb", "b")])
def test_what_is_found_out_of_many_subjects_at_once_holds_for_each(
    folder: MakeFolder, cells: list[tuple[str, str]]
) -> None:
    """Each is stripped; and those, and only those, that no header may hold fail."""
    rows = [dict(zip("ab", pair, strict=True)) for pair in cells]
    for subject in ("{{ a }}", "Hi {{ a }}!", "{{ a }}{{ b }}", "{{ a }} x {{ b }}"):
        told = [jinja2.Template(subject).render(row).strip() for row in rows]
        done = renderer(folder({"subject": subject, "text": "T"})).render(chunk(rows))
        fit = [n for n, text in enumerate(told) if not HEADER_UNSAFE.search(text)]
        assert [10 * (n + 1) for n in fit] == done.messages.rows
        assert [told[n] for n in fit] == [*done.messages.subjects]


def test_white_space_around_subject_and_name_is_left_out(folder: MakeFolder) -> None:
    """A template file ends with a line end, and no subject does."""
    templates = folder({"subject": "\n Hi {{ a }}\r\n\n", "text": " {{ a }} \n"})
    done = renderer(templates).render(chunk([{"a": "Ann "}], [" Ann\t"]))
    assert ["Hi Ann"] == done.messages.subjects
    assert ["Ann"] == done.messages.names
    assert [" Ann  "] == done.messages.texts


# -- escaping -------------------------------------------------------------------------


class Reader(HTMLParser):
    """Reads HTML as a mail client does: elements, attributes and text."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        """Note the end of an element."""
        self.elements.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def handle_comment(self, data: str) -> None:
        """Note a comment: no value may begin one."""
        self.elements.append("!--")

    def handle_decl(self, decl: str) -> None:
        """Note a declaration: no value may begin one."""
        self.elements.append("!")

    def handle_pi(self, data: str) -> None:
        """Note a processing instruction: no value may begin one."""
        self.elements.append("?")


HOSTILE = st.one_of(
    SCRIPTS,
    st.lists(
        st.sampled_from(
            ["<", ">", '"', "'", "&", "&lt;", "<!--", "-->", "<script>", "</p>", "<?x",
             "<!x", " ", "=", "`", "a", "onload=", "<img src=x>", "]]>", "&#60;", "<b"]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [
            "{v}",
            "{{% for x in [a] %}}{{{{ x }}}}{{% endfor %}}",
            "{{% set x %}}{{{{ a }}}}{{% endset %}}{{{{ x }}}}",
            "{{% macro m(x) %}}{{{{ x }}}}{{% endmacro %}}{{{{ m(a) }}}}",
            (
                "{{% macro m() %}}{{{{ caller() }}}}{{% endmacro %}}"
                "{{% call m() %}}{{{{ a }}}}{{% endcall %}}"
            ),
            "{{% from 'lib' import m %}}{{{{ m(a) }}}}",
            "{{% from 'lib' import m with context %}}{{{{ m(a) }}}}",
            "{{% include 'piece' %}}",
            "{{{{ a ~ '' }}}}",
            "{{{{ '%s' | format(a) }}}}",
            "{{{{ '{{}}'.format(a) }}}}",
            "{{{{ ('' | safe) ~ a }}}}",
            "{{{{ [a] | join }}}}",
            "{{{{ ('%s' | safe) | format(a) }}}}",
            "{{{{ ('{{}}' | safe).format(a) }}}}",
            "{{{{ a | replace('zzz', '<b>' | safe) }}}}",
            "{{{{ a | e }}}}",
            "{{% filter string %}}{{{{ a }}}}{{% endfilter %}}",
        ]
    ),
    HOSTILE,
)
@example("{v}", "<script>alert(1)</script>")
@example("{v}", '"><img src=x onerror=alert(1)>')
def test_value_in_html_is_never_more_than_text(
    folder: MakeFolder, way: str, value: str
) -> None:
    """Read back, text and attributes are the value, and no element has come by it."""
    printed = way.format(v="{{ a }}")
    templates = folder(
        {
            "subject": "Hi",
            "html": f'<p title="{printed}">{printed}</p>'.replace(
                printed, "{{ a }}", 1
            ),
            "text": printed,
            "lib": "{% macro m(x) %}{{ x }}{% endmacro %}",
            "piece": "{{ a }}",
        }
    )
    done = renderer(templates).render(chunk([{"a": value}]))
    assert [] == done.failures
    ((document,), (plain,)) = done.messages.htmls or [], done.messages.texts or []
    read = Reader(document)
    assert ["p", "/p"] == read.elements
    assert [("title", value)] == read.attributes
    assert value == read.text
    if "safe" not in way and "| e" not in way:
        assert value == plain


def test_only_html_is_escaped(folder: MakeFolder) -> None:
    """The part decides, whatever the file is called."""
    same = "{{ a }}"
    templates = folder({"subject": same, "html": same, "text": same})
    done = renderer(templates).render(chunk([{"a": "<&>"}]))
    assert ["<&>"] == done.messages.subjects == done.messages.texts
    assert ["&lt;&amp;&gt;"] == done.messages.htmls


# -- one bad row ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "row", "wanted"),
    [
        ("\n{{ a }}{{ b }}", {"a": "x"}, ("undefined", "text:2: 'b' is undefined")),
        (
            "{{ a.b }}",
            {"a": None},
            ("undefined", "text:1: an empty cell has no attribute 'b'"),
        ),
        (
            "{{ a.b }}",
            {"a": "x"},
            ("undefined", "text:1: 'str object' has no attribute 'b'"),
        ),
        (
            "{{ 1 }}\n\n{{ 5 // a }}",
            {"a": 0},
            (
                "template_error",
                "text:3: ZeroDivisionError: integer division or modulo by zero",
            ),
        ),
        (
            "{{ a + 1 }}",
            {"a": "x"},
            (
                "template_error",
                'text:1: TypeError: can only concatenate str (not "int") to str',
            ),
        ),
        (
            "{% include 'piece' %}",
            {"a": "x"},
            ("undefined", "deep/piece:3: 'c' is undefined"),
        ),
        (
            "\n{% from 'lib' import m %}{{ m(a) }}",
            {"a": "x"},
            ("undefined", "lib:2: 'str object' has no attribute 'year'"),
        ),
        (
            "\n{% include a %}",
            {"a": "nowhere"},
            ("template_error", "text:2: there is no template nowhere"),
        ),
        (
            "\n{% include a %}",
            {"a": "../secret"},
            ("template_error", "text:2: there is no template ../secret"),
        ),
        (
            "{% include [a, 'x' ~ a] %}",
            {"a": "y"},
            (
                "template_error",
                "text:1: none of the templates given were found: y, xy",
            ),
        ),
        (
            "{% include a %}",
            {"a": "broken"},
            ("template_error", "broken:2: unexpected 'end of template'"),
        ),
        (
            "{{ a.upper }}",
            {"a": "x"},
            ("template_error", "text:1: upper has to be called: write upper()"),
        ),
        (
            "{% from 'lib' import m %}{{ m }}",
            {"a": "x"},
            ("template_error", "text:1: m has to be called: write m()"),
        ),
        (
            "{{ a | map('upper') }}",
            {"a": "x"},
            (
                "template_error",
                "text:1: a sequence cannot be printed as it is: add |join or |list",
            ),
        ),
        (
            "{{ 'Dear ' ~ a | batch(2) }}",
            {"a": "x"},
            (
                "template_error",
                "text:1: a sequence cannot be printed as it is: add |join or |list",
            ),
        ),
        (
            "{{ a | batch(2) | upper }}",
            {"a": "x"},
            (
                "template_error",
                "text:1: a sequence cannot be printed as it is: add |join or |list",
            ),
        ),
        (
            "{{ a | replace('x', a | batch(2)) }}",
            {"a": "x"},
            (
                "template_error",
                "text:1: a sequence cannot be printed as it is: add |join or |list",
            ),
        ),
        (
            "{{ cycler(a) }}",
            {"a": "x"},
            ("template_error", "text:1: Cycler cannot be printed"),
        ),
        (
            "{{ a | int(none) + 1 }}",
            {"a": "x"},
            (
                "template_error",
                ("text:1: TypeError: unsupported operand type(s) for +: "
                "'NoneType' and 'int'"),
            ),
        ),
        (
            "x{{ '\\ud800' }}",
            {"a": "x"},
            (
                "template_error",
                "text: the text has half of a surrogate pair (U+D800) at character 2",
            ),
        ),
        (
            "{{ nowhere['\\ud800\\n'] }}",
            {"a": "x"},
            ("undefined", "text:1: 'nowhere' is undefined"),
        ),
    ],
)  # fmt: skip
def test_failure_names_template_line_and_what_is_wrong(
    folder: MakeFolder, body: str, row: Mapping[str, Any], wanted: tuple[str, str]
) -> None:
    """It reads as what to look at, in one line."""
    files = {
        "subject": "Hi",
        "text": body.replace("'piece'", "'deep/piece'"),
        "deep/piece": "\n\n{{ c }}",
        "lib": "{% macro m(x) %}\n{{ x.year }}{% endmacro %}",
        "broken": "\n{{",
    }
    failed = failure(folder(files), row)
    assert wanted == (failed.reason, failed.detail)
    assert 10 == failed.row


@pytest.mark.parametrize(
    ("subject", "row", "wanted"),
    [
        (
            "Dear {{ a }}",
            {"a": "Ann\r\nLee", "b": "x"},
            ('subject: the subject has a line end (U+000D) at character 9, '
            'as has the column "a"'),
        ),
        (
            "{{ a }}, {{ b }}",
            {"a": "x\ty", "b": "\t."},
            ('subject: the subject has a control code (U+0009) at character 2, '
            'as has the column "a" and "b"'),
        ),
        (
            "Dear\n{{ a }}",
            {"a": "x", "b": "y"},
            "subject: the subject has a line end (U+000A) at character 5",
        ),
    ],
)  # fmt: skip
def test_unsafe_subject_names_the_column_that_it_comes_from(
    folder: MakeFolder, subject: str, row: Mapping[str, Any], wanted: str
) -> None:
    """Whoever keeps the list reads which cell to mend."""
    failed = failure(folder({"subject": subject, "text": "Hi"}), row)
    assert ("header_unsafe", wanted) == (failed.reason, failed.detail)


def test_unsafe_display_name_is_the_list_s(folder: MakeFolder) -> None:
    """No template has part in it."""
    templates = folder({"subject": "Hi", "text": "Hi"})
    done = renderer(templates).render(chunk([{"a": 1}], ["Ann\nLee"]))
    wanted = "the list: the display name has a line end (U+000A) at character 4"
    assert [Failure(10, "header_unsafe", wanted)] == done.failures


@given(st.lists(st.booleans(), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_other_rows_go_on_in_order(folder: MakeFolder, good: list[bool]) -> None:
    """Each row is a message or a failure, never both, and every column agrees."""
    templates = folder({"subject": "S{{ a }}", "html": "{{ 1 // a }}", "text": "T"})
    rows = [{"a": place if fine else 0} for place, fine in enumerate(good, 1)]
    done = renderer(templates).render(chunk(rows))
    kept = [place for place, fine in enumerate(good, 1) if fine]
    messages = done.messages
    assert [place * 10 for place in kept] == messages.rows
    assert [f"a{place}@a.example" for place in kept] == messages.addresses
    assert [f"N{place}" for place in kept] == messages.names
    assert [f"m{place}" for place in kept] == messages.message_ids
    assert [f"S{place}" for place in kept] == messages.subjects
    assert ["T"] * len(kept) == messages.texts
    assert len(kept) == len(messages.htmls or [])
    failed = [place * 10 for place, fine in enumerate(good, 1) if not fine]
    assert failed == [one.row for one in done.failures]


def test_absent_part_is_absent_from_the_messages(folder: MakeFolder) -> None:
    """A campaign without HTML has no HTML column, and likewise without text."""
    row = chunk([{"a": 1}])
    only_text = renderer(folder({"subject": "S", "text": "T"})).render(row).messages
    only_html = renderer(folder({"subject": "S", "html": "H"})).render(row).messages
    assert (None, ["T"]) == (only_text.htmls, only_text.texts)
    assert (["H"], None) == (only_html.htmls, only_html.texts)


def test_long_failure_is_cut(folder: MakeFolder) -> None:
    """An error that quotes a book does not fill the journal."""
    templates = folder({"subject": "S", "text": "{{ {}[a] }}{{ a.nope[b] }}"})
    failed = failure(templates, {"a": "x" * 9999, "b": 1})
    assert 500 >= len(failed.detail)


# -- the sandbox ----------------------------------------------------------------------

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') | join }}",
    "{{ [''] | map('attr', '__class__') | join }}",
    "{{ [''] | groupby('__class__') | map('first') | join }}",
    "{{ '{0.__class__}'.format(a) }}",
    "{{ '{x.__class__}'.format_map({'x': a}) }}",
    "{{ ('{0.__class__}' | safe).format(a) }}",
    "{{ ('{0.__class__}' | attr('format'))(a) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(a) }}",
    "{{ ['{0.__class__}'] | map('format', a) | list }}{{ ''.__class__ }}",
    "{{ a.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner().__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ range.__class__ }}",
    "{{ dict.__base__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ campaign.__class__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
    "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "{% for x in [1] %}{{ loop.__init__ }}{% endfor %}",
    "{{ ((a for a in []).gi_frame) }}",
    "{{ (a | batch(1)).gi_frame }}",
    "{{ campaign.update(name='x') }}",
    "{{ campaign.tags.append('x') }}",
    "{{ campaign.tags.clear() }}",
    "{% set campaign.name = 'x' %}",
    "{{ many.append(1) }}",
    "{{ range(10 ** 9) | list }}",
    "{% for x in range(99999999) %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include 'text' %}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{% include '../../../../etc/passwd' %}",
    "{% include ('../' * 9) ~ a %}",
    "{{ lipsum.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ config }}",
    "{{ when.now() }}",
    "{{ when.today() }}",
    "{{ when.utcnow() }}",
    "{{ when.fromtimestamp(0) }}",
    "{{ when.timestamp() }}",
    "{{ when.astimezone() }}",
    "{{ when | attr('now') }}",
    "{{ '{0.now}'.format(when) }}",
    "{{ day.today() }}",
    "{{ [1, 2] | random }}",
    "{{ a.encode().decode.__self__ }}",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_sandbox_escape_fails_the_row_or_the_template(
    folder: MakeFolder, escape: str
) -> None:
    """Nothing leaks, nothing crashes, and the next row goes on as if alone."""
    row = {
        "a": "x",
        "many": ["y"],
        "bad": True,
        "when": datetime(2026, 5, 6, 7, 8),  # noqa: DTZ001 - a cell without a zone
        "day": date(2026, 5, 6),
    }
    files = {
        "subject": "{{ campaign.name }}{{ campaign.tags | join }}",
        "text": f"{{% if bad %}}{escape}{{% endif %}}{{{{ many | join }}}}",
    }
    try:
        made = renderer(folder(files))
        made.check_columns(row)
    except TemplateError:
        return
    done = made.render(chunk([row, {**row, "bad": False}]))
    (failed,) = done.failures
    assert 10 == failed.row
    assert failed.reason in {"undefined", "template_error"}
    assert ["springletter"] == done.messages.subjects
    assert ["y"] == done.messages.texts


# -- the same bytes on every run ------------------------------------------------------

STATEFUL = {
    "subject": "{{ a }}",
    "text": """\
{% from 'counter' import next %}{{ next() }}{{ next() }}\
{% import 'cycle' as c %}{{ c.turn() }}{{ c.rest() }}{% from 'outer' import two %}\
{{ two() }}{% include 'counted' %}""",
    "counter": """\
{% set ns = namespace(n=0) %}
{% macro next() %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}""",
    "cycle": """\
{% set turns = cycler('x', 'y') %}{% set once = ['q'] | map('upper') %}
{% macro turn() %}{{ turns.next() }}{% endmacro %}
{% macro rest() %}{{ once | join }}{% endmacro %}""",
    "outer": "{% import 'counter' as c %}{% macro two() %}{{ c.next() }}{% endmacro %}",
    "counted": "{% set ns = namespace(n=5) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}",
}


def test_nothing_is_carried_from_row_to_row(folder: MakeFolder) -> None:
    """Counters, cyclers and iterators begin anew, also in what a template imports."""
    done = renderer(folder(STATEFUL)).render(chunk([{"a": n} for n in range(3)]))
    assert [] == done.failures
    assert ["12xQ16"] * 3 == done.messages.texts


def test_imported_macros_alone_are_made_once(folder: MakeFolder) -> None:
    """What only defines macros is kept: making it anew for each row costs 10 us."""
    files = {
        "subject": "S",
        "text": "{% import 'macros' as m %}{% import 'sets' as s %}{{ m.x() }}",
        "macros": "{# pieces #}\n{% macro x() %}{{ campaign.name }}{% endmacro %}",
        "sets": "{% set x = 1 %}",
    }
    made = renderer(folder(files))
    shareable = {Path(file).name for file in made._sources.shareable}
    assert {"subject", "macros"} == shareable


def test_change_on_the_disk_changes_nothing(folder: MakeFolder) -> None:
    """What was read is what is sent, also what no row has asked for yet."""
    files = {
        "subject": "{{ a }}",
        "text": "{% include 'piece' %}{% include kind %}"
        "{% include 'late' ignore missing %}",
        "piece": "old ",
        "chosen": "old",
    }
    templates = folder(files)
    made = renderer(templates)
    for name in ("piece", "chosen", "subject", "late"):
        (templates / name).write_text("new", encoding="utf-8")
    (templates / "text").unlink()
    done = made.render(chunk([{"a": "x", "kind": "chosen"}]))
    assert (["x"], ["old old"]) == (done.messages.subjects, done.messages.texts)


SCRIPT = """
import datetime, json, sys
from pathlib import Path
import polars as pl
from engine.render import Renderer

parts, campaign = json.loads(sys.argv[2]), {"name": "x", "tags": ["t"]}
made = Renderer(Path(sys.argv[1]), parts, campaign)
row = {
    "a": "Straße İstanbul", "day": datetime.date(2026, 3, 1),
    "at": datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.timezone.utc),
    "many": ["b", "a", "ß"], "n": 1234567, "f": 0.1,
}
data = pl.DataFrame({"row": [0], "address": ["a"], "name": ["Ä"], "message_id": ["m"]})
done = made.render(data.with_columns(data=pl.Series([row])))
columns = None if made.columns is None else sorted(made.columns)
print(ascii([done, columns, list(made.sources.items())]))
"""


@pytest.mark.slow
def test_two_processes_render_the_same_bytes(folder: MakeFolder) -> None:
    """Hash seed, time zone and language of the process have no part in a message."""
    files = {
        "subject": "{{ a | title }} {{ at }} {{ at.timestamp() }}",
        "html": """\
{{ day.strftime('%A %d. %B %Y') }}{{ at.strftime('%c %p') }}{{ many | sort | join }}
{{ many | unique | list }}{{ {'b': 1, 'a': 2} | tojson }}{{ {'b': 1, 'a': 2} }}
{{ dict(x=1, **{'y': 2}) | dictsort }}{{ many | groupby('0') | list }}{{ campaign }}
{{ n | filesizeformat }}{{ '{:,}'.format(n) }}{{ '%.20f' | format(f) }}{{ f }}
{{ {'class': 'x', 'id': 'y'} | xmlattr }}{{ a | upper }}{{ a | lower }}""",
        "text": "{{ at.astimezone() }}",
    }
    templates = folder(files)
    outputs = []
    for seed, zone, language in (
        ("1", "UTC", "C"),
        ("2", "Asia/Kathmandu", "de_DE.UTF-8"),
    ):
        surroundings = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "LANG": language,
            "LC_ALL": language,
        }
        for parts in (("subject", "html"), ("subject", "text")):
            named = json.dumps({part: part for part in parts})
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", SCRIPT, str(templates), named],
                env=surroundings,
                check=True,
                capture_output=True,
                cwd=Path(__file__).parents[1],
            )
            outputs.append(done.stdout)
    assert outputs[:2] == outputs[2:]
    assert b"Sunday 01. March 2026" in outputs[0]
    assert b"Failure(row=0" in outputs[1]
