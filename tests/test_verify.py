"""Claims about `engine.verify`: what is well is called so, and damage is found."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl
import pytest
from handmade import Handmade, Stroke, make

from engine import rundir
from engine.errors import EventsError, RunError, RunLocked
from engine.journal import Journal, store
from engine.journal.entry import Entry
from engine.outcome import Outcomes, Status
from engine.record import BatchState
from engine.rundir import RunDirectory
from engine.verify import Verified, verify

#: Rows 0 to 3 are accepted, 4 is refused, 5 has no message, 6 and 7 are left out.
STROKES: list[Stroke] = [
    ("accepted", [0, 1, 2, 3]),
    ("rejected", [4]),
    ("skipped", [5]),
]
EMAILS = [
    *(f"reader{n}@inbox.example" for n in range(6)),
    "nobody",
    "READER0@inbox.example",
]


@pytest.fixture
def run(tmp_path: Path) -> Handmade:
    """Make a finished run without any doubt."""
    return make(tmp_path, STROKES, emails=EMAILS)


@pytest.fixture
def doubtful(tmp_path: Path) -> Handmade:
    """Make a finished run with rows 2 and 3 in doubt."""
    return make(tmp_path, [("accepted", [0, 1]), ("doubt", [2, 3])], emails=EMAILS[:4])


def wrong(verified: Verified) -> dict[str, list[str]]:
    """Return what is wrong, by the name of the check."""
    return {c.name: c.examples for c in verified.checks if c.wrong}


def skipped(verified: Verified) -> list[str]:
    """Return the checks that were left out."""
    return [check.name for check in verified.checks if check.skipped]


def everything(folder: Path) -> dict[str, bytes]:
    """Return all files of a run."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


# ---- a run that is as it should be


def test_a_sound_run_holds(run: Handmade) -> None:
    """Every check was made, nothing is wrong, and the counts are the results'."""
    verified = verify(run.directory)
    assert not verified.broken
    assert [(c.name, c.holds) for c in verified.checks] == [
        ("snapshot", True),
        ("templates", True),
        ("journal", True),
        ("results", True),
    ]
    assert {s: n for s, n in verified.counts.items() if n} == {
        Status.ACCEPTED: 4,
        Status.REJECTED: 1,
        Status.RENDER_FAILED: 1,
        Status.INVALID: 1,
        Status.DUPLICATE: 1,
    }
    assert verified.counts.keys() == set(Status)
    assert (verified.outdated, verified.audit) == (0, None)


@pytest.mark.parametrize("starts", [1, 2])
@pytest.mark.parametrize(
    "strokes",
    [
        [],
        [("intent", [0, 1])],
        [("retryable", [0]), ("doubt", [1, 2]), ("skipped", [5])],
    ],
)
def test_a_run_that_is_not_finished_holds_too(
    tmp_path: Path, strokes: list[Stroke], starts: int
) -> None:
    """Also after a crash, or two, with intents and without results."""
    run = make(tmp_path, strokes, emails=EMAILS, finished=False, starts=starts)
    verified = verify(run.directory)
    assert not verified.broken
    assert verified.counts[Status.PENDING] > 0
    assert sum(verified.counts.values()) == 8


def test_a_run_that_never_began_holds(run: Handmade) -> None:
    """Neither journal nor results: everything is still to be sent."""
    run.directory.journal.unlink()
    run.directory.results.unlink()
    verified = verify(run.directory)
    assert not verified.broken
    assert verified.counts[Status.PENDING] == 6


def test_nothing_is_changed(doubtful: Handmade) -> None:
    """Not a byte of any file, not even for what a crash left."""
    before = everything(doubtful.directory.path)
    events = doubtful.events(doubtful.post(2))
    assert not verify(doubtful.directory, events, complete=False).broken
    assert everything(doubtful.directory.path) == before


