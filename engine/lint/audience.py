"""The numbers of a run: how many, how much room, how late, how new."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from engine.campaign import Campaign, Expect
from engine.lint.rule import Finding, Severity

#: The change against the last run from which it is told.
CHANGE: Final = 0.3
#: Bytes that a run takes on the disk for a row, beside the frozen list: the journal and
#: the results, written aside first. To be safe rather than exact.
ROW_BYTES: Final = 300
#: Marketing to so many with templates that nobody has seen yet is told.
MANY: Final = 1000
#: Seconds for which a request may be under way.
_SECONDS_UNDER_WAY: Final = 60.0
#: How long nothing heard of events is well.
_SILENCE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the campaign's last run.

    Attributes:
        rows: input rows.
        mailable: rows that were to be mailed.
        templates: hashes of its templates, by name.
        ended_at: when it ended, UTC; None if it did not.
    """

    rows: int
    mailable: int
    templates: dict[str, str]
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a run is about to begin with.

    Attributes:
        now: UTC.
        rows: input rows.
        mailable: rows to be mailed.
        max_recipients: what the user allows; None: any number.
        free: bytes free on the disk of the runs; None: not known.
        frozen: bytes of the frozen list.
        templates: hashes of the templates, by name.
        before: the last run; None: there was none.
        heard_at: when an event came in last; None: never, or not known.
        keeps_list: whether the provider gives out a suppression list of its own.
        fetched_at: when that was fetched last; None: never, or not known.
        rehearsal: whether nobody is mailed.
        partial: whether it is known to be only a part of the list, as with --limit.
        drain: seconds that a stop may take.
        key_seconds: how long the provider remembers a request; 0: it does not.
    """

    now: datetime
    rows: int
    mailable: int
    max_recipients: int | None = None
    free: int | None = None
    frozen: int = 0
    templates: dict[str, str]
    before: Before | None = None
    heard_at: datetime | None = None
    keeps_list: bool = False
    fetched_at: datetime | None = None
    rehearsal: bool = False
    partial: bool = False
    drain: float = 20.0
    key_seconds: float = 0.0


def look(campaign: Campaign, run: Circumstances) -> Iterator[Finding]:
    """Look at what a run is about to begin with."""
    yield from _size(campaign, run)
    if run.free is not None and run.free < (need := run.frozen + run.rows * ROW_BYTES):
        told = f"the run takes some {need:,} bytes, and {run.free:,} are free"
        yield Finding.of("L42", told)
    if run.rehearsal:
        return
    if campaign.start_by is not None and run.now > campaign.start_by:
        yield Finding.of("L43", _late(campaign, run))
    yield from _since(campaign, run)
    if run.keeps_list and (
        run.fetched_at is None or run.now - run.fetched_at > _SILENCE
    ):
        when = "never" if run.fetched_at is None else f"last {_said(run.fetched_at)}"
        told = f"the provider's own suppression list was fetched {when}"
        yield Finding.of("L46", told)
    if 0 < run.key_seconds < run.drain + 2 * _SECONDS_UNDER_WAY:
        told = f"a request is remembered for {run.key_seconds:g} s"
        yield Finding.of("L45", told)


def passed_over(campaign: Campaign, run: Circumstances) -> Iterator[str]:
    """Say which guards hold nobody back this time, a sentence each."""
    late = campaign.start_by is not None and run.now > campaign.start_by
    if run.rehearsal and late and "L43" not in campaign.lint.allow:
        told = _late(campaign, run)
        yield f"{told}: passed over in a rehearsal; for real it is refused"
    if run.partial and campaign.expect is not None:
        yield "[expect] is passed over, for this is only a part of the list"


def too_many(
    count: int, *, most: int | None, expect: Expect | None
) -> Iterator[Finding]:
    """Say whether more are to be mailed than is allowed.

    Args:
        count: so many are to be mailed, or wait in a run that is taken up.
        most: what --max-recipients allows; None: any number.
        expect: what the campaign expects; None: nothing.
    """
    for name, limit, mend in (
        ("--max-recipients", most, "raise --max-recipients"),
        ("[expect] max", None if expect is None else expect.max, "mend [expect]"),
    ):
        if limit is not None and count > limit:
            told = f"{count:,} are to be mailed, and {name} is {limit:,}"
            remedy = f"look whether the list is the right one; else {mend}"
            yield Finding.of("L14", told, severity=Severity.ERROR, remedy=remedy)


def _size(campaign: Campaign, run: Circumstances) -> Iterator[Finding]:
    count = run.mailable
    expect = None if run.partial else campaign.expect
    yield from too_many(count, most=run.max_recipients, expect=expect)
    if run.partial:
        return
    if expect is not None and expect.min is not None and count < expect.min:
        told = f"{count:,} are to be mailed, and [expect] min is {expect.min:,}"
        yield Finding.of("L14", told, severity=Severity.ERROR)
    if run.before is None or not run.before.rows:
        return
    change = run.rows - run.before.rows
    share = change / run.before.rows
    told = f"{run.rows:,} rows, {share:+.0%} against the last run"
    if expect is not None and expect.change is not None:
        if abs(change) > expect.change * run.before.rows:
            told += f"; [expect] change is {expect.change:g}"
            yield Finding.of("L14", told, severity=Severity.ERROR)
    elif abs(change) > CHANGE * run.before.rows:
        yield Finding.of("L14", told)


def _since(campaign: Campaign, run: Circumstances) -> Iterator[Finding]:
    """Say what the runs before tell."""
    marketing, before = campaign.kind == "marketing", run.before
    is_new = before is None or before.templates != run.templates
    if marketing and is_new and run.mailable >= MANY and campaign.canary is None:
        told = f"{run.mailable:,} get what nobody has got before, all at once"
        yield Finding.of("L44", told)
    if before is None or before.ended_at is None or not marketing:
        return
    latest = max(before.ended_at, run.heard_at or before.ended_at)
    if run.now - latest > _SILENCE:
        told = (
            f"no event has come in since the last run ended, {_said(before.ended_at)}"
            if run.heard_at is None or run.heard_at <= before.ended_at
            else f"the last event came in {_said(run.heard_at)}"
        )
        yield Finding.of("L41", told)


def _late(campaign: Campaign, run: Circumstances) -> str:
    by = "" if campaign.start_by is None else campaign.start_by.isoformat()
    return f"start_by = {by}, and it is {_said(run.now)}"


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
