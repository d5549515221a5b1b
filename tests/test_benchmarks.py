"""The benchmarks measure what they say, and guard what was reached."""

import os
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from benchmarks import mail, promises
from benchmarks.quick import GUARDS, judge
from benchmarks.tally import Mail, Tally, read_brevo, read_cloudmails, read_mime

ROOT = Path(__file__).parent.parent
ROW = {
    "email": "zoë@list.example",
    "first_name": "d'arcy",
    "city": "Gdańsk",
    "tier": "gold",
    "book": "Swallows & Amazons",
    "points": 7,
}


@pytest.mark.slow
def test_a_message_costs_no_more_than_it_used_to(tmp_path: Path) -> None:
    """Per message, ours keeps its ratio to the obvious script and to the ceiling.

    Ratios of CPU time, with a wide margin: neither the machine nor its load matters.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        env={**os.environ, "BENCHMARKS_OUT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for guard in GUARDS:
        assert guard.job.title in done.stdout


@pytest.mark.parametrize("name", ["obvious", "ceiling"])
def test_a_cost_above_its_bound_is_told(name: str) -> None:
    """A ratio above its bound is a sentence, one at the bound is not."""
    bounds = {name: 2.0}
    assert judge({"ours": 10.0, name: 5.0}, bounds) == []
    (told,) = judge({"ours": 10.1, name: 5.0}, bounds)
    assert "2.02 times" in told


def _added(*mails: Mail) -> str:
    tally = Tally(strict=True)
    tally.add(mails)
    return str(tally.stats()["sum"])


def _forms(row: dict[str, object]) -> dict[str, Mail]:
    message = mail.build_message(row)
    (cloudmails,) = read_cloudmails([message])
    return {
        "cloudmails": cloudmails,
        "brevo": read_brevo(
            {
                "sender": {"name": "Harbour Books", "email": "hello@harbour.example"},
                "to": [{"email": message["to"]}],
                "subject": message["subject"],
                "htmlContent": message["html"],
                "textContent": message["text"],
            }
        ),
    }


def test_the_same_mail_adds_up_alike_in_every_form() -> None:
    """JSON of two APIs and RFC 5322 give one sum, so senders can be compared."""
    row = {**ROW, "email": "zoe@list.example"}
    message = mail.build_message(row)
    sums = {_added(form) for form in _forms(row).values()}
    sums.add(_added(read_mime(mail.build_raw(message)["mime_message"].encode())))
    assert len(sums) == 1


@pytest.mark.parametrize("place", range(5))
def test_another_mail_adds_up_differently(place: int) -> None:
    """A byte more in any field of any mail changes the sum."""
    one = _forms(ROW)["cloudmails"]
    other = list(one)
    other[place] += "x"
    sender, to, subject, html, text = other
    assert _added(one) != _added((sender, to, subject, html, text))
    assert _added(one, one) != _added(one)


def test_the_order_of_mails_does_not_count() -> None:
    """Senders may differ in the order in which they send."""
    one, two = _forms(ROW)["cloudmails"], _forms({**ROW, "points": 8})["cloudmails"]
    assert _added(one, two) == _added(two, one)


def test_a_mail_without_a_body_is_refused() -> None:
    """A sender that leaves out a part fails the comparison, and says so."""
    bare = EmailMessage()
    bare["From"], bare["To"], bare["Subject"] = "a@b.example", "c@d.example", "x"
    bare.set_content("text alone")
    with pytest.raises(ValueError, match="both bodies"):
        read_mime(bare.as_bytes())


def test_the_worst_second_is_found() -> None:
    """Of requests that come at once, all messages count towards one second."""
    tally = Tally(strict=False)
    for count in (100, 100, 50):
        tally.count(count, 1)
    assert tally.stats()["worst_second"] == 250
    assert tally.stats()["requests"] == 3


def test_a_promise_is_judged_by_its_direction() -> None:
    """What may be too much and what may be too little are told apart."""
    cpu, speed = promises.PROMISES[:2]
    assert [cpu.verdict(value) for value in (8, 15, 15.1)] == [
        "aim",
        "reached",
        "not yet",
    ]
    assert [speed.verdict(value) for value in (150_000, 75_000, 74_999)] == [
        "aim",
        "reached",
        "not yet",
    ]


def test_a_busy_machine_excuses_the_clock_and_not_the_cpu() -> None:
    """Load explains low messages/s, and never much CPU; a bound kept is kept."""
    cpu, speed = promises.PROMISES[:2]
    assert speed.verdict(10.0, load=1000.0) == "machine too busy to tell"
    assert cpu.verdict(100.0, load=1000.0) == "not yet"
    assert speed.verdict(75_000, load=1000.0) == "reached"


def test_only_what_was_measured_is_promised() -> None:
    """A part that was not measured leaves its promise out, and no gap."""
    start = {"commands": {"mailvolley --help": {"wall": 61.0}}, "load": 0.5}
    laid = promises.build_promises({"jobs": {}, "start": start}).splitlines()
    assert len(laid) == 3
    assert laid[2].startswith("| `mailvolley --help`: ms | 61 |")
