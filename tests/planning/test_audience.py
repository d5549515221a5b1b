"""Claims about `engine.planning.audience`: who is left out, and why."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from handmade import Handmade, campaign_file, make

from engine import api, history, planning, rundir
from engine.errors import CampaignError, RunLocked
from engine.manifest import Manifest
from engine.planning import Plan

CAMPAIGN = campaign_file("next", source="next.csv", below="[audience]\n")
#: Of ten readers: two accepted, one refused, one perhaps sent, one not at all.
STROKES = [("accepted", [0, 1]), ("rejected", [2]), ("doubt", [3])]


@pytest.fixture
def earlier(tmp_path: Path) -> Handmade:
    """Make a run of another campaign, and a list for the next."""
    (tmp_path / "next.csv").write_text(
        "id,email\n" + "".join(f"n{n},Reader{n}@inbox.example\n" for n in range(6))
    )
    return make(tmp_path, STROKES)


def plan(home: Path, *lines: str) -> Plan:
    """Plan the next campaign with an audience."""
    file = home / "next.toml"
    file.write_text(CAMPAIGN + "\n".join(lines) + "\n")
    return api.plan(None, file, runs_dir=home / "runs", sandbox=True)


def left_out(plan: Plan) -> dict[str, str]:
    """Return the reason of each row that is left out, by its key."""
    frozen = pl.read_parquet(plan.directory.recipients)
    gone = frozen.filter(pl.col("status").is_not_null())
    assert {"suppressed"} >= set(gone["status"])
    return dict(gone.select("key", "reason").iter_rows())


# ---- lists


def test_who_is_on_an_excluded_list_is_left_out(
    tmp_path: Path, earlier: Handmade
) -> None:
    """By address however it is written, in files of any format; with the reason."""
    (tmp_path / "customers.csv").write_text("email\n READER1@Inbox.example\n")
    pl.DataFrame({"email": ["reader4@inbox.example"]}).write_parquet(
        tmp_path / "staff.parquet"
    )
    found = plan(tmp_path, 'exclude = ["customers.csv", "staff.*"]')
    assert {"n1": "excluded", "n4": "excluded"} == left_out(found)
    assert found.counts == {
        "mailable": 4,
        "invalid": 0,
        "suppressed": 2,
        "duplicate": 0,
    }
    (finding,) = [f for f in found.findings if f.id == "L15"]
    assert "2 rows: suppressed, excluded" in str(finding)
    assert "row 1 (n1)" in str(finding)
    frozen = pl.read_parquet(found.directory.recipients)
    assert "on the list customers.csv" == frozen["detail"][1]


def test_a_list_can_be_matched_by_key(tmp_path: Path, earlier: Handmade) -> None:
    """By the recipients' own ids, in a column of any name."""
    (tmp_path / "orders.csv").write_text("customer\nn2\n n5 \nn77\n")
    found = plan(
        tmp_path,
        'exclude = [{ source = "orders.csv", by = "key", column = "customer" }]',
    )
    assert {"n2": "excluded", "n5": "excluded"} == left_out(found)


def test_a_key_of_a_declared_type_is_read_alike_on_both_lists(
    tmp_path: Path, earlier: Handmade
) -> None:
    """00002 is the 2 of the list whose ids are integers."""
    (tmp_path / "next.csv").write_text(
        "id,email\n1,a@inbox.example\n2,b@inbox.example\n"
    )
    (tmp_path / "orders.csv").write_text("id\n00002\n")
    found = plan(
        tmp_path,
        'exclude = [{ source = "orders.csv", by = "key" }]',
        "[recipients.types]",
        'id = "integer"',
    )
    assert {"2": "excluded"} == left_out(found)


def test_what_is_wrong_with_excluded_lists_is_told_at_once(
    tmp_path: Path, earlier: Handmade
) -> None:
    """A missing file, a missing column, an empty list: with the place."""
    with pytest.raises(CampaignError, match=r'exclude, item 2 = "gone.csv": there is'):
        plan(tmp_path, 'exclude = ["next.csv", "gone.csv"]')
    (tmp_path / "empty.csv").write_text("email\n")
    with pytest.raises(CampaignError) as caught:
        plan(
            tmp_path,
            'exclude = [{ source = "next.csv", column = "mail" }, "empty.csv"]',
        )
    first, second = caught.value.problems
    assert 'no column "mail" (columns: id, email)' in first
    assert "empty.csv: no recipients" in second
    with pytest.raises(CampaignError, match="must be a list"):
        plan(tmp_path, "exclude = 3")


