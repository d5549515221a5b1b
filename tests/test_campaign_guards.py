"""Claims about the sections of a campaign file that hold it back."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.campaign import Campaign, Canary, load
from engine.errors import CampaignError

CAMPAIGN = """\
name = "spring"
{top}
[message]
from = "shop@harbour.example"
subject = "subject.txt.j2"
text = "body.txt.j2"
[provider]
name = "cloudmails"
{below}
"""


def loaded(folder: Path, top: str = "", below: str = "") -> Campaign:
    """Load a campaign with something in it."""
    (folder / "templates").mkdir()
    for name in ("subject.txt.j2", "body.txt.j2"):
        (folder / "templates" / name).write_text("Hello")
    file = folder / "spring.toml"
    file.write_text(CAMPAIGN.format(top=top, below=below))
    return load(file, needs_list=False)


def test_a_campaign_is_held_back_by_nothing_unless_it_says_so(tmp_path: Path) -> None:
    """Every guard is a choice, and one leaves the list named like the campaign."""
    campaign = loaded(tmp_path)
    assert campaign.unsubscribe_list == "spring"
    guards = (campaign.unsubscribe, campaign.expect, campaign.stop, campaign.canary)
    assert guards == (None, None, None, None)
    assert campaign.start_by is None
    assert campaign.lint.allow == ()


@pytest.mark.parametrize(
    ("share", "mailable", "count"),
    [(0.01, 5000, 50), (0.01, 195, 2), (0.07, 100, 7), (0.01, 3, 1), (0.5, 0, 0)],
)
def test_a_canary_is_its_share(share: float, mailable: int, count: int) -> None:
    """Rounded up, whatever floating point makes of it, and never nobody."""
    assert Canary(share=share).count(mailable) == count


def test_guards_are_read_and_survive_the_manifest(tmp_path: Path) -> None:
    """What a run is planned with comes back as it was."""
    campaign = loaded(
        tmp_path,
        "start_by = 2026-12-24T18:00:00+01:00\n"
        "expect = { min = 10, max = 20, change = 0.2 }",
        '[unsubscribe]\nurl = "https://mail.harbour.example/"\nlist = "readers"\n'
        'mailto = "leave@harbour.example"\n'
        '[canary]\nshare = 0.1\nwait = "1h 30m"\n[stop]\nafter = 10\n'
        '[lint]\nallow = ["L25"]',
    )
    assert campaign.unsubscribe is not None
    assert campaign.unsubscribe.url == "https://mail.harbour.example"
    assert campaign.unsubscribe_list == "readers"
    assert campaign.start_by == datetime(2026, 12, 24, 17, tzinfo=UTC)
    assert campaign.canary is not None
    assert campaign.canary.wait == 5400.0
    assert campaign.stop is not None
    assert campaign.stop.rejected_share == 0.05
    stored = campaign.model_dump(mode="json", by_alias=True)
    again = Campaign.model_validate(stored, strict=False)
    assert again.bound_to(campaign.file) == campaign


@pytest.mark.parametrize(
    ("top", "below", "told"),
    [
        (
            "",
            '[unsubscribe]\nurl = "http://mail.harbour.example"',
            (
                '[unsubscribe] url = "http://mail.harbour.example": a link to '
                "unsubscribe must be https: RFC 8058"
            ),
        ),
        (
            "",
            '[unsubscribe]\nurl = "https://mail.harbour.example/?a=>"',
            (
                '[unsubscribe] url = "https://mail.harbour.example/?a=>": write '
                '"https://mail.example.com"'
            ),
        ),
        ("", "[unsubscribe]", "[unsubscribe] url is missing: where `mailvolley"),
        (
            "",
            '[unsubscribe]\nurl = "https://a.example"\nmailto = "Us <a@b.example>"',
            '[unsubscribe] mailto = "Us <a@b.example>": write a bare "address@domain"',
        ),
        (
            "start_by = 2026-12-24T18:00:00",
            "",
            "needs its offset from UTC: 2026-12-24T18:00:00+01:00",
        ),
        (
            'start_by = "soon"',
            "",
            "write a moment without quotes: 2026-12-24T18:00:00+01:00",
        ),
        (
            "",
            '[canary]\nwait = "soon"',
            '[canary] wait = "soon": write a duration: "1h 30m"',
        ),
        (
            "",
            '[canary]\nwait = "4s"',
            '"2d" or "PT1H30M", or a number of seconds: 90',
        ),
        (
            "",
            '[canary]\nshare = "10%"',
            '[canary] share = "10%": write a share: 0.1 for 10 %',
        ),
        (
            "",
            "[variants]\nname = 'b'\nshare = 0.1",
            "[variants]: write [[variants]], with two brackets, once for each",
        ),
        ("expect = { min = 9, max = 3 }", "", "[expect] has max 3 below min 9"),
        ("", "[stop]\nrejected_share = 5", "rejected_share = 5: must be below 1"),
        ("", '[lint]\nallow = ["postal"]', '"postal" is no rule'),
    ],
)
def test_what_a_guard_cannot_be_is_told(
    tmp_path: Path, top: str, below: str, told: str
) -> None:
    """A wrong value is told with its place and what to write."""
    with pytest.raises(CampaignError) as caught:
        loaded(tmp_path, top, below)
    assert told in str(caught.value)


def test_a_link_may_lead_to_this_machine_without_tls(tmp_path: Path) -> None:
    """A rehearsal needs no certificate."""
    below = '[unsubscribe]\nurl = "http://127.0.0.1:8026"'
    assert loaded(tmp_path, below=below).unsubscribe is not None
