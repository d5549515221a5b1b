"""Claims about events once they are here: kept once, heeded, laid beside results."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from handmade import Handmade, make

from engine import webhooks
from engine.erase import People
from engine.errors import RunError, StoreError
from engine.events import EventStore, Whose
from engine.intake import Taken, lay_out, take
from engine.report import Report
from engine.suppression import Entry, Suppressions


@pytest.fixture
def run(tmp_path: Path) -> Handmade:
    """Make a finished run: rows 0 to 3 accepted, 4 refused."""
    return make(tmp_path, [("accepted", [0, 1, 2, 3]), ("rejected", [4])])


def taken(runs: Path, *posts: object) -> Taken:
    """Take posts of CloudMails as a webhook would bring them."""
    read = webhooks.load("cloudmails")
    events = [event for post in posts for event in read(json.dumps(post).encode())]
    with EventStore.open(runs) as store, Suppressions.open(runs) as suppressions:
        return take(events, "webhook", store=store, suppressions=suppressions)


def runs_of(run: Handmade) -> Path:
    """Return the folder of all runs."""
    return run.directory.path.parent.parent


def report_of(run: Handmade) -> Report:
    """Return the report of a finished run."""
    return Report(
        campaign="letter",
        run=run.manifest.run,
        finished=True,
        counts={},
        path=run.directory.results,
        directory=run.directory.path,
        seconds=0,
        messages_per_second=0,
        cause="",
        hint="",
        account=False,
        stages={},
        bound="",
    )


def suppressed(runs: Path) -> dict[str, str]:
    """Return the reason of each address."""
    with Suppressions.open(runs) as suppressions:
        frame = suppressions.all()
    return dict(frame.select("address", "reason").iter_rows())


def test_an_event_is_kept_once_however_often_it_comes(run: Handmade) -> None:
    """Providers post again what they think was lost, and mix old with new."""
    runs, first, second = runs_of(run), run.post(0), run.post(1)
    assert taken(runs, first, first, second) == Taken(3, 2, 0)
    assert taken(runs, second, run.post(1, "opened"), first) == Taken(3, 1, 0)
    with EventStore.open(runs) as store:
        assert store.count() == {"delivered": 2, "opened": 1}


def test_the_raw_event_is_kept_beside_our_reading(run: Handmade) -> None:
    """Whatever we made of it, the provider's own words are there."""
    post = run.post(0, "bounced", bounce_reason="550 no such user", extra={"a": 1})
    taken(runs_of(run), post)
    with EventStore.open(runs_of(run)) as store:
        (kept,) = store.about("cloudmails")
    assert json.loads(kept.event.payload) == post
    assert kept.event == webhooks.load("cloudmails")(json.dumps(post).encode())[0]
    assert kept.via == "webhook"


@pytest.mark.parametrize(
    ("word", "changes", "reason"),
    [
        ("bounced", {}, "bounced"),
        ("complained", {}, "complained"),
        ("complained", {"recipient": "Ann Lee <Ann@Example.COM>"}, "complained"),
        ("unsubscribed", {}, "unsubscribed"),
        ("email.bounced", {"bounce_type": "soft"}, None),
        ("delivered", {}, None),
        ("opened", {}, None),
        ("never heard of", {}, None),
    ],
)
def test_who_said_no_is_suppressed(
    run: Handmade, word: str, changes: dict[str, object], reason: str | None
) -> None:
    """Hard bounces, complaints and unsubscribes; nothing else."""
    taken(
        runs_of(run), run.post(2, word, **{"recipient": "Ann@Example.COM", **changes})
    )
    expected = {} if reason is None else {"ann@example.com": reason}
    assert suppressed(runs_of(run)) == expected


def test_of_who_was_erased_an_event_tells_nothing(run: Handmade) -> None:
    """It is kept once all the same, before and after, and counts for its row."""
    runs, post = runs_of(run), run.post(2, "opened", recipient="Ann@Example.com")
    with Suppressions.open(runs) as suppressions:
        suppressions.erase(["ann@example.com"])
    bounced = run.post(2, "bounced", recipient="Ann <ann@example.com>")
    assert taken(runs, post, bounced) == Taken(2, 2, 0)
    assert taken(runs, bounced, post) == Taken(2, 0, 0)
    with EventStore.open(runs) as store:
        kept = [one.event for one in store.about("cloudmails")]
    assert [(one.recipient, one.payload) for one in kept] == [(None, "")] * 2
    assert {one.type for one in kept} == {"opened", "bounced"}
    for path in runs.glob("events.db*"):
        assert b"ann@example" not in path.read_bytes().lower()


