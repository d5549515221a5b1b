"""django-anymail: Django's messages, sent through its backend for Brevo.

As its documents show: one connection for all messages, `send_messages`. It sends one
after the other. The bodies are rendered with Jinja, as everywhere here.
"""

import argparse
import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import django
from anymail.message import AnymailMessage
from django.conf import settings
from django.core.mail import get_connection

from benchmarks.mail import build_message

#: Messages made before they are sent: a list in memory, but not the whole.
AT_ONCE = 100


def build_mails(rows: Iterator[dict[str, str]]) -> list[AnymailMessage]:
    """Make Django's messages of the next rows."""
    mails = []
    for row in islice(rows, AT_ONCE):
        message = build_message(row)
        mail = AnymailMessage(
            message["subject"], message["text"], message["from"], [message["to"]]
        )
        mail.attach_alternative(message["html"], "text/html")
        mails.append(mail)
    return mails


def send(recipients: Path, out: Path, *, base_url: str) -> None:
    """Send to every row of `recipients` and write one line each to `out`."""
    brevo = {"BREVO_API_KEY": "bench", "BREVO_API_URL": f"{base_url}/v3/"}
    settings.configure(
        EMAIL_BACKEND="anymail.backends.brevo.EmailBackend",
        ANYMAIL=brevo,
        INSTALLED_APPS=["anymail"],
    )
    django.setup()
    with (
        recipients.open(newline="", encoding="utf-8") as file,
        out.open("w", newline="", encoding="utf-8") as results,
        get_connection() as connection,
    ):
        rows, lines = csv.DictReader(file), csv.writer(results)
        while mails := build_mails(iter(rows)):
            connection.send_messages(mails)
            for mail in mails:
                status = mail.anymail_status
                lines.writerow([mail.to[0], status.message_id, status.status])


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.by_anymail")
    parser.add_argument("recipients", type=Path, help="a CSV file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-url", required=True)
    options = parser.parse_args()
    send(options.recipients, options.out, base_url=options.base_url)


if __name__ == "__main__":
    main()
