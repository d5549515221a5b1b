"""Claims about the sender and the numbers of a run: rules L14, L30, L32, L40 to L46."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from engine.campaign import Campaign
from engine.lint import Finding, Severity, audience, sender
from engine.lint.audience import Before, Circumstances

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN = Circumstances(now=NOW, rows=1000, mailable=900, templates={"a": "1"})
BEFORE = Before(rows=1000, mailable=900, templates={"a": "1"}, ended_at=NOW)
CAMPAIGN = """
name = "letter"
{top}
[message]
from = "Shop <shop@harbour.example>"
subject = "s"
text = "t"
{message}
[provider]
name = "mailerlogic"
{below}
"""


def campaign(top: str = "", below: str = "", message: str = "") -> Campaign:
    """Return a campaign with something in it."""
    text = CAMPAIGN.format(top=top, below=below, message=message)
    return Campaign.model_validate(tomllib.loads(text))


def look(run: Circumstances, top: str = "", below: str = "") -> list[Finding]:
    """Look at what a run is about to begin with."""
    return list(audience.look(campaign(top, below), run))


def told(found: list[Finding]) -> list[tuple[str, str, str]]:
    """Return rule, severity and sentence of each finding."""
    return [(finding.id, finding.severity.value, finding.text) for finding in found]


def test_an_ordinary_run_begins_without_a_word() -> None:
    """Neither the first run nor the next is found fault with."""
    assert [] == look(RUN)
    assert [] == look(replace(RUN, before=BEFORE))


def test_l14_a_list_of_another_size_is_told() -> None:
    """Rule L14: a third more or less than the last time may be the wrong file."""
    grown = replace(RUN, rows=1301, before=BEFORE)
    wanted = ("L14", "warning", "1,301 rows, +30% against the last run")
    assert [wanted] == told(look(grown))
    assert [] == look(replace(grown, rows=1300))
    assert [] == look(replace(grown, partial=True))


def test_l14_a_change_beyond_what_is_expected_is_refused() -> None:
    """Rule L14 is an error where the campaign says how much may change."""
    shrunk = replace(RUN, rows=700, before=BEFORE)
    (found,) = look(shrunk, below="[expect]\nchange = 0.2")
    assert found.severity is Severity.ERROR
    assert "-30% against the last run; [expect] change is 0.2" in found.text
    assert [] == look(shrunk, below="[expect]\nchange = 0.5")


@pytest.mark.parametrize(
    ("below", "text"),
    [
        ("[expect]\nmin = 901", "900 are to be mailed, and [expect] min is 901"),
        ("[expect]\nmax = 899", "900 are to be mailed, and [expect] max is 899"),
    ],
)
def test_l14_an_audience_out_of_range_is_refused(below: str, text: str) -> None:
    """Rule L14 holds the campaign's range, but not of a part of the list."""
    assert [("L14", "error", text)] == told(look(RUN, below=below))
    assert [] == look(replace(RUN, partial=True), below=below)


def test_l14_more_than_the_command_line_allows_is_refused() -> None:
    """Rule L14: --max-recipients holds whatever else is said."""
    run = replace(RUN, max_recipients=899, partial=True)
    text = "900 are to be mailed, and --max-recipients is 899"
    assert [("L14", "error", text)] == told(look(run))
    assert [] == look(replace(run, max_recipients=900))


def test_l30_the_sender_must_be_of_the_domain_that_sends() -> None:
    """Rule L30, as far as the campaign file tells."""
    assert [] == list(sender.look(campaign(below='domain = "harbour.example"')))
    assert [] == list(sender.look(campaign()))
    (found,) = sender.look(campaign(below='domain = "other.example"'))
    assert ("L30", Severity.ERROR) == (found.id, found.severity)


def test_l32_a_sender_that_is_none_is_told() -> None:
    """Rule L32 looks again at what a program may have changed."""
    good = campaign()
    assert [] == list(sender.look(good))
    message = good.message.model_copy(update={"reply_to": "Shop <shop>"})
    (found,) = sender.look(good.model_copy(update={"message": message}))
    assert "L32" == found.id
    assert "[message] reply_to" in found.text


def test_l40_a_secret_in_a_header_is_told() -> None:
    """Rule L40 looks at the campaign's own texts, and does not show them."""
    text = 'headers = { X-Key = "Bearer abcdefghij0123456789" }'
    (found,) = sender.look(campaign(message=text))
    assert "L40" == found.id
    assert "abcdefghij" not in found.text


def test_l41_a_day_without_news_is_told() -> None:
    """Rule L41: who said no after the last run may not be known."""
    ended = replace(BEFORE, ended_at=NOW - timedelta(hours=25))
    run = replace(RUN, before=ended)
    (found,) = look(run)
    assert ("L41", Severity.WARNING) == (found.id, found.severity)
    assert [] == look(replace(run, heard_at=NOW - timedelta(hours=23)))
    assert [] == look(run, top='kind = "transactional"')
    assert [] == look(replace(run, rehearsal=True))


def test_l42_a_disk_without_room_is_refused() -> None:
    """Rule L42 is asked before the first row is written."""
    need = 1000 * audience.ROW_BYTES + 5
    run = replace(RUN, frozen=5, free=need - 1)
    (found,) = look(run)
    assert ("L42", Severity.ERROR) == (found.id, found.severity)
    assert [] == look(replace(run, free=need))


def test_l43_a_late_start_is_refused() -> None:
    """Rule L43: Friday's offer is not sent on Monday; a rehearsal may be late."""
    top = "start_by = 2026-11-20T11:59:59Z"
    (found,) = look(RUN, top=top)
    assert ("L43", Severity.ERROR) == (found.id, found.severity)
    assert [] == look(RUN, top="start_by = 2026-11-20T12:00:00Z")
    assert [] == look(replace(RUN, rehearsal=True), top=top)


def test_l44_new_templates_for_many_without_a_canary_are_told() -> None:
    """Rule L44: a few first cost minutes."""
    run = replace(RUN, mailable=1000)
    (found,) = look(run)
    assert ("L44", Severity.WARNING) == (found.id, found.severity)
    assert [] == look(run, below="[canary]")
    assert [] == look(replace(run, before=BEFORE))
    changed = replace(BEFORE, templates={"a": "2"})
    assert ["L44"] == [f.id for f in look(replace(run, before=changed))]
    assert [] == look(run, top='kind = "transactional"')


def test_l45_a_key_that_is_soon_forgotten_is_told() -> None:
    """Rule L45: a replay must come before the provider forgets."""
    assert ["L45"] == [f.id for f in look(replace(RUN, key_seconds=60.0))]
    assert [] == look(replace(RUN, key_seconds=86_400.0))


def test_l46_the_providers_own_list_is_fetched_before() -> None:
    """Rule L46: never, or more than a day ago; not where there is none to fetch."""
    never = replace(RUN, keeps_list=True)
    said = "the provider's own suppression list was fetched"
    assert [("L46", "warning", f"{said} never")] == told(look(never))
    old = replace(never, fetched_at=NOW - timedelta(hours=25))
    when = "last 2026-11-19 11:00 UTC"
    assert [("L46", "warning", f"{said} {when}")] == told(look(old))
    assert [] == look(replace(never, fetched_at=NOW - timedelta(hours=24)))
    assert [] == look(replace(never, rehearsal=True))
