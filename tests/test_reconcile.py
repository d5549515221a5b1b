"""Claims about `engine.reconcile`: what ends a doubt, and what never does."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from handmade import Handmade, Stroke, make

from engine import rundir
from engine.errors import EventsError, RunError, RunLocked
from engine.journal import Journal
from engine.outcome import Status
from engine.reconcile import Reconciled, reconcile
from engine.record import BatchState
from engine.rundir import RunDirectory

#: Rows 0 to 2 are accepted, 3 to 5 and 6 to 8 in doubt, 9 is refused.
STROKES: list[Stroke] = [
    ("accepted", [0, 1, 2]),
    ("doubt", [3, 4, 5]),
    ("doubt", [6, 7, 8]),
    ("rejected", [9]),
]


@pytest.fixture
def run(tmp_path: Path) -> Handmade:
    """Make a finished run with two batches in doubt."""
    return make(tmp_path, STROKES)


def apply(run: Handmade, *posts: object) -> Reconciled:
    """Reconcile a run with some posts."""
    return trio.run(reconcile, run.directory, run.events(*posts))


def name(row: int) -> str:
    """Return what the run holds of a row before anything is reconciled."""
    return ("accepted", "in_doubt", "in_doubt", "rejected")[row // 3]


def states(run: Handmade) -> list[BatchState]:
    """Return the states of the run's batches."""
    with Journal.open(run.directory.journal) as journal:
        return [batch.state for batch in journal.batches()]


@pytest.mark.parametrize(
    "word",
    [
        "sent",
        "delivered",
        "deferred",
        "bounced",
        "opened",
        "clicked",
        "complained",
        "unsubscribed",
        "email.delivered",
    ],
)
def test_what_only_a_taken_message_can_do_settles_as_accepted(
    run: Handmade, word: str
) -> None:
    """The row is accepted, with the provider's id and the reason in the results."""
    happened_at = datetime.now(UTC).replace(microsecond=0)
    told = apply(run, run.post(4, word, timestamp=happened_at.isoformat()))
    row = run.results().row(4, named=True)

    assert told.settled == {Status.ACCEPTED: 1}
    assert (row["status"], row["reason"]) == ("accepted", "reconciled")
    assert row["provider_id"] == "msg_4"
    assert row["detail"] == f"{word} at {happened_at.isoformat()}"
    assert row["settled_at"] >= happened_at
    others = run.results().filter(run.results()["row"] != 4)
    assert others["status"].to_list() == [name(row) for row in range(10) if row != 4]


def test_a_refusal_settles_as_rejected(run: Handmade) -> None:
    """The provider had it and did not send it, in its own words."""
    told = apply(run, run.post(3, "failed", bounce_reason="no such domain"))
    row = run.results().row(3, named=True)

    assert told.settled == {Status.REJECTED: 1}
    assert (row["status"], row["reason"]) == ("rejected", "reconciled")
    assert "no such domain" in row["detail"]


@pytest.mark.parametrize("words", [("delivered", "failed"), ("failed", "delivered")])
def test_a_proof_of_acceptance_outweighs_a_refusal(
    run: Handmade, words: tuple[str, str]
) -> None:
    """In either order: accepted is not delivered."""
    told = apply(run, *[run.post(3, word) for word in words])
    assert told.settled == {Status.ACCEPTED: 1}
    assert told.contradictions == 0


@pytest.mark.parametrize("word", ["read_aloud", "ping"])
def test_an_unknown_word_proves_nothing(run: Handmade, word: str) -> None:
    """What we do not understand ends no doubt."""
    told = apply(run, run.post(3, word))
    assert told.settled == {}
    assert run.statuses()[3] == "in_doubt"


def test_silence_proves_nothing(run: Handmade) -> None:
    """Rows without an event stay in doubt; without any event nothing changes."""
    before = run.results()
    told = apply(run)
    assert told.events == 0
    assert told.counts[Status.IN_DOUBT] == 6
    assert run.results().equals(before)


def test_the_counts_are_those_of_the_results(run: Handmade) -> None:
    """Every status is there, and their sum is the list."""
    told = apply(run, run.post(3), run.post(4), run.post(5), run.post(6, "failed"))
    assert sum(told.counts.values()) == 10
    assert {s: n for s, n in told.counts.items() if n} == {
        Status.ACCEPTED: 6,
        Status.REJECTED: 2,
        Status.IN_DOUBT: 2,
    }
    assert told.counts.keys() == set(Status)


def test_a_batch_whose_rows_are_all_found_is_done(run: Handmade) -> None:
    """Else it would be sent again with those of which nothing is known."""
    apply(run, run.post(3), run.post(4))
    assert states(run)[1] is BatchState.IN_DOUBT
    apply(run, run.post(5, "failed"), run.post(6))
    assert states(run)[1:3] == [BatchState.DONE, BatchState.IN_DOUBT]
    assert run.results()["provider_id"][3:6].to_list() == ["msg_3", "msg_4", "msg_5"]
    assert run.statuses()[3:7] == ["accepted", "accepted", "rejected", "accepted"]


def test_doing_it_again_changes_nothing(run: Handmade) -> None:
    """The same events, and later ones of the same rows, are harmless."""
    apply(run, run.post(3), run.post(4, "failed"))
    before = run.results()
    again = apply(run, run.post(3), run.post(4, "failed"), run.post(3, "opened"))
    assert again.settled == {}
    assert again.contradictions == 0
    assert run.results().equals(before)


def test_by_the_address_when_nothing_else_is_there(run: Handmade) -> None:
    """A post without our id, of a message whose id we never got; it is told so."""
    told = apply(run, run.post(3, custom_args=None, recipient="READER3@inbox.example"))
    assert (told.settled, told.by_address) == ({Status.ACCEPTED: 1}, 1)
    assert "known by the address alone" in run.results()["detail"][3]