def test_results_of_an_earlier_stop_are_outdated_and_not_wrong(tmp_path: Path) -> None:
    """A killed run's journal knows more than the file; nothing else may differ."""
    run = make(tmp_path, [("accepted", [0, 1]), ("doubt", [2])], emails=EMAILS[:4])
    run.project()
    whole = run.results()
    older = whole.with_columns(
        status=pl.when(pl.col("row") < 1).then("status").otherwise(pl.lit("pending")),
        provider_id=pl.when(pl.col("row") < 1).then("provider_id"),
    )
    rewrite(run, older)
    verified = verify(run.directory)
    assert (verified.outdated, wrong(verified)) == (
        2,
        {"results": ["the run is finished, and 1 rows are not"]},
    )


# ---- planted damage


def rewrite(run: Handmade, frame: pl.DataFrame) -> None:
    """Replace the results, metadata and all."""
    path = run.directory.results
    known = pl.read_parquet_metadata(path)
    names = ("campaign", "run", "manifest", "version")
    frame.write_parquet(path, metadata={name: known[name] for name in names})


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (
            "status",
            "rejected",
            "row 2 has status rejected, and by the journal it is accepted",
        ),
        (
            "provider_id",
            "msg_x",
            "row 2 has provider_id msg_x, and by the journal it is msg_2",
        ),
        ("address", "x@x.example", "row 2 has address x@x.example, and by the journal"),
        (
            "reason",
            "because",
            "row 2 has reason because, and by the journal it is None",
        ),
        ("attempts", 7, "row 2 has attempts 7, and by the journal it is 1"),
    ],
)
def test_a_changed_row_of_the_results_is_named(
    run: Handmade, column: str, value: object, told: str
) -> None:
    """With what it says and what the journal says."""
    frame = run.results()
    changed = pl.when(pl.col("row") == 2).then(pl.lit(value)).otherwise(column)
    rewrite(run, frame.with_columns(changed.cast(frame.schema[column]).alias(column)))
    verified = verify(run.directory)
    assert verified.broken
    assert wrong(verified).keys() == {"results"}
    (sentence,) = wrong(verified)["results"]
    assert sentence.startswith(told)


def test_an_address_may_not_differ_in_an_open_row_either(doubtful: Handmade) -> None:
    """What a row is does not move, whatever becomes of it."""
    rewrite(doubtful, doubtful.results().with_columns(key=pl.lit("k")))
    assert verify(doubtful.directory).checks[3].wrong == 4


def test_a_removed_row_of_the_results_is_named(run: Handmade) -> None:
    """Its number, and that the file is too short."""
    rewrite(run, run.results().filter(pl.col("row") != 3))
    assert wrong(verify(run.directory))["results"][1:] == ["row 3 is not there"]
    assert "7 rows for 8 input rows" in wrong(verify(run.directory))["results"][0]


def test_a_doubled_or_misplaced_row_of_the_results_is_found(run: Handmade) -> None:
    """Exactly one row per input row, in input order."""
    whole = run.results()
    rewrite(run, pl.concat([whole, whole.tail(1)]))
    assert "9 rows for 8" in wrong(verify(run.directory))["results"][0]
    rewrite(run, whole.reverse())
    assert "not in input order" in wrong(verify(run.directory))["results"][0]


def test_many_damaged_rows_are_counted_and_ten_are_named(tmp_path: Path) -> None:
    """The report stays short, and its number is right."""
    emails = [f"reader{n}@inbox.example" for n in range(50)]
    run = make(tmp_path, [("accepted", list(range(50)))], emails=emails)
    rewrite(run, run.results().with_columns(status=pl.lit("failed")))
    check = verify(run.directory).checks[3]
    assert (check.wrong, len(check.examples)) == (50, 10)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b"PAR1 nothing"), "cannot be read"),
        (lambda path: path.unlink(), "is gone, and the run is finished"),
        (lambda path: pl.DataFrame({"row": [1]}).write_parquet(path), "other columns"),
        (lambda path: pl.read_parquet(path).write_parquet(path), "is of another run"),
    ],
)
def test_a_results_file_that_is_none_is_told(
    run: Handmade, damage: Callable[[Path], object], told: str
) -> None:
    """Torn, gone, of another kind, or without the run's mark."""
    damage(run.directory.results)
    verified = verify(run.directory)
    assert verified.broken
    assert told in wrong(verified)["results"][0]