def test_what_was_kept_is_forgotten(run: Handmade) -> None:
    """By address or by message; what happened stays, and others' events as they are."""
    runs, other = runs_of(run), run.post(1, recipient="ann@example.com.au")
    own = [run.post(0, recipient="Ann <ANN@example.com>"), run.post(2, "opened")]
    named = run.post(3, "bounced", bounce_reason="by ann@example.com, too")
    taken(runs, *own, other, named)
    ids = frozenset([own[1]["custom_args"]["message_id"]])
    whose = Whose(ids, People.of(["ann@example.com"]).cleaned)
    with EventStore.open(runs) as reader, EventStore.open(runs) as store:
        before = list(reader.about("cloudmails"))
        assert store.telling(whose) == 3
        assert store.erase(whose) == 3
        assert store.telling(whose) == 0
        after = list(reader.about("cloudmails"))
        for path in runs.glob("events.db*"):  # with the log, which is still there
            assert b'ann@example.com"' not in path.read_bytes().lower()
            assert b"ann@example.com," not in path.read_bytes().lower()
    assert [one.event.type for one in before] == [one.event.type for one in after]
    assert [one.event.payload == "" for one in after] == [True, True, False, False]
    assert after[2] == before[2]
    assert after[3].event.description == "by erased, too"


def test_what_was_kept_before_a_crash_is_still_heeded(run: Handmade) -> None:
    """An event that is known already enters its address if it is not there yet."""
    runs = runs_of(run)
    post = run.post(2, "complained", recipient="ann@example.com")
    taken(runs, post)
    with Suppressions.open(runs) as suppressions:
        assert suppressions.remove("ANN@example.com") == 1
    told = taken(runs, post)
    assert (told.new, told.suppressed) == (0, 1)


def test_deliveries_show_the_last_word_of_each_row(run: Handmade) -> None:
    """By when it happened, not by when it came; the outcome is what it was."""
    runs = runs_of(run)
    later, early = "2099-05-02T10:00:00Z", "2099-05-01T10:00:00Z"
    taken(
        runs,
        run.post(0, "opened", timestamp=later),
        run.post(0, "delivered", timestamp=early),
        run.post(0, "clicked", timestamp=early),
        run.post(1, "bounced", timestamp=early, bounce_reason="no user"),
    )
    before = run.results()
    assert pl.read_parquet(lay_out(run.directory)).height == 4
    told = report_of(run).deliveries.collect()
    assert told.select(before.columns).equals(before)
    columns = ("event", "reject_reason", "event_detail", "opens", "clicks")
    assert told.select(columns).rows()[:3] == [
        ("opened", None, None, 1, 1),
        ("bounced", "bounced", "no user", 0, 0),
        (None, None, None, 0, 0),
    ]
    assert told["delivered_at"][0].isoformat() == "2099-05-01T10:00:00+00:00"


def with_copies(run: Handmade) -> None:
    """Let the run be of a campaign with a copy for the boss."""
    message = {**run.manifest.definition["message"], "cc": ["boss@harbour.example"]}
    changed = {**run.manifest.definition, "message": message}
    path = run.directory.path / "manifest.json"
    path.unlink()
    replace(run.manifest, definition=changed).write(run.directory)


@pytest.mark.parametrize("copies", [True, False])
def test_what_became_of_a_copy_says_nothing_of_the_row(
    run: Handmade, *, copies: bool
) -> None:
    """One message, two people: the copy arrived, and the recipient's own bounced."""
    if copies:
        with_copies(run)
    early, later = "2099-05-01T10:00:00Z", "2099-05-02T10:00:00Z"
    own = run.post(0)["recipient"]
    taken(
        runs_of(run),
        run.post(0, "bounced", timestamp=early, recipient=f"X <{own.upper()}>"),
        run.post(0, "delivered", timestamp=later, recipient="boss@harbour.example"),
        run.post(1, "opened", timestamp=later, recipient="Boss@Harbour.example"),
        run.post(2, "delivered", timestamp=later, recipient=None),
    )
    events = pl.read_parquet(lay_out(run.directory))
    told = report_of(run).deliveries.collect()["event"][:3].to_list()
    if copies:
        assert events["copy"].to_list() == [False, True, True, False]
        assert told == ["bounced", None, "delivered"]
    else:  # an address that is written otherwise is the recipient's all the same
        assert not events["copy"].any()
        assert told == ["delivered", "opened", "delivered"]


