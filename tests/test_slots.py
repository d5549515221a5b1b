"""Templates cut into slots: the bytes of Jinja, for whatever is cut; else a reason."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from engine.providers.form import Form
from engine.render import slots
from engine.render.environment import Sources, environment
from engine.render.slots import Data, Slots, Uncut
from engine.render.template import Tree
from engine.texts import Texts

FILES = {
    "layout": "<{% block top %}T{{ a }}{% endblock %}|{{ b|upper }}"
    "|{% block body %}B{% endblock %}>{% include 'foot' %}",
    "middle": "{% extends 'layout' %}{% block top %}m{% block in %}i{{ a }}"
    "{% endblock %}{% endblock %}",
    "child": "{% extends 'middle' %}{% from 'macros' import loud %}"
    "{% block body %}{{ loud(a) }}{% if n > 3 %}many{% else %}few{% endif %}"
    "{% endblock %}{% block in %}I{{ n }}{% endblock %}",
    "macros": "{% macro loud(x) %}!{{ x|upper }}!{% endmacro %}",
    "foot": "-- {{ campaign.name }}{{ n }}\n",
}
#: Pieces that can be cut, in any order.
CUT = (
    "plain text é &",
    'odd " \\ / \x01 \x7f \u2028 🐟 text\n',
    "{{ a }}",
    "{{ b|title }}",
    "{{ a }}{{ a }}",
    "{{ a ~ b }}",
    "{{ f }}",
    "{{ '%.2f'|format(f or 0) }}",
    "{{ n }}",
    "{{ yes }}",
    "{{ n + 1 }}",
    "{{ missing|default('none') }}",
    "{% if a %}A{{ b }}{% elif n %}N{% endif %}",
    "{% for c in a %}[{{ c }}]{% else %}empty{% endfor %}",
    "{% for c in a %}{% set x = c ~ loop.index %}{{ x }}{% endfor %}",
    "{% with x = a %}{{ x }}{{ x|length }}{% endwith %}",
    "{% filter upper %}{{ a }}{% endfilter %}",
    "{% include 'foot' %}",
    "{{ a|e }}{{ a|safe if yes else a }}",
    "{# nothing #}",
    "{% raw %}{{ a }}{% endraw %}",
    "{{ campaign.name }}{{ range(3)|join('-') }}",
)
#: What cannot be cut, and a word of the reason.
UNCUT = {
    "a{% include 'page' %}": "includes what it stands in",
    "{% extends 'page' %}": "extends itself",
    "{% set x = a %}{{ x }}": "assign",
    "{% if a %}{% set x = 1 %}{% endif %}{{ x|default('') }}": "define",
    "{% set s = namespace(x=1) %}{% for c in a %}{% set s.x = c %}{% endfor %}": "foll",
    "{% import 'counter' as c %}{{ c.c.next() }}": "import",
    "{% include a %}": "variable",
    "{% include ['gone', 'foot'] %}": "variable",
    "{% include 'gone' ignore missing %}": "other",
    "{% autoescape false %}{{ a }}{% endautoescape %}": "for what follows",
    "{% for c in a %}{% include 'foot' %}{% endfor %}": "inside",
    "{% block x %}{{ self.x }}{% endblock %}": "self",
    "{% extends 'layout' %}{% block top %}{{ super() }}{% endblock %}": "super",
    "{% macro m() %}1{% endmacro %}{% block x %}{{ m() }}{% endblock %}": "top",
    "{% extends 'uses' %}{% from 'macros' import loud %}": "defines",
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "a": st.none() | st.text("aé<&\"'\n{%", max_size=4),
            "b": st.none() | st.text(max_size=3),
            "n": st.integers(-2, 9),
            "f": st.none() | st.sampled_from([0.0, -0.0, 1.5, float("nan"), 1e300]),
            "yes": st.booleans(),
        }
    ),
    min_size=1,
    max_size=8,
)
SCHEMA = {
    "a": pl.String(),
    "b": pl.String(),
    "n": pl.Int64(),
    "f": pl.Float64(),
    "yes": pl.Boolean(),
}


def house(tmp_path: Path, *, escape: bool, **more: str) -> tuple[Environment, Sources]:
    """Make an environment over some templates."""
    others = {
        "counter": "{% set c = cycler(1, 2) %}",
        "uses": "{% if loud %}L{% endif %}{% block x %}{% endblock %}",
    }
    for name, text in (FILES | others | more).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    origin = Sources(tmp_path)
    env = environment(origin, escape=escape)
    env.globals["campaign"] = {"name": "<spring>"}
    for name in (*more, *others, *FILES):
        Tree.read(env, origin, name)
    return env, origin


def told(env: Environment, name: str, row: dict[str, Any]) -> str | None:
    """Return what Jinja itself makes of a row; None where it raises."""
    try:
        return env.get_template(name).render(row)
    except Exception:  # noqa: BLE001 - templates raise anything
        return None


def agrees(env: Environment, origin: Sources, name: str, rows: list[Any]) -> None:
    """Compare slots with Jinja, twice: what is remembered is the same again.

    And the JSON that is made of the slots with that of the whole texts.
    """
    cut = Slots(env, origin, name)
    data = Data(pl.DataFrame(rows, schema=SCHEMA))
    expected = [told(env, name, row) for row in data.frame.to_dicts()]
    for _ in range(2):
        filled = cut.fill(data)
        assert filled == expected
        if isinstance(filled, Texts):
            form = Form(data.height)
            form.text("part", filled)
            assert form.rows() == [orjson.dumps({"part": text}) for text in expected]


@pytest.fixture(scope="module")
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Environment, Sources]:
    """Templates that are read once for all rows."""
    escape = getattr(request, "param", True)
    return house(tmp_path_factory.mktemp("t"), escape=escape)


@pytest.mark.parametrize("family", [True, False], indirect=True)
@settings(deadline=None)
@given(pieces=st.lists(st.sampled_from(CUT), max_size=6), rows=ROWS)
def test_what_is_cut_has_the_bytes_of_jinja(
    family: tuple[Environment, Sources], pieces: list[str], rows: list[Any]
) -> None:
    """Whatever stands beside what, in whatever rows."""
    env, origin = family
    page = "".join(pieces)
    name = f"page-{hash(page)}"
    (origin.directory / name).write_text(page, encoding="utf-8")
    Tree.read(env, origin, name)
    agrees(env, origin, name, rows)


@pytest.mark.parametrize("name", ["layout", "middle", "child"])
@settings(deadline=None)
@given(rows=ROWS)
def test_inheritance_is_flattened(
    family: tuple[Environment, Sources], rows: list[Any], name: str
) -> None:
    """Blocks in blocks, over two parents, with macros of the child's."""
    agrees(*family, name, rows)


