"""S4: a template that makes much of little fails its row alone, in flat memory."""

import re
from collections.abc import Callable
from pathlib import Path
from time import thread_time

import polars as pl
import pytest

from engine.render import Failure, Rendered, Renderer

#: Seconds of a processor, and bytes, that a bomb may take; its row is tried twice.
SECONDS, BYTES = 2.0, 300 << 20
TOO_MUCH, TOO_LONG = "more than 8,000,000 characters", "more than 0.5 s"

TOWER = "{% set a = ['lol'] %}" + "".join(
    f"{{% set {to} = [{of}, {of}, {of}, {of}, {of}, {of}, {of}, {of}, {of}, {of}] %}}"
    for of, to in zip("abcdefgh", "bcdefghi", strict=True)
)


def tower_of_dicts(name: str) -> str:
    """Write 40 mappings, each of which holds the one before twice."""
    floors = (
        f"{{% set {name}{n + 1} = dict(x={name}{n}, y={name}{n}) %}}" for n in range(40)
    )
    return f"{{% set {name}0 = [1] %}}" + "".join(floors)


BOMBS = [
    # operators
    "{{ 'a' * 50000000 }}",
    "{{ 50000000 * 'a' }}",
    "{{ ['a'] * 100000000 }}",
    "{{ (1, 2) * big }}",
    "{{ word * big }}",
    "{{ 10 ** (10 ** 8) }}",
    "{{ (7 ** 9999) ** 9999 }}",
    (
        "{% set ns = namespace(n=7) %}{% for i in range(40) %}"
        "{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n > 1 }}"
    ),
    "{{ '%1000000000d' % 1 }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ ('%9000000d' * 9) % (1, 1, 1, 1, 1, 1, 1, 1, 1) }}",
    (
        "{% set ns = namespace(s='ab') %}{% for i in range(40) %}"
        "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}"
    ),
    (
        "{% set ns = namespace(s='ab') %}{% for i in range(40) %}"
        "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"
    ),
    (
        "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}"
        "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}"
    ),
    # filters
    "{{ '%1000000000d' | format(1) }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x' | center(1e9 | int) }}",
    "{{ word | indent(1000000000, true) }}",
    "{{ ('a\n' * 100000) | indent('x' * 100000) }}",
    "{{ [1] | batch(1000000000, 'x') | list }}",
    "{{ [1] | slice(1000000000) | list }}",
    "{{ 4.2 | round(1000000000, 'ceil') }}",
    "{{ range(100000) | join('x' * 1000000) }}",
    "{{ range(100000) | map('string') | join('x' * 1000000) }}",
    "{{ ('x' * 100000) | replace('x', 'y' * 100000) }}",
    "{{ ('x' * 100000) | replace('', 'y' * 100000) }}",
    "{{ ('w.example ' * 100000) | urlize(rel='x' * 100000) }}",
    "{{ ('x ' * 100000) | wordwrap(1, wrapstring='y' * 100000) }}",
    "{{ [[1, 2]] | tojson(1000000000) }}",
    "{{ ('<!---->' * 500000) | striptags }}",
    "{{ ([[1]] * 200000) | sum(start=[]) | length }}",
    "{{ ('9' * 7000000) | int(base=16) }}",
    "{{ ('x' * 7000000) | list | length }}",
    "{{ ([word] * 99999) | map('center', 100000) | list | length }}",
    # methods
    "{{ 'x'.center(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ 'x'.rjust(1000000000) }}",
    "{{ 'x'.zfill(1000000000) }}",
    "{{ ('\t' * 100000).expandtabs(100000) }}",
    "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
    "{{ ('x' * 100000).join(['y'] * 100000) }}",
    "{{ ('x' * 100000).join(range(100000) | map('string')) }}",
    "{{ ('x' * 100000).translate({120: 'y' * 100000}) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:.1000000000f}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ '{x:{w}}'.format_map({'x': 1, 'w': 1000000000}) }}",
    "{{ ('{0}' * 100000).format('x' * 100000) }}",
    "{{ ('{:1000000000}' | safe).format(1) }}",
    "{{ ('x' | safe).center(1000000000) }}",
    "{{ (1).to_bytes(1000000000) | length }}",
    "{{ 'x'.encode().center(1000000000) | length }}",
    # loops, macros, includes
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    (
        "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}"
        "{% endfor %}"
    ),
    "{% for i in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"
        "{% endmacro %}{{ f(60) }}"
    ),
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% include 'html' %}",
    "{% include 'twice' %}",
    "{% import 'twice' as t %}{{ t }}",
    "{% block b %}{% for i in range(9) %}{{ self.b() }}{% endfor %}{% endblock %}",
    "{% set x %}{% for i in range(99999) %}{{ 'y' * 99999 }}{% endfor %}{% endset %}",
    "{% for i in range(99999) %}{{ long }}{% endfor %}",
    f"{{% for i in range(99999) %}}{'static text ' * 100}{{% endfor %}}",
    (
        "{% filter upper %}{% for i in range(99999) %}{{ long }}{% endfor %}"
        "{% endfilter %}"
    ),
    (
        "{% set many = range(99999) | list %}{% for i in range(99999) %}"
        "{% if 'x' in many %}{% endif %}{% endfor %}"
    ),
    "{{ range(99999) | select('in', range(99999) | list) | list | length }}",
    "{{ ('x ' * 3000000).split() | length }}",
    "{{ ('x ' * 3000000) | wordcount }}",
    "{% set t = 'x' * 1000000 %}{{ [" + "t[1:], " * 500 + "] | length }}",
    "{% set t = 'x' * 1000000 %}{{ [" + "t | upper, " * 500 + "] | length }}",
    # a list that holds another many times, and so on
    TOWER + "{{ i }}",
    TOWER + "{{ i | string }}",
    TOWER + "{{ i | tojson }}",
    TOWER + "{{ i | pprint }}",
    TOWER + "{{ 'x' ~ i }}",
    TOWER + "{{ '%s' % (i,) }}",
    TOWER + "{{ '{}'.format(i) }}",
    TOWER + "{{ [i] | join }}",
    TOWER + "{% set ns = namespace(v=i) %}{{ ns }}",
    tower_of_dicts("a") + tower_of_dicts("b") + "{{ a40 == b40 }}",
    (
        "{% macro f(n) %}{% if n %}{{ f(n - 1, varargs, varargs) }}{% else %}"
        "{{ varargs }}{% endif %}{% endmacro %}{{ f(60, 1) }}"
    ),
]  # fmt: skip