def test_deliveries_without_events_are_the_results(run: Handmade) -> None:
    """A view is there before anything was reported."""
    told = report_of(run).deliveries.collect()
    assert told.height == run.results().height
    assert told["event"].null_count() == told.height


def test_events_of_others_are_not_laid_out(run: Handmade) -> None:
    """A message keeps its id in every run: the run that an event names decides."""
    args = {"message_id": run.post(0)["custom_args"]["message_id"], "run": "another"}
    stranger = {"event": "delivered", "message_id": "msg_x", "recipient": "a@b.c"}
    taken(runs_of(run), run.post(0, custom_args=args, message_id="msg_y"), stranger)
    assert pl.read_parquet(lay_out(run.directory)).height == 0


def test_events_are_laid_out_anew_when_there_are_new_ones_alone(run: Handmade) -> None:
    """Who asks again is answered at once, and never with what is out of date."""
    runs = runs_of(run)
    taken(runs, run.post(0))
    first = lay_out(run.directory).stat().st_ino
    assert lay_out(run.directory).stat().st_ino == first
    taken(runs, run.post(1))
    assert report_of(run).deliveries.collect()["event"][:2].to_list() == [
        "delivered",
        "delivered",
    ]


@pytest.mark.parametrize(
    ("finished", "said", "step"),
    [
        (True, "is gone, and the run is finished", "reconcile"),
        (False, "no results yet", "resume"),
    ],
)
def test_a_run_without_results_has_nothing_to_lay_beside(
    tmp_path: Path, *, finished: bool, said: str, step: str
) -> None:
    """It is told with the command that helps."""
    run = make(tmp_path, [("accepted", [0])], finished=finished)
    run.directory.results.unlink(missing_ok=True)
    with pytest.raises(RunError, match=said) as caught:
        lay_out(run.directory)
    assert f"mailvolley {step}" in caught.value.hint


def test_a_suppression_is_of_one_form_and_one_scope(tmp_path: Path) -> None:
    """Case and white space make no difference; each scope has an entry of its own."""
    with Suppressions.open(tmp_path) as suppressions:
        entries = [
            Entry(" Ann@Example.com", "manual", "by hand"),
            Entry("ann@example.com", "complained", "cloudmails: complained"),
            Entry("ann@example.com", "manual", "by hand", scope="campaign:welcome"),
            Entry("  ", "manual", "by hand"),
        ]
        assert suppressions.add(entries) == 2
        kept = suppressions.all()
        assert kept["reason"].to_list() == ["manual", "manual"]
        assert suppressions.all(["campaign:welcome"]).height == 1
        assert suppressions.remove("ANN@EXAMPLE.COM", "all") == 1
        assert suppressions.all()["scope"].to_list() == ["campaign:welcome"]


def test_the_stores_are_their_owners_alone(tmp_path: Path) -> None:
    """Addresses are nobody else's business."""
    runs = tmp_path / "runs"
    with EventStore.open(runs), Suppressions.open(runs):
        pass
    assert runs.stat().st_mode & 0o077 == 0
    for path in runs.iterdir():
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["events.db", "suppressions.db"])
def test_a_file_of_another_program_is_refused(tmp_path: Path, name: str) -> None:
    """Neither overwritten nor believed."""
    with sqlite3.connect(tmp_path / name) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="another program"), _open(tmp_path, name):
        pass
    (tmp_path / name).write_bytes(b"this is no database at all, but it is long enough")
    with pytest.raises(StoreError, match="cannot be read"), _open(tmp_path, name):
        pass


def _open(runs: Path, name: str) -> object:
    kind = EventStore if name == "events.db" else Suppressions
    return kind.open(runs)
