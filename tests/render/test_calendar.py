"""Claims about `engine.render.calendar`: what an invitation says, to the byte."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import icalendar
import pytest

from engine.render.calendar import Event, write

LISBON = ZoneInfo("Europe/Lisbon")
EVENT = Event(
    uid="m-1",
    stamp=datetime(2026, 11, 20, 10, 11, 12, 345, tzinfo=UTC),
    method="REQUEST",
    sequence=2,
    summary="Twenty years; and a cake",
    start=datetime(2026, 7, 1, 19, 30),  # noqa: DTZ001 - its zone is the event's
    end=None,
    duration=timedelta(minutes=90),
    zone=LISBON,
    organizer='"Books, Harbour" <events@harbour.example>',
    attendee=("ann@inbox.example", 'Ann "A" Lee'),
    location="Quay, 3",
    description="Bring:\n- a book",
    url="https://harbour.example/?a=1,2;3",
    alarm_minutes=30,
)


def entry(event: Event) -> icalendar.Component:
    """Read an invitation back, and return its event."""
    (found,) = icalendar.Calendar.from_ical(write(event)).events
    return found


def test_invitation_is_what_was_asked_for() -> None:
    """Every property, its parameters and its escapes, in lines with CRLF."""
    wanted = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//mailvolley//mailvolley//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        "SUMMARY:Twenty years\\; and a cake",
        "DTSTART:20260701T183000Z",
        "DTEND:20260701T200000Z",
        "DTSTAMP:20261120T101112Z",
        "UID:m-1",
        "SEQUENCE:2",
        "ATTENDEE;CN=\"Ann 'A' Lee\";PARTSTAT=NEEDS-ACTION;ROLE=REQ-PARTICIPANT;RSVP=",
        " TRUE:mailto:ann@inbox.example",
        "DESCRIPTION:Bring:\\n- a book",
        "LOCATION:Quay\\, 3",
        'ORGANIZER;CN="Books, Harbour":mailto:events@harbour.example',
        "STATUS:CONFIRMED",
        "URL:https://harbour.example/?a=1,2;3",
        "BEGIN:VALARM",
        "ACTION:DISPLAY",
        "DESCRIPTION:Twenty years\\; and a cake",
        "TRIGGER:-PT30M",
        "END:VALARM",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    assert wanted == write(EVENT).split("\r\n")


def test_same_event_has_the_same_bytes() -> None:
    """However often it is written: its date is the run's."""
    assert write(EVENT) == write(replace(EVENT))


def test_no_line_is_longer_than_75_bytes_and_no_letter_is_cut() -> None:
    """RFC 5545, 3.1."""
    text = write(replace(EVENT, description="ü😀" * 100))
    assert max(len(line.encode()) for line in text.split("\r\n")) <= 75
    assert "ü😀" * 100 == entry(replace(EVENT, description="ü😀" * 100))["DESCRIPTION"]


def test_publish_names_nobody_and_cancel_asks_for_no_answer() -> None:
    """RFC 5546, 3.2.1 and 3.2.5."""
    published = write(replace(EVENT, method="PUBLISH"))
    assert "ATTENDEE" not in published
    assert "METHOD:PUBLISH\r\n" in published
    cancelled = write(replace(EVENT, method="CANCEL"))
    assert "STATUS:CANCELLED\r\n" in cancelled
    assert "ATTENDEE" in cancelled
    assert "RSVP" not in cancelled
    assert "VALARM" not in cancelled


@pytest.mark.parametrize(
    ("start", "end", "length", "wanted"),
    [
        (date(2026, 12, 20), None, None, date(2026, 12, 21)),
        (date(2026, 12, 20), None, timedelta(days=3), date(2026, 12, 23)),
        (date(2026, 12, 20), date(2026, 12, 22), None, date(2026, 12, 22)),
    ],
)
def test_days_are_days(
    start: date, end: date | None, length: timedelta | None, wanted: date
) -> None:
    """Without an end it is one; the end is the day after the last."""
    found = entry(replace(EVENT, start=start, end=end, duration=length))
    assert (start, wanted) == (found.start, found.end)
    assert "DTSTART;VALUE=DATE:20261220" in write(
        replace(EVENT, start=start, end=end, duration=length)
    )


def test_time_with_a_zone_of_its_own_keeps_it() -> None:
    """The campaign's zone is for those without one; summer time is known."""
    start = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert (
        datetime(2026, 1, 1, 3, tzinfo=UTC) == entry(replace(EVENT, start=start)).start
    )
    winter = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - its zone is the event's
    berlin = replace(EVENT, start=winter, zone=ZoneInfo("Europe/Berlin"))
    assert datetime(2026, 1, 1, 11, tzinfo=UTC) == entry(berlin).start


NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = date(2026, 7, 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"zone": None}, "has no time zone"),
        ({"duration": None}, "it has no end"),
        ({"start": NOON, "end": NOON}, "ends before it starts"),
        ({"start": NOON, "end": DAY}, "both be days"),
        ({"start": DAY, "end": NOON}, "both be days"),
        ({"start": DAY, "end": DAY}, "ends before it starts"),
        ({"start": DAY, "duration": timedelta(hours=30)}, "whole days"),
    ],
)
def test_moments_that_make_no_sense_are_told(
    changes: dict[str, object], told: str
) -> None:
    """In a sentence, and no invitation is written."""
    with pytest.raises(ValueError, match=told):
        write(replace(EVENT, **changes))


def test_text_cannot_add_a_property() -> None:
    """Line ends of a value are escaped, quotation marks of a name are replaced."""
    evil = 'x\r\nATTENDEE:mailto:evil@x.example\r\n";X=Y:mailto:e@x.example'
    for changes in (
        {"summary": evil},
        {"location": evil},
        {"description": evil},
        {"uid": evil},
        {"attendee": ("ann@inbox.example", evil)},
    ):
        found = entry(replace(EVENT, **changes))
        assert not isinstance(found["ATTENDEE"], list)
        assert "mailto:ann@inbox.example" == found["ATTENDEE"]
        assert "X" not in found["ATTENDEE"].params
    with pytest.raises(ValueError, match="CR or LF"):
        write(replace(EVENT, url=evil))
