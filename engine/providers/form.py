"""Messages as JSON: what they share is written once, the rest goes into its gaps.

    form = Form(len(messages))
    form.fixed("from", "hello@harbour.example")
    form.text("subject", messages.subjects)
    form.rows()                 one JSON object per message
    form.listed("messages")     the same, in the request that has room for them all

Beside the form, what the APIs that take JSON have in common: the request
(`check_batch`, `listed`, `post`).

How it works: a form is a row of pieces, as `engine.texts` has them. What is the same
for all runs together, the static text of templates with the names of fields around it;
so a message is joined once, from the slots of its templates to its request. And the
bytes are the same for the same input, whatever else is encoded beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import orjson

from engine.listed import Listed, enclosed, gather
from engine.message import Batch, Envelope, Extras, Messages, Request
from engine.mime import mailbox
from engine.texts import Texts, insides, joined

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

#: What is the same for all, or one for each: taken as it is needed, for there may be
#: attachments in it.
_Piece = bytes | Iterable[bytes]


class Form:
    """JSON objects that are alike.

    Args:
        count: objects.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pieces: list[_Piece] = [b"{"]

    def fixed(self, name: str, value: object) -> None:
        """Give every object the same value."""
        self._field(name, orjson.dumps(value))

    def column(self, name: str, values: Iterable[object]) -> None:
        """Give each object its own value."""
        self._field(name, map(orjson.dumps, values))

    def text(self, name: str, texts: Sequence[str]) -> None:
        """Give each object a text of its own."""
        pieces = texts.pieces if isinstance(texts, Texts) else [insides(texts)]
        self._field(name, b'"', *pieces, b'"')

    def extras(
        self, envelope: Envelope, messages: Messages, encode: Callable[[Extras], bytes]
    ) -> None:
        """Give each object what else its message has, encoded once where all share it.

        A field must come before.

        Args:
            envelope: what all messages share.
            messages: the messages.
            encode: makes fields of it: `,"name":value` each, or nothing at all.
        """
        self._add(_each(envelope, messages, encode))

    def facts(self, name: str, envelope: Envelope, messages: Messages) -> None:
        """Give each object an object that is to come back in events.

        The user's, and ours: campaign, run, tags, row, message_id. Ours are never
        replaced, for events are joined to rows by them. All of them are text.
        """
        ours = {"campaign": envelope.campaign, "run": envelope.run}
        if envelope.tags:
            ours["tags"] = ",".join(envelope.tags)

        def shared(extras: Extras) -> bytes:
            user = {k: v for k, v in extras.metadata.items() if k not in _OWN}
            return orjson.dumps({**user, **ours})[:-1]

        self._field(
            name,
            _each(envelope, messages, shared),
            b',"row":"',
            orjson.dumps(messages.rows)[1:-1].split(b","),
            b'","message_id":"',
            insides(messages.message_ids),
            b'"}',
        )

    def rows(self) -> list[bytes]:
        """Return the objects.

        Raises:
            ValueError: a column has more or fewer values.
        """
        return [*self._joined()] if self._count else []

    def listed(self, name: str, *, most: int, most_bytes: int) -> Sequence[bytes]:
        """Return the objects as they stand in a request that lists them: see `listed`.

        As `rows` does where no list has room for them all.

        Args:
            name: the field of the list.
            most: objects of a request at most; 1: there is no list.
            most_bytes: bytes of a request at most.

        Raises:
            ValueError: a column has more or fewer values.
        """
        if most == 1 or not 0 < self._count <= most:
            return self.rows()
        return gather(name, self._joined(), most=most_bytes)

    def _joined(self) -> Iterator[bytes]:
        return joined(self._count, [*self._pieces, b"}"])

    def _field(self, name: str, *value: _Piece) -> None:
        comma = b"" if self._pieces == [b"{"] else b","
        self._add(comma + orjson.dumps(name) + b":")
        for piece in value:
            self._add(piece)

    def _add(self, piece: _Piece) -> None:
        last = self._pieces[-1]
        if isinstance(piece, bytes) and isinstance(last, bytes):
            self._pieces[-1] = last + piece
        else:
            self._pieces.append(piece)


#: What `Form.facts` tells of a message alone.
_OWN = frozenset({"row", "message_id"})


def _each(
    envelope: Envelope, messages: Messages, encode: Callable[[Extras], bytes]
) -> _Piece:
    """Encode what else messages have: once where all share it."""
    if messages.extras is None:
        return encode(envelope.extras)
    return map(encode, messages.extras)


def bare(mailboxes: Sequence[str]) -> list[str] | None:
    """Return the addresses of mailboxes, for APIs that take no names; None for none."""
    return [mailbox.parse(text).address for text in mailboxes] or None


def fragment(fields: dict[str, object]) -> bytes:
    """Return fields as `Form.extras` takes them; those that are None are left out."""
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


def listed(name: str, parts: Sequence[bytes]) -> bytes:
    """Return an object whose only field is the list of the parts, one or more."""
    if isinstance(parts, Listed) and parts.name == name:
        return parts.whole
    return enclosed(name, parts)


def post(path: str, body: bytes) -> Request:
    """Return the request that carries JSON to a path."""
    return Request("POST", path, _HEADERS, body)
