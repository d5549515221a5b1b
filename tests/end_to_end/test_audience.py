"""Who is left out of a campaign for what else they are or have got."""

import json

from end_to_end.desk import Desk, Site


def _add(desk: Desk, *lines: str) -> None:
    desk.campaign.write_text(desk.campaign.read_text() + "\n".join(lines) + "\n")


def test_nobody_is_mailed_more_often_than_the_campaign_allows(
    desk: Desk, sandbox: Site
) -> None:
    """A second letter within the week reaches only those who had none."""
    desk.send(sandbox.url, "--limit=60")
    _add(desk, "[audience]", 'not_mailed_within = "7 days"', 'counting = "all"')
    desk.campaign.rename(desk.folder / "other.toml")
    other = desk.folder / "other.toml"
    other.write_text(other.read_text().replace('"letter"', '"other"', 1))
    sent = desk.run("send", "other.toml", "--base-url", sandbox.url, "--yes", "--json")

    assert sent.code == 0
    assert sent.json["counts"]["suppressed"] == 60
    assert len(set(sandbox.accepted())) == len(sandbox.accepted()) == 100
    again = desk.run(
        "send", "other.toml", "--base-url", sandbox.url, "--yes", "--json", "--again"
    )
    assert again.json["counts"]["suppressed"] == 100
    assert "100 rows: suppressed, mailed_recently" in again.err
    assert len(sandbox.accepted()) == 100


def test_an_unfinished_run_goes_on_without_asking_who_is_left_out(
    desk: Desk, sandbox: Site
) -> None:
    """What was planned stays planned: its own messages leave nobody of it out."""
    (desk.folder / "staff.csv").write_text("email\nreader7@inbox.example\n")
    _add(
        desk,
        "[audience]",
        'exclude = ["staff.csv"]',
        'not_mailed_within = "7 days"',
        'counting = "all"',
    )
    sandbox.fault(credentials_after=3)
    assert desk.send(sandbox.url).code == 6
    sandbox.fault()
    (desk.folder / "staff.csv").write_text("email\n")
    assert desk.send(sandbox.url).code == 2
    resumed = desk.run("resume", desk.run_directory(), "--yes", "--json")
    assert resumed.json["counts"]["accepted"] == 99
    manifest = json.loads((desk.run_directory() / "manifest.json").read_bytes())
    assert [1] == [len(one["files"]) for one in manifest["excluded"]]
    assert sandbox.ask("stats")["twice"] == []
