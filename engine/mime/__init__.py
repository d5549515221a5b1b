"""Messages as RFC 5322 has them, for the APIs that take them whole.

    Skeleton(envelope).encode(messages)     one text each, CRLF, 7-bit safe

They are `engine.texts.Texts`, for these APIs take them as a string of JSON: what all
messages share is escaped once, and a message is joined first in its request.

mailbox.py    `Name <address>` and its parts; domains beyond ASCII
header.py     one field: encoded words, folding, names, addresses
body.py       one part: 7bit, quoted-printable or base64, whichever fits the text
bodies.py     a column of parts: what its texts share is encoded once
file.py       one attachment: its header and its lines
skeleton.py   the whole: made once by the standard library, filled message by message

Rules: the same bytes for the same input. No control character gets into a header, and
no line is longer than 998 characters. Only a local part beyond ASCII is written in
UTF-8 (RFC 6532): there is no other way to write it, and whether its recipient's server
takes SMTPUTF8 is for the caller to know. Everything else is ASCII.
"""

from engine.mime.skeleton import Skeleton

__all__ = ["Skeleton"]
