"""An invitation for one recipient, RFC 5545, with the same bytes on every attempt.

Times are written in UTC: a single event needs no zone of its own, every calendar shows
it in its reader's, and the 4 kB that describe a zone are saved. Days are days anywhere.
Built with icalendar, some 300 us each (2026-11-20).

Source:
    RFC 5545, 3.6.1 and 3.8; RFC 5546, 3.2 (who is named in REQUEST, PUBLISH, CANCEL).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from email.utils import parseaddr

PRODUCT = "-//mailvolley//mailvolley//EN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an invitation is to say.

    Attributes:
        stamp: when it was written: the run's date, UTC.
        end: None: `duration` says it, or it is one day.
        zone: of moments without one.
        attendee: a bare address, and the name to it or "".
    """

    uid: str
    stamp: datetime
    method: str
    sequence: int
    summary: str
    start: date | datetime
    end: date | datetime | None
    duration: timedelta | None
    zone: tzinfo | None
    organizer: str
    attendee: tuple[str, str]
    location: str | None
    description: str | None
    url: str | None
    alarm_minutes: int | None


def write(event: Event) -> str:
    """Return an invitation, with CRLF.

    Raises:
        ValueError: its moments do not make sense, with a sentence.
    """
    from icalendar import Alarm, Calendar, vCalAddress, vUri  # noqa: PLC0415 - slow
    from icalendar import Event as Entry  # noqa: PLC0415

    start, end = _span(event)
    entry = Entry()
    entry.add("uid", event.uid)
    entry.add("dtstamp", event.stamp)
    entry.add("sequence", event.sequence)
    entry.add("status", "CANCELLED" if event.method == "CANCEL" else "CONFIRMED")
    entry.add("dtstart", start)
    entry.add("dtend", end)
    for name in ("summary", "location", "description"):
        if value := getattr(event, name):
            entry.add(name, value)
    if event.url:
        entry.add("url", vUri(event.url))
    name, address = parseaddr(event.organizer)
    organizer = vCalAddress(f"mailto:{address}")
    if name:
        organizer.params["CN"] = _parameter(name)
    entry.add("organizer", organizer)
    if event.method != "PUBLISH":
        address, name = event.attendee
        attendee = vCalAddress(f"mailto:{address}")
        attendee.params["CN"] = _parameter(name or address)
        attendee.params["ROLE"] = "REQ-PARTICIPANT"
        if event.method == "REQUEST":
            attendee.params["PARTSTAT"] = "NEEDS-ACTION"
            attendee.params["RSVP"] = "TRUE"
        entry.add("attendee", attendee)
    if event.alarm_minutes is not None and event.method != "CANCEL":
        alarm = Alarm()
        alarm.add("action", "DISPLAY")
        alarm.add("description", event.summary)
        alarm.add("trigger", -timedelta(minutes=event.alarm_minutes))
        entry.add_component(alarm)
    whole = Calendar()
    whole.add("prodid", PRODUCT)
    whole.add("version", "2.0")
    whole.add("method", event.method)
    whole.add_component(entry)
    return str(whole.to_ical(), "utf-8")


def _span(event: Event) -> tuple[date | datetime, date | datetime]:
    """Return start and end: two days, or two times in UTC."""
    start, end = _fixed(event.start, event.zone), event.end
    if end is None:
        length = event.duration
        if length is None and isinstance(start, datetime):
            raise ValueError("it has no end: write end or duration")
        length = length or timedelta(days=1)
        if not isinstance(start, datetime) and length % timedelta(days=1):
            raise ValueError("a day lasts whole days: give start a time, too")
        return start, start + length
    end = _fixed(end, event.zone)
    if isinstance(start, datetime) is not isinstance(end, datetime):
        raise ValueError("start and end must both be days, or both times")
    if end <= start:
        raise ValueError(f"it ends before it starts: {event.start} to {event.end}")
    return start, end


def _fixed(moment: date | datetime, zone: tzinfo | None) -> date | datetime:
    """Return a day as it is, and a time in UTC."""
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{moment} has no time zone: write timezone")
        moment = moment.replace(tzinfo=zone)
    # The clocks of calendars know seconds.
    return moment.astimezone(UTC).replace(microsecond=0)


def _parameter(value: str) -> str:
    """Return what may stand in a parameter: RFC 5545, 3.2 knows no quotation marks."""
    return value.replace('"', "'")
