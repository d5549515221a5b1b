"""Claims about `engine.events.roster`: whose event is it, and whose it is not."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from engine.event import Event, EventType
from engine.events import By, Roster
from engine.outcome import Status

RUN = "20261120T100000Z-000000"
PLANNED_AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
OURS = {"run": RUN}
#: Address, message id, provider's id, status: by row.
ROWS = [
    ("ann@x.example", "id-ann", "msg-ann", Status.ACCEPTED),
    ("bob@x.example", "id-bob", None, Status.IN_DOUBT),
    ("Cy@X.example", "id-cy", None, Status.IN_DOUBT),
    ("nobody", "id-nobody", None, Status.INVALID),
    ("ann@x.example", "id-ann", None, Status.DUPLICATE),
    ("dee@x.example", "id-dee", None, Status.REJECTED),
    ("eve@x.example", "id-eve", "msg-shared", Status.ACCEPTED),
    ("fay@x.example", "id-fay", "msg-shared", Status.ACCEPTED),
    ("gus", "id-gus", None, Status.INVALID),
    ("gus@x.example", "id-gus", None, Status.IN_DOUBT),
]


@pytest.fixture(params=[1, 3, 10])
def roster(request: pytest.FixtureRequest) -> Roster:
    """Make a roster of the rows above, from pieces of different sizes."""
    frame = pl.DataFrame(
        [(row, *known) for row, known in enumerate(ROWS)],
        schema={
            "row": pl.UInt64,
            "address": pl.String,
            "message_id": pl.String,
            "provider_id": pl.String,
            "status": pl.String,
        },
        orient="row",
    )
    made = Roster(RUN, PLANNED_AT)
    for piece in frame.iter_slices(request.param):
        made.add(piece)
    return made


def event(
    *,
    message_id: str | None = None,
    provider_id: str | None = None,
    recipient: str | None = None,
    metadata: Mapping[str, object] | None = None,
    happened_at: datetime | None = PLANNED_AT,
) -> Event:
    """Make an event with what tells whose it is."""
    return Event(
        type=EventType.DELIVERED,
        provider="cloudmails",
        provider_id=provider_id,
        recipient=recipient,
        message_id=message_id,
        metadata=metadata or {},
        happened_at=happened_at,
        raw="delivered",
        reject_reason=None,
        description=None,
    )


def whose(roster: Roster, asked: Event) -> tuple[int | None, By]:
    """Ask of one event."""
    (match,) = roster.matches([asked])
    assert match.event is asked
    return match.row, match.by


def test_our_own_id_decides_first(roster: Roster) -> None:
    """Whatever the provider's id and the address say."""
    asked = event(message_id="id-bob", provider_id="msg-ann", recipient="dee@x.example")
    assert whose(roster, asked) == (1, By.MESSAGE_ID)


def test_the_row_that_was_mailed_is_found_and_not_its_double(roster: Roster) -> None:
    """A row that is left out may have the id of one before it, or after."""
    assert whose(roster, event(message_id="id-ann")) == (0, By.MESSAGE_ID)
    assert whose(roster, event(message_id="id-gus")) == (9, By.MESSAGE_ID)


def test_a_row_that_was_never_mailed_is_found_by_its_own_id(roster: Roster) -> None:
    """An event about it is worth telling."""
    assert whose(roster, event(message_id="id-nobody")) == (3, By.MESSAGE_ID)


def test_without_our_id_the_providers_decides(roster: Roster) -> None:
    """The id that the provider's answer gave."""
    asked = event(provider_id="msg-ann", recipient="bob@x.example")
    assert whose(roster, asked) == (0, By.PROVIDER_ID)


def test_a_providers_id_of_two_rows_is_nobodys(roster: Roster) -> None:
    """Some providers have one id for a whole batch: then it tells nothing."""
    assert whose(roster, event(provider_id="msg-shared")) == (None, By.NOTHING)