def test_a_flipped_byte_of_the_results_is_told_wherever_it_is(tmp_path: Path) -> None:
    """Also where the file opens well, and a row of it cannot be read later."""
    emails = [f"reader{n}@inbox.example" for n in range(500)]
    run = make(tmp_path, [("accepted", list(range(500)))], emails=emails)
    path = run.directory.results
    whole, late = path.read_bytes(), 0
    for place in range(100, len(whole), len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        check = verify(run.directory).checks[3]
        opened = check.told == "500 rows"
        late += opened and any("cannot be read" in told for told in check.examples)
    assert late


def test_an_edited_snapshot_is_found(run: Handmade) -> None:
    """One address of the frozen list is another: nothing can be held against it."""
    path = run.directory.recipients
    other = pl.when(pl.col("row") == 1).then(pl.lit("x@x.example")).otherwise("address")
    run.frozen().with_columns(address=other).write_parquet(path)
    verified = verify(run.directory, run.events(run.post(0)))
    assert wrong(verified) == {"snapshot": [f"{path}: is not what was planned"]}
    assert skipped(verified) == ["results"]
    assert (verified.counts, verified.audit) == ({}, None)


@pytest.mark.parametrize("name", ["recipients", "journal"])
def test_a_file_that_is_gone_is_found(run: Handmade, name: str) -> None:
    """A run without its list, or with results of a journal that is not there."""
    getattr(run.directory, name).unlink()
    assert verify(run.directory).broken


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_an_edited_template_is_found(run: Handmade, change: str) -> None:
    """What was sent can only be told from what it was made of."""
    path = run.directory.templates / "subject.txt.j2"
    if change == "edit":
        path.write_text("Hullo")
    else:
        path.unlink()
    assert wrong(verify(run.directory)).keys() == {"templates"}


def test_a_changed_plan_is_found(run: Handmade) -> None:
    """The manifest says other numbers, and is not the one that the journal knows."""
    path = run.directory.manifest
    told = json.loads(path.read_bytes())
    told["planned"]["mailable"] += 1
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False))
    assert wrong(verify(run.directory)).keys() == {"snapshot", "journal"}


@contextmanager
def below(run: Handmade) -> Iterator[sqlite3.Connection]:
    """Write into the journal's file without its triggers."""
    with sqlite3.connect(run.directory.journal, isolation_level=None) as db:
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        yield db
        for _, sql in triggers:
            db.execute(sql)
    db.close()


def plant(db: sqlite3.Connection, rows: list[int]) -> None:
    """Add a batch that was accepted, under a true seal."""
    entry = Entry(
        place=rows[0] * 64 + 1,
        id="f" * 32,
        parent=0,
        high=rows[-1],
        size=len(rows),
        members=None,
        intended_at=0,
        body_digest=bytes(32),
    )
    store.insert_batches(db, [(entry, entry.changing())])
    entry.state = BatchState.DONE
    outcomes = Outcomes.uniform(len(rows), Status.ACCEPTED)
    changing = entry.changing(0, "a")
    move = store.Move(entry, BatchState.INTENT, changing, outcomes)
    store.update_batches(db, [move])


def test_a_row_that_two_batches_claim_is_found(run: Handmade) -> None:
    """Somebody was mailed twice, whatever the seals say."""
    with below(run) as db:
        plant(db, [2, 3])
    found = wrong(verify(run.directory))
    assert found["journal"] == [
        f"batch {'f' * 32}: row 2 is in another batch too",
        f"batch {'f' * 32}: row 3 is in another batch too",
    ]
    assert "results" in found


