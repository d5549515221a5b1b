"""What became of the messages sent: the outbound messages of the Core API.

Each recipient meets the fate of its own address, as far as it has come by the moment
of asking. Of a message that was not kept whole only its first recipient is known.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from engine.sandbox.cloudmailin.form import Ask, Flaw
from engine.sandbox.cloudmailin.message import Envelope, bare
from engine.sandbox.cloudmailin.search import Query, newest
from engine.sandbox.fate import Kind, fate
from engine.sandbox.store import Answer, Kept, Store, json_answer

#: The provider's word for each thing that can happen; it has none for unsubscribing.
KINDS: Final[dict[Kind, str]] = {
    "accepted": "registration",
    "sent": "dispatch",
    "delivered": "delivery",
    "deferred": "soft_bounce",
    "bounced": "bounce",
    "opened": "open",
    "clicked": "click",
    "complained": "complaint",
    "suppressed": "suppressed",
}
#: Kinds that the show endpoint leaves out.
_INTERNAL = frozenset(("process", "spamd", "complaint"))
#: What a mailbox server answered: its code, the enhanced code, and the text.
_REPLIES: Final[dict[Kind, tuple[str, str, str]]] = {
    "delivered": ("250", "2.0.0", "OK"),
    "deferred": ("451", "4.7.1", "Greylisted, try again later"),
    "bounced": ("550", "5.1.1", "No such user"),
}
_ACCOUNT_ID = re.compile(r"[0-9a-f]{16}").fullmatch


def account_mark(username: str) -> str:
    """Return what the ids of an account's messages begin with.

    The ids carry it, so that a list by account needs no memory beside the store's.
    """
    return f"{crc32(username.encode()):08x}"


def details(kind: Kind, recipient: str) -> dict[str, str]:
    """Say what an event knows besides its kind and time."""
    if kind not in _REPLIES:
        return {}
    code, status, text = _REPLIES[kind]
    return {
        "agent": "DSN",
        "reply_code": code,
        "delivery_status": status,
        "smtp_response": f"{code} {status} {text}",
        "remote_host": f"mx.{recipient.rpartition('@')[2]}",
    }


class OutboundMessages:
    """The messages that a dialect accepted, as its Core API shows them."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def list(self, ask: Ask, store: Store) -> Answer:
        """Answer with those of an outbound account, newest first."""
        account_id = ask.required("outbound_account_id")
        if _ACCOUNT_ID(account_id) is None:
            raise Flaw(422, "outbound_account_id must be 16 hexadecimal digits")
        query = Query(ask.query.get("query", ""))
        mark = f"{account_mark(account_id)}-"
        found = (
            item
            for kept in store.all(self._dialect)
            if kept.message_id.startswith(mark)
            if query.matches(item := _item(kept, store, ask.at, whole=False))
        )
        return json_answer(200, newest(found, ask))

    def show(self, ask: Ask, store: Store) -> Answer:
        """Answer with one, and all that happened to it."""
        kept = store.find(ask.id, self._dialect)
        if kept is None:
            raise Flaw(404, f"There is no outbound message {ask.id}")
        return json_answer(200, _item(kept, store, ask.at, whole=True))


def _item(kept: Kept, store: Store, now: datetime, *, whole: bool) -> dict[str, object]:
    """Write one message, with its recipients' last events, or all if `whole`."""
    content = store.content(kept)
    if content is None:
        envelope = Envelope("", [kept.to], [], None, [], test_mode=False, key=kept.key)
    else:
        envelope = Envelope.read(content)
    accepted = store.moment(kept.request)
    recipients = []
    for email in envelope.recipients:
        shown = fate(email, kept.message_id)[: 1 if envelope.test_mode else None]
        steps = [(step.kind, step.after * store.pace) for step in shown]
        events = list(_events(email, steps, accepted, now))
        recipient: dict[str, object] = {"email": email}
        recipient["last_event"] = events[-1]["kind"]
        recipients.append(recipient | ({"events": events} if whole else {}))
    return {
        "id": kept.message_id,
        "from": bare(envelope.sender),
        "subject": envelope.subject,
        "message_id": f"<{kept.message_id}@cloudmta.net>",
        "to": [bare(mailbox) for mailbox in envelope.to],
        "cc": [bare(mailbox) for mailbox in envelope.cc],
        "tags": envelope.tags,
        "test_mode": envelope.test_mode,
        "created_at": _moment(accepted),
        "recipients": recipients,
    }


def _events(
    email: str,
    steps: list[tuple[Kind, float]],
    accepted: datetime,
    now: datetime,
) -> Iterator[dict[str, object]]:
    for kind, after in steps:
        at = accepted + timedelta(seconds=after)
        word = KINDS.get(kind)
        if word is not None and word not in _INTERNAL and at <= max(now, accepted):
            yield {
                "kind": word,
                "timestamp": _moment(at),
                "details": details(kind, email),
            }


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
