"""`mailvolley test`: to oneself, marked, and unknown to the campaign."""

import polars as pl
import pytest
from end_to_end.desk import TOKEN, Desk, Site

from engine.batch import message_ids

ME = "me@mine.example"


def trial(desk: Desk, site: Site, *words: object) -> dict[str, object]:
    """Send a test to me; return what `--json` prints."""
    ended = desk.run(
        *("test", "letter.toml", "--to", ME, "--base-url", site.url),
        *("--yes", "--json", *words),
    )
    assert ended.code == 0, ended.err
    assert TOKEN not in ended.err + ended.out
    return ended.json


def messages(site: Site) -> list[dict[str, object]]:
    """Return what the provider has accepted."""
    found: list[dict[str, object]] = site.ask("messages")["messages"]
    return found


def test_it_goes_to_the_given_addresses_alone_and_says_so(
    desk: Desk, sandbox: Site
) -> None:
    """Each chosen row goes to each address with its own data, and to nobody else."""
    report = trial(
        desk, sandbox, "--to", "you@mine.example", "--row", 7, "--key", "00003"
    )
    got = [(m["to"], m["subject"], m["text"]) for m in messages(sandbox)]
    assert sorted(got) == [
        (ME, "[Test] Hello Reader 3", "Dear Reader 3, no. 00003"),
        (ME, "[Test] Hello Reader 7", "Dear Reader 7, no. 00007"),
        ("you@mine.example", "[Test] Hello Reader 3", "Dear Reader 3, no. 00003"),
        ("you@mine.example", "[Test] Hello Reader 7", "Dear Reader 7, no. 00007"),
    ]
    assert report["counts"]["accepted"] == report["rows"] == 4  # type: ignore[index]


def test_a_send_after_it_still_writes_to_everyone(desk: Desk, sandbox: Site) -> None:
    """The campaign has not been sent by a test, not even to the person of its row."""
    trial(desk, sandbox)
    ended = desk.send(sandbox.url, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["counts"]["accepted"] == 100
    assert sandbox.accepted() == sorted(
        [ME, *(f"reader{n}@inbox.example" for n in range(100))]
    )
    assert sandbox.ask("stats")["twice"] == []
    campaign = [path.parent.parent.name for path in desk.runs.glob("*/*/manifest.json")]
    assert sorted(campaign) == ["letter", "letter.test"]


def test_two_tests_and_the_real_thing_have_different_message_ids(
    desk: Desk, sandbox: Site
) -> None:
    """No provider can take one for the other."""
    for _ in range(2):
        trial(desk, sandbox, "--row", 0)
    ids = [
        pl.read_parquet(path)["message_id"].item()
        for path in desk.runs.glob("letter.test/*/results.parquet")
    ]
    assert len({*ids, *message_ids("letter", ["00000"])}) == 3


def test_copies_are_left_out_and_a_header_says_test(desk: Desk, sandbox: Site) -> None:
    """Nobody in cc and bcc gets it; where headers travel, one marks it."""
    definition = desk.campaign.read_text()
    desk.campaign.write_text(
        definition.replace(
            '[provider]\nname = "cloudmails"',
            '[provider]\nname = "cloudflare"\naccount_id = "' + "0" * 32 + '"',
        )
        .replace(
            "[provider]",
            'cc = "boss@harbour.example"\nbcc = "{{ id }}@harbour.example"\n[provider]',
        )
        .replace("batch_size = 10\n", "")
    )
    site = f"{sandbox.root}/cloudflare/client/v4"
    words = ("test", "letter.toml", "--to", ME, "--base-url", site, "--yes")
    ended = desk.run(*words)
    assert ended.code == 0, ended.err
    (sent,) = messages(sandbox)
    assert sent["recipients"] == [ME]
    mail = str(sent["mime_message"])
    assert "\r\nSubject: [Test] Hello Reader 0\r\n" in mail
    assert "\r\nX-Mailvolley-Test: yes\r\n" in mail
    assert "harbour.example>" in mail
    assert "boss" not in mail


def test_what_holds_a_campaign_back_does_not_hold_a_test(
    desk: Desk, sandbox: Site
) -> None:
    """A canary's wait, a deadline or an expected audience is the campaign's matter."""
    held = "start_by = 2020-01-01T00:00:00Z\n"
    held += desk.campaign.read_text() + "[expect]\nmin = 1000\n"
    desk.campaign.write_text(held + '[canary]\nshare = 0.5\nwait = "1h"\n')
    trial(desk, sandbox, "--row", 1, "--row", 2)
    assert len(messages(sandbox)) == 2
    (manifest,) = desk.runs.glob("letter.test/*/manifest.json")
    assert '"canary": ' not in manifest.read_text().partition('"versions"')[2]


def test_the_worst_row_is_the_one_that_is_worst(desk: Desk, sandbox: Site) -> None:
    """--worst takes the row with gaps in its sentences, if none fails."""
    path = desk.folder / "list.csv"
    path.write_text(path.read_text().replace("Reader 42", ""))
    words = ("--to", ME, "--base-url", sandbox.url, "--yes", "--worst")
    ended = desk.run("test", "letter.toml", *words)
    assert ended.code == 0, ended.err
    assert [m["text"] for m in messages(sandbox)] == ["Dear , no. 00042"]
    assert f"test       row 42 (00042), to {ME}" in ended.err
    assert "filled row by row" not in ended.err  # that is the mark's doing


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "nobody"], "--to nobody: "),
        (["--row", "100"], "--row 100: the list has rows 0 to 99"),
        (["--key", "who"], "--key who: nobody on the list has it"),
        ([f"--row={n}" for n in range(51)], "at most 50 messages"),
    ],
)
def test_what_is_not_fit_is_refused_and_leaves_nothing(
    desk: Desk, words: list[str], told: str
) -> None:
    """Exit code 2, a sentence, no run."""
    ended = desk.run("test", "letter.toml", "--to", ME, "--sandbox", *words)
    assert ended.code == 2
    assert told in ended.err
    assert list(desk.runs.glob("**/manifest.json")) == []


def test_nobody_is_mailed_without_a_yes(desk: Desk, sandbox: Site) -> None:
    """A real address is asked about first; nobody there is a no."""
    ended = desk.run("test", "letter.toml", "--to", ME, "--base-url", sandbox.url)
    assert ended.code == 2
    assert "nobody is here to say yes" in ended.err
    assert messages(sandbox) == []