def test_a_batch_with_a_row_that_was_left_out_is_found(run: Handmade) -> None:
    """An invalid address and a duplicate must never have been sent."""
    with below(run) as db:
        plant(db, [6, 7])
    assert wrong(verify(run.directory))["journal"] == [
        f"batch {'f' * 32}: row 6 was not to be mailed",
        f"batch {'f' * 32}: row 7 was not to be mailed",
    ]


def test_a_batch_beyond_the_list_is_found(run: Handmade) -> None:
    """There is no such row."""
    with below(run) as db:
        plant(db, [8])
    assert (
        f"batch {'f' * 32}: there is no row 8"
        in wrong(verify(run.directory))["journal"]
    )


def test_a_settled_row_that_a_batch_has_too_is_found(run: Handmade) -> None:
    """One outcome for each row."""
    with below(run) as db:
        plant(db, [5])
    (told,) = wrong(verify(run.directory))["journal"]
    assert told == "the settled row 5: row 5 is in another batch too"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batch SET statuses = 'r' WHERE low = 0",
        "UPDATE settled_row SET status = 'accepted'",
        "UPDATE fact SET value = '2020' WHERE name = 'finished_at'",
    ],
)
def test_a_record_that_was_changed_breaks_its_seal(
    run: Handmade, statement: str
) -> None:
    """A hand in the journal shows, even where SQLite is content."""
    with below(run) as db:
        db.execute(statement)
    verified = verify(run.directory)
    assert "not as it was written" in wrong(verified)["journal"][0]
    assert skipped(verified) == ["results"]


def test_a_journal_of_another_version_is_refused_and_not_blamed(run: Handmade) -> None:
    """Nothing is wrong with it: another program reads it."""
    with closing(sqlite3.connect(run.directory.journal)) as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(RunError, match="a journal of version 1") as refused:
        verify(run.directory)
    assert "the version of mailvolley that began" in str(refused.value.hint)


def test_a_torn_journal_is_found(run: Handmade) -> None:
    """A page of noise."""
    content = bytearray(run.directory.journal.read_bytes())
    content[4096:8192] = b"\x5a" * 4096
    run.directory.journal.write_bytes(content)
    assert wrong(verify(run.directory)).keys() == {"journal"}


def test_finished_with_pending_rows_is_a_broken_promise(tmp_path: Path) -> None:
    """The run says it has ended, and somebody was forgotten."""
    run = make(tmp_path, [("accepted", [0, 1])], emails=EMAILS[:4])
    assert wrong(verify(run.directory)) == {
        "results": ["the run is finished, and 2 rows are not"]
    }


# ---- the provider's events


def test_events_that_agree_are_well(run: Handmade) -> None:
    """One for each accepted row, and later ones of the same message."""
    events = run.events(
        *[run.post(row) for row in range(4)],
        *[run.post(row, "opened") for row in range(4)],
        run.post(4, "failed"),
        run.post(0, custom_args={"run": "another"}),
    )
    verified = verify(run.directory, events, complete=True)
    audit = verified.audit
    assert audit is not None
    assert not verified.broken
    assert (audit.events, audit.ours, audit.unheard) == (10, 9, 0)


def test_an_accepted_row_without_an_event_is_lost(run: Handmade) -> None:
    """If the file is complete, and then by name; else nobody knows."""
    events = run.events(run.post(0), run.post(1, "failed"), run.post(3, "opened"))
    audit = verify(run.directory, events, complete=True).audit
    assert audit is not None
    assert audit.lost is not None
    assert audit.lost.count == 1
    assert [(e.row, e.address, e.message_id) for e in audit.lost.examples] == [
        (2, "reader2@inbox.example", run.frozen()["message_id"][2])
    ]
    assert audit.broken
    partial = verify(run.directory, events)
    assert partial.audit is not None
    assert partial.audit.lost is None
    assert not partial.broken


