"""Claims about hold-outs and variants: who gets what, always the same."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from handmade import campaign_file, draw_up, lay_out

from engine import api, planning, snapshot
from engine.crew.maker import Maker
from engine.errors import CampaignError
from engine.planning import Plan
from engine.preview.choose import chosen
from engine.proof import Prover, Wanted, prove

CAMPAIGN = campaign_file(
    below='[message.metadata]\nvariant = "{{ campaign.variant }}"\n'
)
TWO = """
[[variants]]
name = "a"
share = 0.3
subject = "short.txt.j2"
[[variants]]
name = "b"
share = 0.2
html = "pictures.html.j2"
text = "body.txt.j2"
"""
HOLDOUT = "\n[holdout]\nshare = 0.2\n"
TEMPLATES = {
    "subject.txt.j2": "Hello {{ id }}",
    "short.txt.j2": "Hi {{ id }}",
    "body.html.j2": "<p>{{ id }}</p>",
    "pictures.html.j2": "{% if odd == 'y' %}<p>odd</p>{% else %}<p>even</p>{% endif %}",
    "body.txt.j2": "text of {{ id }}",
}
ROWS = 400


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a folder with a list and templates."""
    people = [f"{n:03},reader{n}@inbox.example,{'yn'[n % 2]}" for n in range(ROWS)]
    lay_out(tmp_path, CAMPAIGN, TEMPLATES, ["id,email,odd", *people])
    return tmp_path


def plan(home: Path, more: str) -> Plan:
    """Plan the campaign with what is laid under it."""
    (home / "letter.toml").write_text(CAMPAIGN + more)
    return api.plan(None, home / "letter.toml", sandbox=True)


def frozen(plan: Plan) -> pl.DataFrame:
    """Return the frozen list."""
    return pl.read_parquet(plan.directory.recipients)


def refusal(home: Path, more: str) -> str:
    """Plan what cannot be planned."""
    with pytest.raises(CampaignError) as caught:
        plan(home, more)
    return str(caught.value)


# ---- who


def test_a_share_is_held_out_and_nobody_of_it_is_mailed(home: Path) -> None:
    """Suppressed, with their reason; in the plan and in its findings."""
    found = plan(home, HOLDOUT)
    held = frozen(found).filter(status="suppressed")
    assert 50 < held.height < 110
    assert {"held_out"} == set(held["reason"])
    assert {"suppressed": {"held_out": held.height}} == found.left_out
    assert any(
        f"{held.height} rows: suppressed, held_out" in str(f) for f in found.findings
    )


def test_the_same_salt_holds_out_the_same_people(home: Path) -> None:
    """Of another campaign and a list in another order; another salt, others."""

    def held(more: str) -> set[str]:
        return set(frozen(plan(home, more)).filter(status="suppressed")["key"])

    first = held(HOLDOUT + 'salt = "2026"\n')
    head, *lines = (home / "list.csv").read_text().splitlines()
    (home / "list.csv").write_text("\n".join([head, *reversed(lines)]) + "\n")
    text = CAMPAIGN.replace('"letter"', '"other"')
    (home / "other.toml").write_text(text + HOLDOUT + 'salt = "2026"\n')
    other = api.plan(None, home / "other.toml", sandbox=True)
    assert first == set(frozen(other).filter(status="suppressed")["key"])
    assert first != held(HOLDOUT)


def test_nobody_who_is_held_out_is_mailed_by_a_second_row(home: Path) -> None:
    """A later row of the same address is a duplicate, of whatever key."""
    text = (home / "list.csv").read_text()
    more = [f"x{n},reader{n}@inbox.example,n" for n in range(ROWS)]
    (home / "list.csv").write_text(text + "\n".join(more) + "\n")
    known = frozen(plan(home, HOLDOUT))
    held = known.filter(reason="held_out")["address"]
    assert (
        known.filter(pl.col("address").is_in(held.implode()))["status"].null_count()
        == 0
    )


def test_variants_get_their_shares_and_the_rest_the_base(home: Path) -> None:
    """By their keys; who is left out gets none."""
    found = plan(home, TWO + HOLDOUT)
    known = frozen(found)
    counts = Counter(known["variant"].drop_nulls())
    assert list(found.variants) == ["a", "b", "base"]
    assert found.variants == counts
    mailed = known.filter(pl.col("status").is_null())
    assert mailed["variant"].null_count() == 0
    assert abs(counts["a"] / mailed.height - 0.3) < 0.1
    assert abs(counts["b"] / mailed.height - 0.2) < 0.1
    assert (
        known.filter(pl.col("status").is_not_null())["variant"].drop_nulls().is_empty()
    )


def test_without_a_rest_everybody_gets_a_variant(home: Path) -> None:
    """0.7 + 0.2 + 0.1 is the whole."""
    shares = {"a": 0.7, "b": 0.2, "c": 0.1}
    more = "".join(
        f'[[variants]]\nname = "{n}"\nshare = {s}\n' for n, s in shares.items()
    )
    assert ["a", "b", "c"] == list(plan(home, more).variants)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('name = "a"\nshare = 0.6', "the shares are 1.1 together"),
        ('name = "b"\nshare = 0.1\n[[variants]]\nname = "b"\nshare = 0.1', "twice"),
        ('name = "base"\nshare = 0.1', "what the rest gets"),
        ('name = "b"\nshare = 0.1\nmarkdown = "body.txt.j2"', '"b" has markdown'),
        ('name = "b"\nshare = 0.1\nsubject = "gone.j2"', "item 2, subject = "),
        ('name = "b"\nshare = 0', "must be above 0"),
    ],
)
def test_what_is_wrong_with_variants_is_told(home: Path, more: str, told: str) -> None:
    """With the place; nothing is planned."""
    first = '[[variants]]\nname = "a0"\nshare = 0.5\n[[variants]]\n'
    assert told in refusal(home, first + more)


