"""What Cloudflare's event subscriptions say of a message.

They go to a Cloudflare Queue, not over HTTP; a Worker may forward them as they are, and
that is what is written here. Acceptance, openings, clicks and unsubscriptions have no
event.

Source:
    Cloudflare Queues, "Event subscriptions", Email Sending, read 2026-11-20.
"""

import uuid
from typing import Final

import orjson

from engine.sandbox.cloudflare.mail import subject_of
from engine.sandbox.store import Happening

#: The event of each kind, whether it is the last word, and what it adds to the payload.
_EVENTS: Final[dict[str, tuple[str, bool, dict[str, object]]]] = {
    "delivered": (
        "delivered",
        True,
        {
            "delivery": {
                "status": "delivered",
                "provider": "external_smtp",
                "deliveryTimeMs": 1234,
                "smtpStatusCode": "250",
                "smtpEnhancedStatusCode": "2.0.0",
                "smtpResponse": "250 2.0.0 OK",
            }
        },
    ),
    "deferred": (
        "deferred",
        False,
        {
            "delivery": {
                "status": "deferred",
                "provider": "external_smtp",
                "deliveryTimeMs": 1234,
                "smtpStatusCode": "451",
                "smtpEnhancedStatusCode": "4.2.0",
                "smtpResponse": "451 4.2.0 Temporary mailbox error",
            },
            "bounce": {
                "type": "soft",
                "classification": "temporary_failure",
                "reason": "451 4.2.0 Temporary mailbox error",
            },
        },
    ),
    "bounced": (
        "bounced",
        True,
        {
            "delivery": {
                "status": "bounced",
                "provider": "external_smtp",
                "deliveryTimeMs": 1234,
                "smtpStatusCode": "550",
                "smtpEnhancedStatusCode": "5.1.1",
                "smtpResponse": "550 5.1.1 User unknown",
            },
            "bounce": {
                "type": "hard",
                "classification": "permanent_failure",
                "reason": "550 5.1.1 User unknown",
            },
        },
    ),
    "complained": (
        "complained",
        True,
        {"delivery": {"status": "complained"}, "complaint": {"type": "abuse"}},
    ),
    "suppressed": (
        "rejected",
        True,
        {
            "delivery": {"status": "rejected"},
            "rejection": {
                "reason": "suppressed",
                "party": "recipient",
                "detail": "Recipient is suppressed",
            },
        },
    ),
}


def event_of(happening: Happening) -> bytes | None:
    """Write the event of a happening, if there is one."""
    if happening.kind not in _EVENTS:
        return None
    word, is_last, more = _EVENTS[happening.kind]
    kept, content = happening.kept, happening.content or {}
    sender = content.get("from", "")
    sender = str(sender.get("address") if isinstance(sender, dict) else sender)
    domain = sender.partition("@")[2]
    payload: dict[str, object] = {
        "eventId": _id(f"{kept.message_id} {happening.kind}"),
        "messageId": kept.message_id,
        "sender": sender,
        "recipient": kept.to,
    }
    if word != "complained":
        payload["subject"] = subject_of(content)
    event = {
        "type": f"cf.email.sending.message.{word}",
        "source": {
            "type": "email.sending",
            "zoneId": _id(domain).replace("-", ""),
            "domain": domain,
        },
        "payload": payload | {"terminal": is_last} | more,
        "metadata": {
            "accountId": content.get("account_id", ""),
            "eventSubscriptionId": _id("subscription").replace("-", ""),
            "eventSchemaVersion": 1,
            "eventTimestamp": _text(happening),
        },
    }
    return orjson.dumps(event)


def _id(name: str) -> str:
    """Derive an id, so that an event told twice is the same event."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _text(happening: Happening) -> str:
    moment = happening.at.isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