def test_two_messages_of_the_provider_for_one_of_ours_are_duplicated(
    run: Handmade,
) -> None:
    """Counted once for a row, however many events there are of either."""
    events = run.events(
        *[run.post(row) for row in range(4)],
        run.post(1, message_id="msg_forged"),
        run.post(1, "opened", message_id="msg_forged"),
        run.post(2, "failed", message_id="msg_other"),
        run.post(3, "opened", message_id=None),
    )
    verified = verify(run.directory, events, complete=True)
    audit = verified.audit
    assert audit is not None
    assert verified.broken
    assert audit.duplicated.count == 1
    assert [(e.row, e.told) for e in audit.duplicated.examples] == [
        (1, "delivered as msg_forged")
    ]


def test_events_of_what_we_never_sent_are_unexpected(run: Handmade) -> None:
    """Refused, failed, left out, and somebody who is not in the run at all."""
    forged = {"message_id": "forged", "run": run.manifest.run}
    events = run.events(
        run.post(4),
        run.post(4, "opened"),
        run.post(5),
        run.post(6),
        run.post(0, custom_args=forged),
    )
    verified = verify(run.directory, events)
    audit = verified.audit
    assert audit is not None
    assert verified.broken
    assert audit.unexpected.count == 4
    assert [(e.row, e.held) for e in audit.unexpected.examples] == [
        (4, Status.REJECTED),
        (5, Status.RENDER_FAILED),
        (6, Status.INVALID),
        (None, None),
    ]


def test_a_refusal_is_never_unexpected(run: Handmade) -> None:
    """That the provider refused what we hold refused, or knows no word of."""
    events = run.events(run.post(4, "failed"), run.post(5, "read_aloud"))
    assert not verify(run.directory, events).broken


def test_a_doubt_that_the_events_end_is_recovered_and_no_trouble(
    doubtful: Handmade,
) -> None:
    """News: the row is still in doubt until it is reconciled; the other is unheard."""
    events = doubtful.events(*[doubtful.post(row) for row in range(3)])
    verified = verify(doubtful.directory, events, complete=True)
    audit = verified.audit
    assert audit is not None
    assert not verified.broken
    assert [(e.row, e.held) for e in audit.recovered.examples] == [(2, Status.IN_DOUBT)]
    assert (audit.recovered.count, audit.unheard) == (1, 1)
    assert verified.counts[Status.IN_DOUBT] == 2


def test_an_anomaly_names_ten_and_counts_all(tmp_path: Path) -> None:
    """The report stays short, and its number is right."""
    emails = [f"reader{n}@inbox.example" for n in range(30)]
    run = make(tmp_path, [("accepted", list(range(30)))], emails=emails)
    audit = verify(run.directory, run.events(), complete=True).audit
    assert audit is not None
    assert audit.lost is not None
    assert (audit.lost.count, len(audit.lost.examples)) == (30, 10)
    assert audit.lost.examples[9].address == "reader9@inbox.example"


def test_a_file_of_events_that_is_broken_is_refused(run: Handmade) -> None:
    """Half a file of events proves nothing."""
    path = run.events(run.post(0))
    path.write_text(path.read_text() + "{")
    with pytest.raises(EventsError, match=":2: "):
        verify(run.directory, path)


# ---- who may ask


def test_a_campaign_that_is_being_sent_is_refused(run: Handmade) -> None:
    """Its files are moving."""
    with rundir.owned(run.directory.path.parent), pytest.raises(RunLocked):
        verify(run.directory)


def test_two_may_verify_at_once(run: Handmade) -> None:
    """Neither takes the other for damage, and neither changes or locks anything."""
    files = {f: f.read_bytes() for f in run.directory.path.iterdir() if f.is_file()}
    journal = run.directory.journal
    with rundir.looked_at(run.directory), Journal.looked_into(journal):
        assert not verify(run.directory).broken
    with Journal.open(journal, ballast=0):  # whoever has a lock is in nobody's way
        assert not verify(run.directory).broken
    assert files == {
        f: f.read_bytes() for f in run.directory.path.iterdir() if f.is_file()
    }


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """And nothing is left in its place."""
    with pytest.raises(RunError, match="no such run"):
        verify(RunDirectory(tmp_path / "runs" / "nope"))
    assert list(tmp_path.iterdir()) == []
