"""Messages as JSON: what they share is written once, the rest goes into its gaps.

    form = Form()
    form.fixed("from", "hello@harbour.example")
    form.column("to", messages.addresses)
    form.rows()                 one JSON object per message

Beside the form, what the APIs that take JSON have in common: the request
(`check_batch`, `post`) and the facts that come back in events (`facts`).

Half the time of a dict per message (1.6 against 3.7 us for 2.2 kB, 2026-11-20), and the
bytes are the same for the same input, whatever else is encoded beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat

import orjson

from engine.message import Batch, Envelope, Extras, Messages, Request
from engine.mime import mailbox

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class Form:
    """JSON objects that are alike."""

    def __init__(self) -> None:
        self._form = b"{"
        self._columns: list[Iterable[bytes]] = []

    def fixed(self, name: str, value: object) -> None:
        """Give every object the same value."""
        self._field(name, orjson.dumps(value).replace(b"%", b"%%"))

    def column(self, name: str, values: Iterable[object]) -> None:
        """Give each object its own value."""
        self.encoded(name, map(orjson.dumps, values))

    def encoded(self, name: str, values: Iterable[bytes]) -> None:
        """Give each object its own value, which is JSON already."""
        self._field(name, b"%b")
        self._columns.append(values)

    def spread(self, fragments: Iterable[bytes]) -> None:
        """Give each object further fields: `,"name":value` each, or nothing at all.

        A field must come before; another `Form` cannot end with these alone.
        """
        self._form += b"%b"
        self._columns.append(fragments)

    def extras(
        self, envelope: Envelope, messages: Messages, encode: Callable[[Extras], bytes]
    ) -> None:
        """Give each object what else its message has, encoded once where all share it.

        Args:
            envelope: what all messages share.
            messages: the messages.
            encode: makes fields of it, as `spread` takes them.
        """
        if messages.extras is None:
            self.spread(repeat(encode(envelope.extras), len(messages)))
        else:
            self.spread(map(encode, messages.extras))

    def rows(self) -> list[bytes]:
        """Return the objects: as many as the shortest column has values.

        Raises:
            ValueError: the columns differ in length, or there is none.
        """
        if not self._columns:
            raise ValueError("a form without columns has no rows")
        form = self._form + b"}"
        return [form % values for values in zip(*self._columns, strict=True)]

    def _field(self, name: str, value: bytes) -> None:
        comma = b"" if self._form == b"{" else b","
        named = orjson.dumps(name).replace(b"%", b"%%")
        self._form += comma + named + b":" + value


def bare(mailboxes: Sequence[str]) -> list[str] | None:
    """Return the addresses of mailboxes, for APIs that take no names; None for none."""
    return [mailbox.parse(text).address for text in mailboxes] or None


def fragment(fields: dict[str, object]) -> bytes:
    """Return fields as `Form.spread` takes them; those that are None are left out."""
    present = {name: value for name, value in fields.items() if value is not None}
    encoded = orjson.dumps(present)[1:-1]
    return b"," + encoded if encoded else b""


def check_batch(batch: Batch, most: int) -> None:
    """Refuse a batch that no request has room for.

    Raises:
        ValueError: it has no message, or more than `most`.
    """
    if not 1 <= len(batch) <= most:
        raise ValueError(
            f"batch {batch.id} has {len(batch)} messages: must be 1 to {most}"
        )


def post(path: str, body: bytes) -> Request:
    """Return the request that carries JSON to a path."""
    return Request("POST", path, _HEADERS, body)


def facts(envelope: Envelope, messages: Messages) -> Iterator[bytes]:
    """Yield what is to come back in events, a JSON object for each message.

    The user's, and ours: campaign, run, tags, row, message_id. Ours are never replaced,
    for events are joined to rows by them. All of them are text.
    """
    ours = {"campaign": envelope.campaign, "run": envelope.run}
    if envelope.tags:
        ours["tags"] = ",".join(envelope.tags)
    own = messages.extras or repeat(envelope.extras, len(messages))
    each = zip(messages.rows, messages.message_ids, own, strict=True)
    for row, message_id, extras in each:
        told = {"row": str(row), "message_id": message_id}
        yield orjson.dumps({**extras.metadata, **ours, **told})
