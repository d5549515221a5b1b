"""Messages as RFC 5322 bytes, for the APIs that take them whole.

    Skeleton(envelope).encode(messages)     one message each, CRLF, 7-bit safe

mailbox.py    `Name <address>` and its parts; domains beyond ASCII
header.py     one field: encoded words, folding, names, addresses
body.py       one part: 7bit, quoted-printable or base64, whichever fits the text
file.py       one attachment: its header and its lines
skeleton.py   the whole: made once by the standard library, filled message by message

Rules: the same bytes for the same input. No control character gets into a header, and
no line is longer than 998 characters. Only a local part beyond ASCII is written in
UTF-8 (RFC 6532): there is no other way to write it, and whether its recipient's server
takes SMTPUTF8 is for the caller to know. Everything else is ASCII.
"""

from engine.mime.skeleton import Skeleton

__all__ = ["Skeleton"]
