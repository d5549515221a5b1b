"""Claims about `engine.render.template`: what is found in a template before it runs.

Each valid template here is also rendered, so that "no false refusal" is a fact about
Jinja and not only about our reading of it.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.errors import TemplateError
from engine.render import Renderer

Write = Callable[[str, Mapping[str, str]], Path]
CAMPAIGN = {"name": "spring", "tags": ["letter"]}
ROW: dict[str, Any] = {
    "first": "Ann",
    "books": ["Emma", "Ulysses"],
    "points": 7,
    "range": "A to C",
    "kind": "gold",
}

LIB = (
    "{% macro wrap(a, b='-') %}"
    "[{{ a }}{{ b }}{{ caller() if caller is defined }}]{% endmacro %}"
)
BASE = "<{% block head %}{{ first }}{% endblock %}|{% block body %}{% endblock %}>"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a body and the templates beside it; return their folder."""

    def write_files(body: str, files: Mapping[str, str]) -> Path:
        folder = tmp_path / "templates"
        for name, text in {"s.j2": "Hi", "b.j2": body, **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    return write_files


def renderer(folder: Path, subject: str = "s.j2") -> Renderer:
    """Compile the body as plain text."""
    return Renderer(folder, {"subject": subject, "text": "b.j2"}, CAMPAIGN)


def rendered(folder: Path, row: Mapping[str, Any]) -> str:
    """Render one row, which must not fail."""
    chunk = pl.DataFrame(
        {"row": [0], "address": ["a@a.example"], "name": [""], "message_id": ["m"]}
    ).with_columns(data=pl.Series([dict(row)]))
    done = renderer(folder).render(chunk)
    assert [] == done.failures
    (text,) = done.messages.texts or []
    return text


def problems(folder: Path, columns: Collection[str] = ()) -> list[str]:
    """Return why the templates are refused, free of the folder."""
    with pytest.raises(TemplateError) as caught:
        renderer(folder).check_columns(columns)
    return [
        problem.replace(f"{folder}/", "").replace(str(folder), "templates")
        for problem in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("body", "files", "needed", "wanted"),
    [
        ("Hello", {}, [], "Hello"),
        ("{{ first }}{{ points + 1 }}", {}, ["first", "points"], "Ann8"),
        ("{{ campaign.name }}{{ campaign.tags[0] }}", {}, [], "springletter"),
        # Sets, also of a column by its own name, and in one branch alone.
        ("{% set x = first %}{{ x }}", {}, ["first"], "Ann"),
        ("{% set first = first|upper %}{{ first }}", {}, ["first"], "ANN"),
        (
            "{% if points > 9 %}{% set first = 'x' %}{% endif %}{{ first }}",
            {},
            ["first", "points"],
            "Ann",
        ),
        ("{% set x %}{{ first }}!{% endset %}{{ x }}", {}, ["first"], "Ann!"),
        ("{% set a, b = first, 2 %}{{ a }}{{ b }}", {}, ["first"], "Ann2"),
        (
            ("{% set n = namespace(k=0) %}{% for x in books %}{% set n.k = n.k + 1 %}"
            "{% endfor %}{{ n.k }}"),
            {},
            ["books"],
            "2",
        ),
        ("{% with y = first %}{{ y }}{% endwith %}", {}, ["first"], "Ann"),
        # Loops.
        (
            "{% for b in books %}{{ loop.index }}{{ b }}{% else %}-{% endfor %}",
            {},
            ["books"],
            "1Emma2Ulysses",
        ),
        (
            ("{% for b in books recursive %}{{ b if b is string }}"
            "{{ loop([]) }}{% endfor %}"),
            {},
            ["books"],
            "EmmaUlysses",
        ),
        # Jinja's own names are functions where they are called, else columns.
        ("{% for i in range(2) %}{{ i }}{% endfor %}", {}, [], "01"),
        ("{{ range }}", {}, ["range"], "A to C"),
        ("{{ dict(a=first).a }}{{ cycler(1, 2).next() }}", {}, ["first"], "Ann1"),
        # Macros, callers, imports.
        (f"{LIB}{{{{ wrap(first) }}}}", {}, ["first"], "[Ann-]"),
        ("{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, a=2) }}",
         {}, [], "(1,){'a': 2}"),
        (
            f"{LIB}{{% call wrap(points) %}}{{{{ first }}}}{{% endcall %}}",
            {},
            ["first", "points"],
            "[7-Ann]",
        ),
        (
            ("{% macro m(f) %}{{ caller(f) }}{% endmacro %}"
            "{% call(x) m(first) %}{{ x }}{% endcall %}"),
            {},
            ["first"],
            "Ann",
        ),
        (
            "{% from 'lib.j2' import wrap %}{{ wrap(first) }}",
            {"lib.j2": LIB},
            ["first"],
            "[Ann-]",
        ),
        (
            "{% from 'lib.j2' import wrap as w with context %}{{ w(first) }}",
            {"lib.j2": LIB},
            ["first"],
            "[Ann-]",
        ),
        (
            "{% import 'lib.j2' as lib %}{{ lib.wrap(first, '+') }}",
            {"lib.j2": LIB},
            ["first"],
            "[Ann+]",
        ),
        # Optional names.
        ("{{ title|default('Dr') }}{{ nick|d(first) }}", {}, ["first"], "DrAnn"),
        ("{% if title is defined %}{{ title }}{% endif %}", {}, [], ""),
        ("{% if title is not defined %}-{% endif %}", {}, [], "-"),
        ("{% if title is undefined %}-{% else %}{{ title }}{% endif %}", {}, [], "-"),
        (
            "{% if title is defined %}{% include 'i.j2' %}{% endif %}",
            {"i.j2": "{{ title }}"},
            [],
            "",
        ),
        # Inheritance.
        (
            ("{% extends 'base.j2' %}{% block body %}{{ points }}{{ self.head() }}"
            "{% endblock %}"),
            {"base.j2": BASE},
            ["first", "points"],
            "<Ann|7Ann>",
        ),
        (
            "{% extends 'mid.j2' %}{% block head %}{{ super() }}!{% endblock %}",
            {"base.j2": BASE, "mid.j2": "{% extends 'base.j2' %}"},
            ["first"],
            "<Ann!|>",
        ),
        (
            ("{% extends 'base.j2' %}{% set t = first %}"
            "{% block body %}{{ t }}{% endblock %}"),
            {"base.j2": BASE},
            ["first"],
            "<Ann|Ann>",
        ),
        # Includes see what is set around them.
        (
            "{% for b in books %}{% include 'i.j2' %}{% endfor %}",
            {"i.j2": "{{ b }}{{ first }}"},
            ["books", "first"],
            "EmmaAnnUlyssesAnn",
        ),
        ("{% include 'none.j2' ignore missing %}-", {}, [], "-"),
        (
            "{% include 'i.j2' ignore missing without context %}-",
            {"i.j2": "{{ campaign.name }}"},
            [],
            "spring-",
        ),
        (
            "{% include ['none.j2', 'i.j2', 'j.j2'] %}",
            {"i.j2": "{{ first }}", "j.j2": "{{ other }}"},
            ["first"],
            "Ann",
        ),
        ("{% include ['none.j2', 'nor.j2'] ignore missing %}", {}, [], ""),
        (
            "{% include 'p/' ~ 'i.j2' %}",
            {"p/i.j2": "{% include 'p/j.j2' %}", "p/j.j2": "{{ first }}"},
            ["first"],
            "Ann",
        ),
        ("{% include '/i.j2' %}{% include './i.j2' %}", {"i.j2": "-"}, [], "--"),
        (
            "{% extends 'base.j2' if points > 5 else 'other.j2' %}",
            {"base.j2": BASE, "other.j2": "{{ kind }}"},
            ["first", "kind", "points"],
            "<Ann|>",
        ),
        # What an author says may be missing.
        (
            "{% if 'shine' is filter %}{{ first|shine }}{% else %}-{% endif %}",
            {},
            ["first"],
            "-",
        ),
        ("{% raw %}{{ no }}{% endraw %}{# {{ no }} #}", {}, [], "{{ no }}"),
    ],
)  # fmt: skip
def test_valid_template_is_never_refused_and_its_columns_are_known(
    write: Write,
    body: str,
    files: Mapping[str, str],
    needed: list[str],
    wanted: str,
) -> None:
    """It renders with the columns that were found in it, and with no others given."""
    folder = write(body, files)
    made = renderer(folder)
    made.check_columns(needed)
    columns = made.columns
    assert columns is not None
    assert set(needed) <= columns
    row = {name: value for name, value in ROW.items() if name in columns}
    assert wanted == rendered(folder, {"email": "a@a.example", **row})


@pytest.mark.parametrize(
    ("body", "files", "wanted"),
    [
        (
            "{{ frist }}",
            {},
            ['b.j2:1: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "Hello\n\n{{ first }}\n{{ nmae }} {{ Points }}",
            {},
            [
                'b.j2:4: "nmae" is not a column of the list; columns: first, points',
                'b.j2:4: "Points" is not a column of the list; did you mean "points"?',
            ],
        ),
        (
            ("{% if first %}\n{% for x in boks %}\n{{ x }}{{ tilte }}\n{% endfor %}"
            "{% endif %}"),
            {},
            [
                'b.j2:2: "boks" is not a column of the list; columns: first, points',
                'b.j2:3: "tilte" is not a column of the list; columns: first, points',
            ],
        ),
        (
            "{% set x = frist %}\n{{ frist }}",
            {},
            ['b.j2:1: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "{% macro m(a) %}\n{{ frist }}{{ a }}{% endmacro %}{{ m(1) }}",
            {},
            ['b.j2:2: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            ("{% macro m() %}{{ caller() }}{% endmacro %}\n"
            "{% call m() %}\n{{ frist }}{% endcall %}"),
            {},
            ['b.j2:3: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "\n{{ first|replace('a', frist) }}",
            {},
            ['b.j2:2: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "{% extends 'p/base.j2' %}\n{% block a %}\n{{ frist }}{% endblock %}",
            {"p/base.j2": "\n\n\n{{ pionts }}{% block a %}{% endblock %}"},
            [
                'b.j2:3: "frist" is not a column of the list; did you mean "first"?',
                ('p/base.j2:4: "pionts" is not a column of the list; '
                'did you mean "points"?'),
            ],
        ),
        (
            "{% include 'i.j2' %}",
            {"i.j2": "\n{% include 'j.j2' %}", "j.j2": "\n\n{{ frist }}"},
            ['j.j2:3: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "{% include ['none.j2', 'i.j2'] ignore missing %}",
            {"i.j2": "\n{{ frist }}"},
            ['i.j2:2: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "{% import 'lib.j2' as lib with context %}{{ lib.m() }}",
            {"lib.j2": "{% macro m() %}\n\n{{ frist }}{% endmacro %}"},
            ['lib.j2:3: "frist" is not a column of the list; did you mean "first"?'],
        ),
        (
            "{{ loop.index }}",
            {},
            ['b.j2:1: "loop" is not a column of the list; columns: first, points'],
        ),
        (
            "{{ lipsum() }}",
            {},
            ['b.j2:1: "lipsum" is not a column of the list; columns: first, points'],
        ),
    ],
)  # fmt: skip
def test_misspelt_name_is_told_with_file_line_and_likely_column(
    write: Write, body: str, files: Mapping[str, str], wanted: list[str]
) -> None:
    """Each name once, at the first place that reads it, all of them together."""
    assert wanted == problems(write(body, files), ["first", "points"])


def test_misspelt_names_of_all_parts_are_told_at_once(write: Write) -> None:
    """Subject and body are looked at together, a shared file only once."""
    folder = write("{{ one }}{% include 'i.j2' %}", {"i.j2": "{{ two }}"})
    (folder / "s.j2").write_text("{{ three }}{% include 'i.j2' %}", encoding="utf-8")
    places = ["s.j2:1", "i.j2:1", "b.j2:1"]
    assert places == [p.partition(": ")[0] for p in problems(folder, ["x"])]


@pytest.mark.parametrize(
    ("body", "files", "wanted"),
    [
        (
            "\n{% for x in y %}",
            {},
            ("b.j2:2: Unexpected end of template. Jinja was looking for the following "
            "tags: 'endfor' or 'else'. The innermost block that needs to be closed is "
            "'for'."),
        ),
        ("\n\n{{ first }", {}, "b.j2:3: unexpected '}'"),
        ("{% foreach %}", {}, "b.j2:1: Encountered unknown tag 'foreach'."),
        ("\n{{ first|shuot }}", {}, "b.j2:2: No filter named 'shuot'."),
        (
            "{% if a %}\n{{ first|shuot }}{% endif %}",
            {},
            "b.j2:2: No filter named 'shuot'.",
        ),
        (
            "{{ 1 if a else\nfirst is shuoted }}",
            {},
            "b.j2:2: No test named 'shuoted'.",
        ),
        ("{{ [1, 2]|random }}", {}, "b.j2:1: No filter named 'random'."),
        (
            "{% block a %}{% endblock %}\n{% block a %}{% endblock %}",
            {},
            "b.j2:2: block 'a' defined twice",
        ),
        (
            "\n{% include 'none.j2' %}",
            {},
            "b.j2:2: there is no template none.j2 in templates",
        ),
        (
            "{% include ['none.j2', 'nor.j2'] %}",
            {},
            "b.j2:1: there is no template none.j2 or nor.j2 in templates",
        ),
        (
            "{% extends 'none.j2' %}",
            {},
            "b.j2:1: there is no template none.j2 in templates",
        ),
        (
            "{% from 'none.j2' import x %}",
            {},
            "b.j2:1: there is no template none.j2 in templates",
        ),
        (
            "{% include '../secret.txt' %}",
            {"../secret.txt": "x"},
            "b.j2:1: there is no template ../secret.txt in templates",
        ),
        (
            "{% include '/etc/passwd' %}",
            {},
            "b.j2:1: there is no template /etc/passwd in templates",
        ),
        (
            "{% include 'xxxxx' %}".replace("x", "x" * 60),
            {},
            f"b.j2:1: there is no template {'x' * 300} in templates",
        ),
        (
            "{% include 'i.j2' %}",
            {"i.j2": "\n\n{% include 'j.j2' %}", "j.j2": "\n{% endif %}"},
            "j.j2:2: Encountered unknown tag 'endif'.",
        ),
        (
            "{% macro m(a, a) %}{% endmacro %}",
            {},
            "b.j2: does not compile: duplicate argument 'a' in function definition",
        ),
        (
            "{{ f(a=1, a=2) }}",
            {},
            "b.j2: does not compile: keyword argument repeated: a",
        ),
        (
            f"{{{{ {'(' * 999}1{')' * 999} }}}}",
            {},
            "b.j2: does not compile: maximum recursion depth exceeded",
        ),
        (
            "{{ " + "9" * 4301 + " }}",
            {},
            "b.j2: does not compile: Exceeds the limit (4300 digits) for integer",
        ),
    ],
)  # fmt: skip
def test_template_that_does_not_compile_is_refused_with_file_and_line(
    write: Write, body: str, files: Mapping[str, str], wanted: str
) -> None:
    """Whatever is wrong is told as a problem, and never raised as something else."""
    (told,) = problems(write(body, files))
    assert told.startswith(wanted)


def test_every_broken_template_is_told_at_once(write: Write) -> None:
    """One refusal names all: of the subject, the body and what the body includes."""
    folder = write(
        "{% include 'i.j2' %}{% include 'none.j2' %}{% include 'k.j2' %}",
        {"i.j2": "{{", "k.j2": ""},
    )
    (folder / "s.j2").write_text("{% if %}", encoding="utf-8")
    (folder / "k.j2").write_bytes(b"Gr\xfc\xdfe")
    wanted = [
        "s.j2:1: Expected an expression, got 'end of statement block'",
        "i.j2:1: unexpected 'end of template'",
        "b.j2:1: there is no template none.j2 in templates",
        "k.j2: is not UTF-8; save it as UTF-8",
    ]
    assert wanted == problems(folder)


@pytest.mark.parametrize(
    "name", ["none.j2", "../s.j2", "/etc/passwd", "", ".", "x" * 300]
)
def test_root_that_is_not_there_is_refused(write: Write, name: str) -> None:
    """A part without a template below the folder is a problem like any other."""
    folder = write("", {})
    with pytest.raises(TemplateError, match="there is no such template in"):
        renderer(folder, subject=name)


def test_template_chosen_by_a_row_may_need_every_column_and_file(write: Write) -> None:
    """Nothing is known of it, so nothing is refused, and everything is kept."""
    files = {
        "kinds/gold.j2": "Gold {{ first }}",
        "kinds/deep/x.j2": "{{ anything }}",
        "broken.j2": "{{",
    }
    folder = write("{% include 'kinds/' ~ kind ~ '.j2' %}", files)
    (folder / "logo.png").write_bytes(b"\x89PNG\xff")
    made = renderer(folder)
    made.check_columns(["kind"])
    assert made.columns is None
    assert {"s.j2", "b.j2", *files} == made.sources.keys()
    assert "Gold Ann" == rendered(folder, ROW)


def test_misspelt_name_beside_a_chosen_template_is_still_told(write: Write) -> None:
    """What is written out is checked, even where the rest cannot be."""
    folder = write("{{ frist }}{% include kind %}", {})
    wanted = 'b.j2:1: "frist" is not a column of the list; did you mean "first"?'
    assert [wanted] == problems(folder, ["first", "kind"])


def test_sources_are_the_files_in_use(write: Write) -> None:
    """All that is needed to render again, by plain names, and nothing else."""
    files = {
        "base.j2": BASE,
        "p/lib.j2": LIB,
        "p/i.j2": "{{ first }}",
        "unused.j2": "{{ x }}",
    }
    body = (
        "{% extends 'base.j2' %}{% from './p/lib.j2' import wrap %}"
        "{% block body %}{% include '/p/i.j2' %}{% include 'no.j2' ignore missing %}"
        "{% endblock %}"
    )
    folder = write(body, files)
    del files["unused.j2"]
    assert {"s.j2": "Hi", "b.j2": body, **files} == renderer(folder).sources


def test_byte_order_mark_is_left_out(write: Write) -> None:
    """A file saved by an editor that marks UTF-8 does not begin with the mark."""
    folder = write("\ufeff{{ first }}", {})
    assert "{{ first }}" == renderer(folder).sources["b.j2"]
    assert "Ann" == rendered(folder, {"first": "Ann"})


def test_column_named_campaign_does_not_hide_the_campaign(write: Write) -> None:
    """`campaign` is the campaign's name and tags in every template."""
    folder = write(
        "{{ campaign.name }}{% include kind %}", {"x": "{{ campaign.name }}"}
    )
    assert "springspring" == rendered(folder, {"campaign": "other", "kind": "x"})