@pytest.fixture
def fresh_peak() -> Callable[[], int]:
    """Measure by how many bytes this process's memory has peaked above now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    return lambda: _status("VmHWM") - before


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    (kilobytes,) = re.findall(rf"{name}:\s+(\d+) kB", text)
    return int(kilobytes) * 1024


def rendered(tmp_path: Path, bomb: str) -> Rendered:
    """Render a bomb that the second row of three sets off."""
    files = {
        "subject": "Hello {{ word }}",
        "html": f"{{% if armed %}}{bomb}{{% endif %}}",
        "twice": "{% include 'twice' %}{% include 'twice' %}",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    renderer = Renderer(tmp_path, {"subject": "subject", "html": "html"}, {})
    data = [
        {"word": word, "armed": word == "b", "big": 1_000_000_000, "long": "x" * 999}
        for word in "abc"
    ]
    chunk = pl.DataFrame(
        {
            "row": pl.Series([0, 1, 2], dtype=pl.UInt64),
            "address": ["a@a.example"] * 3,
            "name": [""] * 3,
            "message_id": ["m"] * 3,
            "data": pl.Series(data),
        }
    )
    return renderer.render(chunk)


@pytest.mark.parametrize("bomb", BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_fails_its_row_alone_soon_and_in_flat_memory(
    tmp_path: Path, fresh_peak: Callable[[], int], bomb: str
) -> None:
    """One clear failure; those before and behind it are rendered."""
    began = thread_time()
    done = rendered(tmp_path, bomb)
    assert thread_time() - began < SECONDS
    assert fresh_peak() < BYTES
    assert [0, 2] == done.messages.rows
    (failure,) = done.failures
    assert 1 == failure.row
    assert "template_error" == failure.reason
    assert is_clear(failure), failure.detail


def is_clear(failure: Failure) -> bool:
    """Whether a failure says what is wrong, and where."""
    told = (TOO_MUCH, TOO_LONG, "maximum recursion depth", "Range too big")
    place = re.match(r"(html|twice):\d: |template: ", failure.detail)
    return place is not None and any(text in failure.detail for text in told)