@pytest.mark.parametrize("written", ["cy@x.example", " CY@x.example ", "Cy@X.example"])
def test_the_address_decides_last_and_in_any_case(roster: Roster, written: str) -> None:
    """Providers write addresses in lower case."""
    asked = event(provider_id="msg-new", recipient=written)
    assert whose(roster, asked) == (2, By.ADDRESS)


@pytest.mark.parametrize("recipient", ["ann@x.example", "dee@x.example", "nobody"])
def test_an_address_accuses_nobody(roster: Roster, recipient: str) -> None:
    """Mail to somebody who is not in doubt may be any other mail."""
    assert whose(roster, event(recipient=recipient)) == (None, By.NOTHING)


def test_an_address_without_a_moment_proves_nothing(roster: Roster) -> None:
    """It could be last year's mail; unless the event names this run."""
    asked = event(recipient="bob@x.example", happened_at=None)
    assert whose(roster, asked) == (None, By.NOTHING)
    named = event(recipient="bob@x.example", happened_at=None, metadata=OURS)
    assert whose(roster, named) == (1, By.ADDRESS)


@pytest.mark.parametrize(
    "known",
    [
        {"message_id": "id-bob"},
        {"provider_id": "msg-ann"},
        {"recipient": "bob@x.example"},
    ],
)
def test_what_is_of_another_run_is_not_ours(
    roster: Roster, known: dict[str, str]
) -> None:
    """A message keeps its id in every run: the run it names, or its age, tells."""
    other = event(**known, metadata={"run": "20250101T100000Z-000000"})
    early = PLANNED_AT - timedelta(minutes=5)
    assert whose(roster, other) == (None, By.NOTHING)
    assert whose(roster, event(**known, happened_at=early)) == (None, By.NOTHING)


def test_a_clock_that_is_a_little_slow_does_not_hide_an_event(roster: Roster) -> None:
    """Within two minutes before the plan it is ours; and always if it names the run."""
    late = PLANNED_AT - timedelta(seconds=100)
    early = PLANNED_AT - timedelta(days=1)
    assert whose(roster, event(message_id="id-bob", happened_at=late))[0] == 1
    named = event(message_id="id-bob", happened_at=early, metadata=OURS)
    assert whose(roster, named)[0] == 1


@pytest.mark.parametrize("known", [{}, {"message_id": "id-stranger"}])
def test_who_names_the_run_and_nobody_in_it_is_told_apart(
    roster: Roster, known: dict[str, str]
) -> None:
    """That is no other mail: it claims to be ours."""
    assert whose(roster, event(**known, metadata=OURS)) == (None, By.RUN_ALONE)
    assert whose(roster, event(**known)) == (None, By.NOTHING)


def test_an_unknown_id_of_ours_is_not_replaced_by_the_address(roster: Roster) -> None:
    """It is a message of another campaign to the same person."""
    asked = event(message_id="id-other", recipient="bob@x.example")
    assert whose(roster, asked) == (None, By.NOTHING)


def test_statuses_are_kept_by_row(roster: Roster) -> None:
    """What we hold of each row can be asked."""
    assert [roster.status(row) for row in range(10)] == [known[3] for known in ROWS]
    assert len(roster) == 10


@pytest.mark.slow
def test_events_keep_their_order_over_many_pieces(roster: Roster) -> None:
    """More events than are held at a time come out as they went in."""
    names = ["bob", "cy", "dee", "who"]
    asked = (event(message_id=f"id-{names[n % 4]}") for n in range(25_001))
    rows = [match.row for match in roster.matches(asked)]
    assert rows == [(1, 2, 5, None)[n % 4] for n in range(25_001)]


def test_an_empty_roster_finds_nobody() -> None:
    """A run without rows, or without rows in doubt, is no special case."""
    roster = Roster(RUN, PLANNED_AT)
    roster.add(
        pl.DataFrame(
            schema={
                "row": pl.UInt64,
                "address": pl.String,
                "message_id": pl.String,
                "provider_id": pl.String,
                "status": pl.String,
            }
        )
    )
    asked = event(message_id="a", provider_id="b", recipient="c")
    assert whose(roster, asked) == (None, By.NOTHING)