@pytest.mark.parametrize(("text", "reason"), UNCUT.items())
def test_what_is_in_doubt_is_not_cut(tmp_path: Path, text: str, reason: str) -> None:
    """A definition that others may use or change keeps the template whole."""
    env, origin = house(tmp_path, escape=True, page=text)
    with pytest.raises(Uncut, match=reason):
        Slots(env, origin, "page")


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is dropped when it is too much, and made again."""
    monkeypatch.setattr(slots, "REMEMBERED", 2000)
    env, origin = house(tmp_path, escape=False, page="{{ b|upper }}.")
    rows = [{"a": "", "b": f"x{n}", "n": 0, "f": 0, "yes": True} for n in range(500)]
    agrees(env, origin, "page", rows)


def test_a_row_that_fails_fails_alone(tmp_path: Path) -> None:
    """The others are filled; that one is left to the whole template."""
    env, origin = house(tmp_path, escape=False, page="{{ 10 // n }}")
    rows = [{"a": "", "b": "", "n": n, "f": 0, "yes": True} for n in (1, 0, 2)]
    data = Data(pl.DataFrame(rows, schema=SCHEMA))
    assert Slots(env, origin, "page").fill(data) == ["10", None, "5"]


def test_half_a_surrogate_pair_fails_alone(tmp_path: Path) -> None:
    """What can be neither JSON nor mail is left to the whole template."""
    text = "{{ '\\ud800' if n == 1 else n }}|{{ '\\udfff' if f == 1.5 else b }}"
    env, origin = house(tmp_path, escape=True, page=text)
    made = [(1, 0.0), (2, 1.5), (3, 0.0)]
    rows = [{"a": "", "b": "é", "n": n, "f": f, "yes": True} for n, f in made]
    data = Data(pl.DataFrame(rows, schema=SCHEMA))
    cut = Slots(env, origin, "page")
    for _ in range(2):
        assert cut.fill(data) == [None, None, "3|é"]
