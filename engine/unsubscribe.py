"""Unsubscribing: a link that names nobody, cannot be forged and never runs out.

    https://mail.harbour.example/u/<token>
    token = base64url(key id 4 | mark 32 | list) . base64url(signature 16)

The mark is the keyed hash of an address by which suppressions know who was erased: a
token holds no address, and who unsubscribes is entered without being looked up. The
signature is that of the first key; every key of the file is believed, so that an old
mail's link works after the key was changed.

Source:
    RFC 8058: one https URI, hard to forge; POST acts, with the body
    `List-Unsubscribe=One-Click`; no cookies, no redirect.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import StoreError, cause_of

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_MARK_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 16
_KEY: Final = re.compile(r"[0-9a-f]{64}")

#: The file of the keys in the runs folder.
KEYS: Final = "unsubscribe.keys"
#: Header fields of a mail with a link, RFC 8058 section 3.1.
ONE_CLICK: Final = "List-Unsubscribe=One-Click"


class Subject(NamedTuple):
    """Who unsubscribes from what.

    Attributes:
        mark: of the address: see `engine.suppression.marked`.
        list: the name of the list.
    """

    mark: bytes
    list: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that links are signed with; the first signs, each is believed."""

    values: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"Keys({len(self.values)})"

    def token(self, subject: Subject) -> str:
        """Return the token of a link."""
        key = self.values[0]
        told = _id(key) + subject.mark + subject.list.encode()
        return f"{_text(told)}.{_text(_signature(key, told))}"

    def read(self, token: str) -> Subject | None:
        """Return who unsubscribes from what; None where the token is not ours."""
        first, _, second = token.partition(".")
        try:
            told, signature = _bytes(first), _bytes(second)
        except (binascii.Error, ValueError):
            return None
        if len(told) <= _ID_BYTES + _MARK_BYTES:
            return None
        for key in self.values:
            if hmac.compare_digest(told[:_ID_BYTES], _id(key)):
                if not hmac.compare_digest(signature, _signature(key, told)):
                    return None
                name = told[_ID_BYTES + _MARK_BYTES :].decode(errors="replace")
                return Subject(told[_ID_BYTES : _ID_BYTES + _MARK_BYTES], name)
        return None


def keys(path: Path) -> Keys:
    """Read the keys; make the first where there is none.

    Args:
        path: one key a line, 64 hex digits; to change the key, put a new line first.

    Raises:
        StoreError: they cannot be read, others may read them, or a line is no key.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            with os.fdopen(os.open(path, flags, 0o600), "w") as file:
                file.write(f"{secrets.token_hex(_KEY_BYTES)}\n")
                file.flush()
                os.fsync(file.fileno())
        if path.stat().st_mode & 0o077:
            raise StoreError(f"{path}: others may read it", hint=f"chmod 600 {path}")
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        told = cause_of(error) if isinstance(error, OSError) else "it is no text"
        raise StoreError(f"{path}: cannot be used: {told}") from error
    if not lines or not all(map(_KEY.fullmatch, lines)):
        raise StoreError(
            f"{path}: does not hold one key of 64 hex digits a line",
            hint="restore it from a backup: without it no link of an old mail works",
        )
    return Keys(tuple(map(bytes.fromhex, lines)))


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"id of" + key).digest()[:_ID_BYTES]


def _signature(key: bytes, told: bytes) -> bytes:
    return hmac.digest(key, told, "sha256")[:_SIGNATURE_BYTES]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError(text)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
