"""`mailvolley send` against a provider in another process, over real sockets."""

import json
from collections.abc import Callable

import polars as pl
import pytest
from end_to_end.desk import TOKEN, Desk, Site

from engine.batch import message_ids


def test_every_input_row_has_one_outcome_in_input_order(
    desk: Desk, sandbox: Site
) -> None:
    """Good, bad, doubled and refused rows each end once, where they stood."""
    desk.list(
        100,
        row3="nobody",
        row7="READER1@inbox.example",
        row20="",
        row50="reject.me@inbox.example",
    )
    ended = desk.send(sandbox.url, "--json")
    results = desk.results()

    assert ended.code == 1
    assert results["row"].to_list() == list(range(100))
    assert dict(results["status"].value_counts().iter_rows()) == {
        "accepted": 96,
        "rejected": 1,
        "invalid": 2,
        "duplicate": 1,
    }
    left_out = results.filter(pl.col("status") != "accepted")
    assert left_out.select("row", "status", "reason").rows() == [
        (3, "invalid", "address_syntax"),
        (7, "duplicate", "same_address"),
        (20, "invalid", "address_missing"),
        (50, "rejected", "invalid_recipient"),
    ]


def test_accepted_rows_are_those_that_the_provider_accepted(
    desk: Desk, sandbox: Site
) -> None:
    """What we call accepted and what the provider has is the same, each once."""
    desk.list(95, row11="reject@inbox.example")
    desk.send(sandbox.url)
    accepted = desk.results().filter(pl.col("status") == "accepted")

    assert sandbox.accepted() == sorted(accepted["address"])
    assert sandbox.ask("stats")["twice"] == []
    given = {m["to"]: m["message_id"] for m in sandbox.ask("messages")["messages"]}
    assert dict(accepted.select("address", "provider_id").iter_rows()) == given


def test_results_have_the_columns_that_are_promised(desk: Desk, sandbox: Site) -> None:
    """Names, types and their order are a contract."""
    desk.send(sandbox.url)
    results = desk.results()

    assert dict(results.schema) == {
        "row": pl.UInt64,
        "key": pl.String,
        "address": pl.String,
        "status": pl.String,
        "reason": pl.String,
        "detail": pl.String,
        "message_id": pl.String,
        "provider": pl.String,
        "provider_id": pl.String,
        "batch": pl.String,
        "attempts": pl.UInt16,
        "http_status": pl.UInt16,
        "settled_at": pl.Datetime("us", "UTC"),
        "latency_ms": pl.Float32,
        "variant": pl.String,
    }
    assert results["key"].to_list() == [f"{row:05}" for row in range(100)]
    assert results["message_id"].to_list() == list(
        message_ids("letter", results["key"])
    )
    assert results["batch"].n_unique() == 10
    assert set(results["attempts"]) == {1}
    assert set(results["http_status"]) == {200}


@pytest.mark.parametrize("size", [1, 10])
def test_report_says_where_the_time_went_and_what_bounded_the_run(
    desk: Desk, sandbox: Site, size: int
) -> None:
    """A limit of 50 messages/s is what 100 messages wait for, one by one as well."""
    limit = ("--set", "limits.messages_per_second=50")
    small = ("--set", f"limits.batch_size={size}")
    ended = desk.send(sandbox.url, "--json", *limit, *small)

    assert ended.code == 0
    stages = ended.json["stages"]
    assert list(stages) == [
        "plan",
        "read",
        "render",
        "encode",
        "pace",
        "provider",
        "journal",
        "results",
    ]
    assert all(stage["seconds"] > 0 for stage in stages.values())
    assert stages["pace"]["messages_per_second"] < 110
    assert "waiting for the account's limit of 50 messages/s" in ended.json["bound"]
    assert "waiting for the account's limit of 50 messages/s" in ended.err


def test_json_is_one_object_on_stdout_and_words_are_on_stderr(
    desk: Desk, sandbox: Site
) -> None:
    """A pipe gets nothing but data."""
    ended = desk.send(sandbox.url, "--json")
    answer = ended.json

    assert ended.code == 0
    assert answer["campaign"] == "letter"
    assert answer["status"] == "finished"
    assert answer["rows"] == 100
    assert answer["counts"]["accepted"] == 100
    assert sum(answer["counts"].values()) == 100
    assert answer["results"] == str(desk.run_directory() / "results.parquet")
    assert answer["run"] == desk.run_directory().name
    assert {"seconds", "messages_per_second"} < answer.keys()
    assert "accepted" in ended.err


