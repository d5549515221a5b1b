"""What CloudMails says became of a message: in its webhooks and to a lookup.

Source:
    CloudMails, "SMTP API Documentation", Webhooks and Email Status Endpoint: the flat
    form. docs/webhooks.php: the nested form, which has no `unsubscribed` and no
    `custom_args`.
"""

from datetime import datetime

from engine.sandbox.store import Happening

_EVENTS = frozenset(
    ("delivered", "bounced", "opened", "clicked", "unsubscribed", "complained")
)
#: Of docs/webhooks.php: each event, and what its data tells beside id and recipient.
_NESTED: dict[str, tuple[str, dict[str, object]]] = {
    "delivered": ("email.delivered", {"isp": "example"}),
    "deferred": (
        "email.bounced",
        {
            "bounce_type": "soft",
            "bounce_code": "451 4.7.1",
            "bounce_description": "Greylisted, try again later",
        },
    ),
    "bounced": (
        "email.bounced",
        {
            "bounce_type": "hard",
            "bounce_code": "550 5.1.1",
            "bounce_description": "No such user",
        },
    ),
    "complained": ("email.complained", {}),
    "opened": ("email.opened", {}),
    "clicked": ("email.clicked", {"url": "https://sandbox.example/clicked"}),
}


def flat(happening: Happening) -> dict[str, object] | None:
    """Write an event in the form of the REST API's document."""
    if happening.kind not in _EVENTS:
        return None
    kept, content = happening.kept, happening.content
    custom_args: object = {} if kept.key is None else {"message_id": kept.key}
    if content is not None:
        custom_args = content.get("custom_args", {})
    return {
        "event": happening.kind,
        "message_id": kept.message_id,
        "timestamp": moment_text(happening.at),
        "recipient": kept.to,
        "custom_args": custom_args,
    }


def nested(happening: Happening) -> dict[str, object] | None:
    """Write an event in the form of docs/webhooks.php, which has no custom_args."""
    if happening.kind not in _NESTED:
        return None
    event, more = _NESTED[happening.kind]
    return {
        "event": event,
        "timestamp": int(happening.at.timestamp()),
        "data": {
            "message_id": happening.kept.message_id,
            "recipient": happening.kept.to,
            **more,
        },
    }


def moment_text(moment: datetime) -> str:
    """Write a moment as CloudMails does: ISO 8601 with a Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def status(happening: Happening) -> dict[str, object]:
    """Return the fields of a status that something changes."""
    at = moment_text(happening.at)
    changes: dict[str, dict[str, object]] = {
        "delivered": {"status": "delivered", "delivered_at": at},
        "deferred": {"status": "deferred"},
        "bounced": {"status": "bounced", "bounce_reason": "550 5.1.1 No such user"},
        "suppressed": {"status": "failed"},
        "opened": {"opens": 1},
        "clicked": {"clicks": 1},
    }
    return changes.get(happening.kind, {})