def test_the_templates_of_every_variant_are_checked_against_the_list(
    home: Path,
) -> None:
    """A column that only one of them reads, too; and each is kept with the run."""
    (home / "templates" / "short.txt.j2").write_text("Hi {{ nickname }}")
    assert "nickname" in refusal(home, TWO)
    (home / "templates" / "short.txt.j2").write_text("Hi {{ odd }}")
    found = plan(home, TWO)
    assert set(TEMPLATES) == set(found.manifest.templates)
    assert "odd" in frozen(found)["data"].struct.fields


# ---- what


def test_each_row_gets_its_own_variant_in_the_order_of_the_list(home: Path) -> None:
    """Subject, HTML and text of its variant; the others are the campaign's own."""
    found = plan(home, TWO)
    known = frozen(found)
    messages = found.renderer.render(known).messages
    assert messages.rows == list(range(ROWS))
    assert messages.addresses == known["address"].to_list()
    assert messages.htmls is not None
    assert messages.texts is not None
    assert messages.extras is not None
    for n, variant in enumerate(known["variant"]):
        subject = f"Hi {n:03}" if variant == "a" else f"Hello {n:03}"
        html = (
            f"<p>{n:03}</p>" if variant != "b" else f"<p>{('odd', 'even')[n % 2]}</p>"
        )
        text = f"text of {n:03}" if variant == "b" else f"{n:03}"
        assert (subject, html) == (messages.subjects[n], messages.htmls[n])
        assert text in messages.texts[n]
        assert {"variant": variant} == messages.extras[n].metadata


def test_a_row_that_fails_fails_alone_among_the_variants(home: Path) -> None:
    """Failures are told in the order of the list, and the others keep theirs."""
    (home / "templates" / "short.txt.j2").write_text("Hi {{ 1 // (id|int % 3) }}")
    (home / "templates" / "body.html.j2").write_text("{{ 1 // (id|int % 7) }}")
    found = plan(home, TWO)
    known = frozen(found)
    rendered = found.renderer.render(known)
    wrong = [
        n
        for n, variant in enumerate(known["variant"])
        if (variant != "b" and n % 7 == 0) or (variant == "a" and n % 3 == 0)
    ]
    assert wrong == [failure.row for failure in rendered.failures]
    assert [n for n in range(ROWS) if n not in wrong] == rendered.messages.rows


def test_a_run_that_is_taken_up_makes_the_same_bytes(home: Path) -> None:
    """From the run's own files, whatever became of the campaign's."""
    (home / "letter.toml").write_text(CAMPAIGN + TWO)
    drawn = draw_up(home / "letter.toml")
    directory = drawn.directory
    for name in TEMPLATES:
        (home / "templates" / name).write_text("other")
    again = planning.take_up(directory, planning.as_planned(drawn.manifest))

    def parts(plan: Plan) -> list[bytes]:
        maker = Maker.of(plan)
        chunks = snapshot.chunks(directory.recipients, 150)
        made = [maker.encode(maker.render(chunk)) for chunk in chunks]
        return [
            part for batches, _ in made for batch in batches for part in batch.parts
        ]

    assert ROWS == len(parts(drawn))
    assert parts(drawn) == parts(again)


# ---- looked at before


def test_every_variant_is_looked_at_and_shown(home: Path) -> None:
    """By the rules, in the sample, and on the page of the preview."""
    (home / "templates" / "short.txt.j2").write_text("RE: {{ id }}")
    found = plan(home, TWO.replace("0.3", "0.01"))
    (finding,) = [f for f in found.findings if f.id == "L26"]
    assert "RE:" in str(finding) or finding.examples
    for name in found.variants:
        messages, _ = found.sample(1, variant=name)
        (row,) = messages.rows
        assert name == frozen(found)["variant"][row]
    labels = chosen(found, Prover.of(found), Wanted()).labels.values()
    texts = {label.text for some in labels for label in some}
    assert {"Variant a", "Variant b", "Variant base"} <= texts


def test_rendering_all_covers_the_branches_of_every_variant(home: Path) -> None:
    """Who takes a branch is counted by row, though variants are rendered apart."""
    found = plan(home, TWO)
    proof = prove(found, processes=1)
    known = frozen(found)
    taken = {branch.way: branch for branch in proof.branches}
    rows = known.filter(variant="b").with_row_index()["row"].to_list()
    ways = {
        "taken": [row for row in rows if row % 2 == 0],
        "else": [row for row in rows if row % 2],
    }
    assert proof.rows == ROWS
    for way, there in ways.items():
        assert len(there) == taken[way].rows
        example = taken[way].example
        assert example is not None
        assert there[0] == example.row


def test_a_changed_share_is_a_difference(home: Path) -> None:
    """A run goes on as it was planned, or not at all."""
    found = plan(home, TWO)
    file = home / "letter.toml"
    file.write_text(file.read_text().replace("0.3", "0.4"))
    campaign = api.load(file)
    changed = planning.differences(found.manifest, campaign, campaign.list(), None)
    assert [f"variants of {file}"] == changed
