"""CloudMailin: `POST /{SMTP username}/messages`, one message in a request.

    provider.py    what the API can do, its requests and answers
    field.py       the fields of a message that are not text alone

Two formats: `json`, of which CloudMailin makes the message, and `raw`, a message of
RFC 5322 that we make (7 bits a character, CRLF).

How a message is found again: the `id` of the answer is the `message_id` of its events.
A raw message bears a Message-ID of ours, which comes back as `original_message_id`. The
document does not say that `headers` may hold one, so a JSON message has none. For both,
the run's id is one of the tags: the list of sent messages shows tags and recipients,
and so finds a message whose answer was lost.

Credentials are those of the SMTP account: its username stands in the path of the
request. The token may also be the whole URL of CLOUDMAILIN_SMTP_URL, as CloudMailin's
own clients take it.

Source:
    "Send Email Message API" and the schemas Message, RawMessage and MessageAttachment
    of the Core API, of docs.cloudmailin.com; its pages "Sending with CloudMailin
    Outbound" (limits), "Setting SMTP queue priority and tagging" and "Outbound email
    event webhook"; OpenAPI 0.1.0 of 2021 in the history of its documents (statuses and
    errors); the clients cloudmailin-js and cloudmailin-go. Read 2026-11-20.
"""

from engine.providers.cloudmailin.provider import CloudMailin

__all__ = ["CloudMailin"]