@pytest.mark.parametrize(
    "changes",
    [
        {"custom_args": {"message_id": "another", "run": "another"}},
        {"custom_args": {"message_id": "another"}},
        {"custom_args": None, "timestamp": "2020-01-01T00:00:00Z"},
        {"custom_args": None, "timestamp": None},
        {"custom_args": None, "recipient": "stranger@inbox.example"},
    ],
)
def test_other_mail_of_the_account_is_left_alone(
    run: Handmade, changes: dict[str, object]
) -> None:
    """Another run, another campaign, another year, another person."""
    told = apply(run, run.post(3, **changes))
    assert (told.events, told.ours, told.settled, told.contradictions) == (1, 0, {}, 0)


def test_another_run_of_the_campaign_ends_no_doubt_of_this_one(run: Handmade) -> None:
    """The message has the same id there; only the run tells."""
    args = run.post(3)["custom_args"] | {"run": "20200101T000000Z-000000"}
    assert apply(run, run.post(3, custom_args=args)).settled == {}


def test_a_contradiction_is_told_and_never_applied(tmp_path: Path) -> None:
    """Refused, failed, left out or not sent yet: what we hold stays."""
    run = make(
        tmp_path,
        [("accepted", [0]), ("rejected", [1]), ("skipped", [2]), ("retryable", [3])],
        emails=[f"reader{n}@inbox.example" for n in range(5)] + ["nobody"],
        finished=False,
    )
    stranger = run.post(0, custom_args={"message_id": "x", "run": run.manifest.run})
    told = apply(run, *[run.post(row) for row in range(6)], stranger)

    assert told.contradictions == 6
    assert [(example.row, example.held) for example in told.examples] == [
        (1, Status.REJECTED),
        (2, Status.RENDER_FAILED),
        (3, Status.PENDING),
        (4, Status.PENDING),
        (5, Status.INVALID),
        (None, None),
    ]
    assert told.settled == {}
    assert run.statuses() == [
        "accepted",
        "rejected",
        "render_failed",
        "pending",
        "pending",
        "invalid",
    ]


def test_a_refusal_of_what_we_hold_refused_is_no_contradiction(run: Handmade) -> None:
    """Both say the same; and a later failure of an accepted message is news alone."""
    told = apply(run, run.post(9, "failed"), run.post(0, "failed"))
    assert (told.ours, told.contradictions) == (2, 0)


def test_two_messages_of_the_provider_for_one_of_ours_are_told(run: Handmade) -> None:
    """The row is settled by the first, and the second contradicts it."""
    told = apply(run, run.post(3), run.post(3, message_id="msg_other"))
    assert told.settled == {Status.ACCEPTED: 1}
    assert [(e.row, e.held) for e in told.examples] == [(3, Status.IN_DOUBT)]
    assert run.results()["provider_id"][3] == "msg_3"


def test_what_a_crash_cut_short_is_in_doubt_and_can_be_settled(tmp_path: Path) -> None:
    """An intent without an end, in a run that is not finished."""
    run = make(tmp_path, [("accepted", [0]), ("intent", [1, 2])], finished=False)
    told = apply(run, run.post(1), run.post(2))
    assert told.settled == {Status.ACCEPTED: 2}
    assert told.counts[Status.PENDING] == 7
    assert states(run) == [BatchState.DONE, BatchState.DONE]


def test_a_broken_line_changes_nothing(run: Handmade) -> None:
    """Not even for the rows of the lines before it."""
    path = run.events(run.post(3), run.post(4))
    path.write_text(path.read_text() + '{"event": "deliv')
    before = run.results(), run.directory.journal.read_bytes()
    with pytest.raises(EventsError, match=r"events\.jsonl:3: is not JSON"):
        trio.run(reconcile, run.directory, path)
    assert run.results().equals(before[0])
    assert apply(run).counts[Status.IN_DOUBT] == 6


def test_a_campaign_that_is_being_sent_is_refused(run: Handmade) -> None:
    """Whoever owns the campaign owns its journal."""
    path = run.events()
    with rundir.owned(run.directory.path.parent), pytest.raises(RunLocked):
        trio.run(reconcile, run.directory, path)


def test_a_run_that_is_not_there_or_sent_nothing_is_refused(tmp_path: Path) -> None:
    """Nothing of it can be in doubt."""
    with pytest.raises(RunError, match="no such run"):
        trio.run(reconcile, RunDirectory(tmp_path / "nope"), tmp_path / "events")
    run = make(tmp_path, [], finished=False)
    run.directory.journal.unlink()
    with pytest.raises(RunError, match="nothing is in doubt"):
        apply(run)


def test_the_journal_of_another_plan_is_refused(run: Handmade) -> None:
    """A finding must not land in rows of another list."""
    manifest = run.directory.manifest
    manifest.write_bytes(
        manifest.read_bytes().replace(b'"generation": 1', b'"generation": 2')
    )
    with pytest.raises(RunError, match="another plan"):
        apply(run)


def test_an_event_from_before_the_plan_counts_if_it_names_the_run(
    run: Handmade,
) -> None:
    """A provider's clock may be wrong; the name of the run is not."""
    early = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    assert apply(run, run.post(3, timestamp=early)).settled == {Status.ACCEPTED: 1}


def test_a_refused_copy_tells_nothing_of_the_message(run: Handmade) -> None:
    """Events of cc have the message's id: only that of the row's own address counts."""
    told = apply(run, run.post(4, "failed", recipient="copy@inbox.example"))
    assert told.settled == {}
    told = apply(run, run.post(4, "failed"))
    assert told.settled == {Status.REJECTED: 1}
