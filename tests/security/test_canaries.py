"""S5 to S7: a secret is nowhere, an address only where results and events are kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from end_to_end.conftest import desk, start_sandbox
from end_to_end.desk import TOKEN, Desk, Ended, Site

__all__ = ["desk", "start_sandbox"]

#: One that is accepted, one refused, one no address, one whose template fails.
PEOPLE = {
    "row3": "kestrel-good@inbox.example",
    "row5": "reject-kestrel@inbox.example",
    "row7": "kestrel-bad@@inbox.example",
    "row9": "kestrel-fails@inbox.example",
}
CANARY = "kestrel"
#: Where addresses may be: who was to be mailed, and what became of them.
MAY_NAME = {"recipients.parquet", "results.parquet", "events.parquet"}
#: What a template can reach for; none of it may have the token.
REACHING = [
    "{{ campaign }}",
    "{{ campaign.token }}",
    "{{ campaign.provider.token }}",
    "{{ token | d }}",
    "{{ config | d }}",
    "{{ LETTER_TOKEN | d }}",
    "{{ environ | d }}",
    "{{ self._TemplateReference__context }}",
    "{{ campaign.__class__.__init__.__globals__ }}",
]


def told(file: Path) -> Iterator[bytes]:
    """Yield what a file holds: as it is, and a table also unpacked."""
    yield file.read_bytes()
    if file.suffix == ".parquet":
        for column in pl.read_parquet(file).iter_columns():
            yield repr(column.to_list()).encode()
        yield repr(pl.read_parquet_metadata(file)).encode()


def naming(desk: Desk, word: str) -> set[str]:
    """Return the files below the runs that hold a word."""
    return {
        file.name
        for file in desk.runs.rglob("*")
        if file.is_file() and any(word.encode() in text for text in told(file))
    }


def has_leaked_nothing(desk: Desk, ended: Ended) -> None:
    """Look for the canaries in all that a run has left."""
    assert TOKEN not in ended.out + ended.err
    assert set() == naming(desk, TOKEN)
    assert CANARY not in ended.out + ended.err
    assert naming(desk, CANARY) <= MAY_NAME


@pytest.fixture
def canaries(desk: Desk) -> Desk:
    """A campaign whose list has canaries, and whose template fails for one of them."""
    desk.list(100, **PEOPLE)
    body = desk.folder / "templates" / "letter" / "body.html.j2"
    fails = "{% if id == '00009' %}{{ email | int(base=email) }}{% endif %}"
    body.write_text(f"{fails}<p>{{{{ name }}}}</p>")
    return desk


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "faults"),
    [
        (1, {"unavailable_every": 3, "retry_after": 0.1, "throttle_every": 4}),
        (1, {"error_after_every": 3}),
        (1, {"truncate_every": 2}),
        (1, {"credentials": "refuse"}),
        (2, {"reset_after_every": 3}),
        (2, {"credentials": "refuse"}),
    ],
)
def test_a_run_with_faults_names_no_secret_and_nobody(
    canaries: Desk,
    start_sandbox: Callable[..., Site],
    processes: int,
    faults: dict[str, object],
) -> None:
    """Neither the terminal nor journal, manifest, progress and the rest."""
    site = start_sandbox(**faults)
    ended = canaries.send(site.url, "--json", f"--processes={processes}")
    assert ended.code in (0, 1, 3, 4, 6), ended.err
    has_leaked_nothing(canaries, ended)


@pytest.mark.slow
def test_no_template_reaches_the_token(
    canaries: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """What it prints of the campaign has it not, and nothing else is there to print."""
    body = canaries.folder / "templates" / "letter" / "body.txt.j2"
    rows = (
        f"{{% if id == '{row:05}' %}}{reach}{{% endif %}}"
        for row, reach in enumerate(REACHING)
    )
    body.write_text("".join(rows) + "x")
    site = start_sandbox()
    ended = canaries.send(site.url, "--json")
    assert ended.code == 1, ended.err
    assert TOKEN not in ended.out + ended.err
    assert set() == naming(canaries, TOKEN)
    assert TOKEN.encode() not in site.read("messages?limit=1000")