def test_a_changed_list_is_a_difference(tmp_path: Path, earlier: Handmade) -> None:
    """Of the section, and of what is in the files it names."""
    (tmp_path / "customers.csv").write_text("email\nreader1@inbox.example\n")
    found = plan(tmp_path, 'exclude = ["customers.csv"]')

    def differences() -> list[str]:
        campaign = api.load(tmp_path / "next.toml")
        return planning.differences(found.manifest, campaign, campaign.list(), None)

    assert [] == differences()
    (tmp_path / "customers.csv").write_text("email\nreader2@inbox.example\n")
    assert ["a list of [audience] exclude"] == differences()
    file = tmp_path / "next.toml"
    file.write_text(file.read_text().replace("customers.csv", "next.csv"))
    assert f"[audience] of {file}" in differences()


# ---- earlier campaigns


def test_whom_a_campaign_has_written_to_is_left_out_of_another(
    tmp_path: Path, earlier: Handmade
) -> None:
    """Accepted, or in doubt; who was refused or not reached is mailed."""
    found = plan(tmp_path, 'not_in = ["letter"]')
    assert {"n0", "n1", "n3"} == left_out(found).keys()
    assert {"in_campaign"} == set(left_out(found).values())


def test_a_campaign_that_was_never_sent_is_refused(
    tmp_path: Path, earlier: Handmade
) -> None:
    """It is a slip of the keyboard, and everybody would be mailed."""
    with pytest.raises(CampaignError, match="not_in: lettre has no run"):
        plan(tmp_path, 'not_in = ["lettre"]')


def test_what_is_being_sent_is_waited_for(tmp_path: Path, earlier: Handmade) -> None:
    """Nobody knows to whom it writes; and nothing of it is disturbed."""
    with rundir.owned(earlier.directory.path.parent), pytest.raises(RunLocked):
        plan(tmp_path, 'not_in = ["letter"]')


# ---- how often


def test_who_got_a_message_of_late_is_left_out(
    tmp_path: Path, earlier: Handmade
) -> None:
    """Of any campaign; what is too long ago does not count."""
    lines = ['not_mailed_within = "7 days"', 'counting = "all"']
    found = plan(tmp_path, *lines)
    assert {"n0", "n1", "n3"} == left_out(found).keys()
    assert {"mailed_recently"} == set(left_out(found).values())


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_sent_too_long_ago_does_not_count(
    tmp_path: Path, *, finished: bool
) -> None:
    """By the moment of each message; a run may be taken up long after its plan."""
    made = make(tmp_path, STROKES, finished=finished)
    run = (made.directory, Manifest.read(made.directory))
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert [] == list(history.addresses(run, since=now))
    (found,) = history.addresses(run, since=now - timedelta(minutes=1))
    assert [f"reader{n}@inbox.example" for n in (0, 1, 3)] == found.to_list()


def test_receipts_count_only_if_asked_for(tmp_path: Path, earlier: Handmade) -> None:
    """A receipt is no campaign to its reader."""
    assert {} == left_out(plan(tmp_path, 'not_mailed_within = "7 days"'))


def test_several_messages_may_be_allowed(tmp_path: Path, earlier: Handmade) -> None:
    """Two or more within the time, and one is left out."""
    lines = ['not_mailed_within = "7 days"', 'counting = "all"', "most = 2"]
    assert {} == left_out(plan(tmp_path, *lines))
    again = tmp_path / "again"
    again.mkdir()
    other = make(again, [("accepted", [1, 2])])
    other.directory.path.parent.rename(tmp_path / "runs" / "other")
    assert {"n1": "mailed_recently"} == left_out(plan(tmp_path, *lines))


def test_trials_to_oneself_do_not_count(tmp_path: Path, earlier: Handmade) -> None:
    """They are of no campaign."""
    folder = earlier.directory.path.parent
    folder.rename(folder.with_name("letter.test"))
    lines = ['not_mailed_within = "7 days"', 'counting = "all"']
    assert {} == left_out(plan(tmp_path, *lines))


def test_a_number_without_a_time_is_refused(tmp_path: Path, earlier: Handmade) -> None:
    """It would hold nobody back."""
    with pytest.raises(CampaignError, match="has most without a time"):
        plan(tmp_path, "most = 2")