def test_the_list_the_place_and_the_copy_can_be_named(
    desk: Desk, sandbox: Site
) -> None:
    """--recipients, --runs-dir, --out, --limit and --set do what they say."""
    pl.DataFrame(
        {
            "id": [7, 8, 9],
            "email": ["a@x.example", "b@x.example", "c@x.example"],
            "name": ["A", "B", "C"],
        }
    ).write_parquet(desk.folder / "other.parquet")
    ended = desk.send(
        sandbox.url,
        "--recipients=other.parquet",
        "--runs-dir=elsewhere",
        "--out=copies/results.parquet",
        "--limit=2",
        "--set=limits.batch_size=1",
        "--json",
    )

    assert ended.code == 0
    copy = pl.read_parquet(desk.folder / "copies/results.parquet")
    assert copy["key"].to_list() == ["7", "8"]
    assert list(desk.folder.glob("elsewhere/letter/*/manifest.json"))
    assert sandbox.accepted() == ["a@x.example", "b@x.example"]
    assert sandbox.ask("stats")["requests"] == 2


def test_a_dry_run_sends_nothing_and_leaves_nothing(desk: Desk, sandbox: Site) -> None:
    """--dry-run plans: no request, no run directory, no token needed."""
    ended = desk.send(sandbox.url, "--dry-run", "--json")

    assert ended.code == 0
    assert ended.json["counts"]["mailable"] == 100
    assert ended.json["requests"] == 10
    assert sandbox.ask("stats")["requests"] == 0
    assert not desk.runs.exists()


def test_a_finished_campaign_is_not_sent_twice_by_accident(
    desk: Desk, sandbox: Site
) -> None:
    """A second send says when and to how many, exits 2, and --again is the way."""
    desk.send(sandbox.url)
    second = desk.send(sandbox.url)
    third = desk.send(sandbox.url, "--again")

    assert second.code == 2
    assert "100 messages" in second.err
    assert "--again" in second.err
    assert third.code == 0
    assert len(sandbox.ask("stats")["twice"]) == 100


def test_a_real_send_without_yes_and_nobody_to_ask_is_refused(
    desk: Desk, sandbox: Site
) -> None:
    """No question can be asked without a terminal; nothing is sent, nothing left."""
    ended = desk.run("send", "letter.toml", "--base-url", sandbox.url)

    assert ended.code == 2
    assert "--yes" in ended.err
    assert sandbox.ask("stats")["requests"] == 0
    assert not list(desk.runs.glob("letter/*/manifest.json"))


def test_a_wrong_credential_stops_the_run_and_burns_nothing(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """401 is exit 6 after one request; every row waits, and a resume sends them."""
    site = start_sandbox(credentials="refuse")
    refused = desk.send(site.url, "--json")

    assert refused.code == 6
    assert refused.json["status"] == "stopped"
    assert refused.json["counts"]["pending"] == 100
    assert site.ask("stats")["requests"] == 1
    assert "mailvolley resume" in refused.err

    site.fault()
    resumed = desk.run("resume", desk.run_directory(), "--yes", "--json")
    assert resumed.code == 0
    assert resumed.json["counts"]["accepted"] == 100
    assert site.ask("stats")["twice"] == []


def test_the_token_appears_nowhere(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Neither on the terminal nor in any file of the run, not even when refused."""
    site = start_sandbox(credentials="refuse")
    ended = desk.send(site.url, "--json")

    assert TOKEN not in ended.out + ended.err
    for file in desk.runs.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            ("letter.toml", "workers = 4", "workrs = 4"),
            '[limits] workrs: there is no such key; did you mean "workers"?',
        ),
        (
            ("list.csv", "id,email,name", "id,mail,name"),
            '[recipients] address = "email": the list has no such column',
        ),
        (("list.csv", "Reader 5\n", "Reader 5,more\n"), "list.csv:7"),
        (
            ("templates/letter/subject.txt.j2", "name", "nam"),
            'subject.txt.j2:1: "nam" is not a column of the list; did you mean "name"?',
        ),
        (("templates/letter/body.html.j2", "</p>", "{% if %}"), "body.html.j2:1:"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    desk: Desk, sandbox: Site, change: tuple[str, str, str], told: str
) -> None:
    """One clear line with the place, exit 2, no request, no run left behind."""
    name, old, new = change
    file = desk.folder / name
    file.write_text(file.read_text().replace(old, new))
    ended = desk.send(sandbox.url, "--json")

    assert ended.code == 2
    assert told in ended.err
    assert json.loads(ended.out)["exit"] == 2
    assert sandbox.ask("stats")["requests"] == 0
    assert not list(desk.runs.glob("letter/2*"))


def test_the_next_command_means_the_same_list_and_limits(desk: Desk) -> None:
    """What was laid over the file is laid over it again, ready to be pasted."""
    (desk.folder / "the other.csv").write_text("id,email,name\n1,a@inbox.example,Ann\n")
    given = ["--set", "recipients.source=the other.csv", "--limit", "1"]
    same = "letter.toml --limit 1 --set 'recipients.source=the other.csv'"
    planned = desk.run("plan", "letter.toml", *given)
    rehearsed = desk.run("send", "letter.toml", *given, "--sandbox")

    assert f"send {same} --sandbox\n" in planned.err
    assert f"send {same}   # for real\n" in rehearsed.err
