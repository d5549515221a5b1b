"""A messy list is sent, and every row ends as an oracle says that it must.

The oracle is plain Python, written from the README and the RFCs; the list goes through
the command, HTTP and a sandbox. Every row is compared, and the provider's books, too.
"""

import csv
import json

import polars as pl
import pytest
from end_to_end.desk import CAMPAIGN as LETTER
from end_to_end.desk import Desk, Site
from oracle.judge import Judge, same
from oracle.lists import Messy

CAMPAIGN = (
    LETTER.replace('name = "letter"', 'name = "messy"')
    .replace('source = "list.csv"', 'source = "list.ndjson"\nname = "name"')
    .replace("batch_size = 10\nworkers = 4", "batch_size = 1000\nworkers = 8")
)
HTML = """\
<p title="{{ name }}">Dear {{ name }}, {{ note }}: {{ 100 // (share | int) }}.</p>
{% if note == "bomb" %}{{ "boom" * (share | int) }}{% endif %}"""
SCOPES = {"all", "campaign:messy", "list:messy"}


def lay_out(desk: Desk, messy: Messy) -> None:
    """Write campaign, templates, list and suppressions."""
    (desk.folder / "messy.toml").write_text(CAMPAIGN)
    templates = desk.folder / "templates" / "letter"
    (templates / "subject.txt.j2").write_text("Hello {{ name }}")
    (templates / "body.html.j2").write_text(HTML)
    (templates / "body.txt.j2").write_text("Dear {{ name }}")
    with (desk.folder / "list.ndjson").open("w", encoding="utf-8") as file:
        for row in messy.rows():
            file.write(json.dumps(row._asdict()) + "\n")
    with (desk.folder / "left.csv").open("w", encoding="utf-8") as file:
        csv.writer(file).writerows([("email", "scope"), *messy.suppressed()])
    assert 0 == desk.run("suppress", "import", "left.csv", "--runs-dir", desk.runs).code


def ends_as_the_oracle_says(desk: Desk, site: Site, seed: int, count: int) -> None:
    """Send a list of so many rows, and compare all that came of it."""
    messy = Messy(seed, count)
    lay_out(desk, messy)
    words = ("--yes", "--json", "--base-url", site.url)
    ended = desk.run("send", "messy.toml", *words)
    assert 1 == ended.code, ended.err[-3000:]

    (results,) = desk.runs.glob("messy/*/results.parquet")
    found = pl.read_parquet(results, columns=["status", "reason"]).iter_rows()
    verdicts = Judge(messy.suppressed(), SCOPES).verdicts(Messy(seed, count).rows())
    mailed = []
    for (status, reason), (row, wanted) in zip(found, verdicts, strict=True):
        # A refusal is in the provider's own words.
        assert wanted == (status, reason if wanted[1] else None), _short(row)
        if status == "accepted":
            mailed.append(same(row.email or ""))
    assert count == sum(ended.json["counts"].values())
    assert sorted(mailed) == _accepted(site)


def _short(row: object) -> str:
    return repr(row)[:500]


def _accepted(site: Site) -> list[str]:
    """Return who was mailed, by the provider's books; twice if it was twice."""
    return sorted(map(same, site.accepted()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_every_row_ends_as_it_deserves(desk: Desk, sandbox: Site, seed: int) -> None:
    """20 000 rows, each with its status and reason, and nobody is mailed twice."""
    ends_as_the_oracle_says(desk, sandbox, seed, 20_000)


@pytest.mark.long
def test_every_row_of_a_million_ends_as_it_deserves(desk: Desk, sandbox: Site) -> None:
    """The same with a million rows."""
    ends_as_the_oracle_says(desk, sandbox, 7, 1_000_000)
