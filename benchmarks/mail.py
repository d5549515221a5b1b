"""The mails of the benchmarks, rendered the way everybody does it.

What the senders by hand have in common: `Template.render` for each part, and the words
of the API that a job speaks. Standard library and Jinja alone, so that the peers'
environment can import it, too.
"""

from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import jinja2

SENDER = "Harbour Books <hello@harbour.example>"
TEMPLATES = Path(__file__).parent / "material" / "templates" / "bench"
#: What senders by hand may speak: CloudMails' JSON, or Cloudflare's `send_raw`.
APIS = ("cloudmails", "cloudflare")
ACCOUNT = "bench"

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=jinja2.select_autoescape(["html.j2"]),
    undefined=jinja2.StrictUndefined,
)
subject = environment.get_template("subject.txt.j2")
html = environment.get_template("body.html.j2")
text = environment.get_template("body.txt.j2")


def build_message(row: dict[str, Any]) -> dict[str, str]:
    """Render one recipient's mail, in the words of CloudMails."""
    return {
        "from": SENDER,
        "to": row["email"],
        "subject": subject.render(row),
        "html": html.render(row),
        "text": text.render(row),
    }


def build_raw(message: dict[str, str]) -> dict[str, Any]:
    """Write one mail whole, with the standard library, in the words of Cloudflare."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = message["from"]
    mail["To"] = message["to"]
    mail["Subject"] = message["subject"]
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain="harbour.example")
    mail.set_content(message["text"])
    mail.add_alternative(message["html"], subtype="html")
    return {
        "from": "hello@harbour.example",
        "mime_message": mail.as_string(),
        "recipients": [message["to"]],
    }


def build_request(
    api: str, messages: Sequence[dict[str, str]], *, batch: int
) -> tuple[str, Any]:
    """Put messages into one request.

    Args:
        api: one of `APIS`.
        messages: as `build_message` makes them; one where `batch` is 1.
        batch: messages of a full request.

    Returns:
        Its path, and what its body is the JSON of.
    """
    if api == "cloudflare":
        path = f"/accounts/{ACCOUNT}/email/sending/send_raw"
        return path, build_raw(messages[0])
    if batch == 1:
        return "/send", messages[0]
    return "/send/batch", {"messages": messages}


def read_answer(api: str, answer: Any, *, batch: int) -> list[dict[str, Any]]:
    """Return what an answer says of each message."""
    if api == "cloudflare":
        return [answer["result"]]
    results: list[dict[str, Any]] = [answer] if batch == 1 else answer["results"]
    return results
