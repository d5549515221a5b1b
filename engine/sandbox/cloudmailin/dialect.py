"""CloudMailin on the wire: which request is for what, and what webhooks post."""

import base64
import secrets
from collections.abc import Mapping
from itertools import count
from typing import ClassVar
from urllib.parse import unquote

import orjson

from engine.sandbox.cloudmailin.core import Core
from engine.sandbox.cloudmailin.form import Flaw, read_object
from engine.sandbox.cloudmailin.message import Envelope, bare, check_message
from engine.sandbox.cloudmailin.outbound import KINDS, account_mark, details
from engine.sandbox.faults import Faults
from engine.sandbox.store import Accepted, Answer, Call, Happening, Store, json_answer

_MESSAGES = "messages"
_WRONG = "wrong"
_TEST_ACCOUNT = "7e57"
_SENDING_PARTS = 2


class CloudMailin:
    """The CloudMailin API of one account, with any number of SMTP usernames."""

    name: ClassVar[str] = "cloudmailin"
    prefix: ClassVar[str] = "/cloudmailin/api/v0.1"

    def __init__(self) -> None:
        # Two sandboxes never give the same id, so a client cannot mistake an old run.
        self._salt = secrets.token_hex(5)
        self._sequence = count(1)
        self.core = Core(self.name)

    def is_sending(self, method: str, path: str) -> bool:
        """Say whether a request to `path` sends mail."""
        return method == "POST" and _is_messages(_split(path))

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with an error in CloudMailin's form."""
        return json_answer(status, {"status": status, "error": message})

    def handle(self, call: Call, faults: Faults, store: Store) -> Answer:
        """Answer one request as CloudMailin would."""
        try:
            return self._answer(call, faults, store)
        except Flaw as flaw:
            refusal = self.refuse(flaw.status, str(flaw))
            return Answer(flaw.status, refusal.body, flaw.headers)

    def post(self, happening: Happening) -> bytes | None:
        """Write the post of a webhook: one event, of the first recipient."""
        kind, kept, content = happening.kind, happening.kept, happening.content
        is_test = content is not None and content.get("test_mode") is True
        if kind not in KINDS or (is_test and kind != "accepted"):
            return None
        event: dict[str, object] = {
            "kind": KINDS[kind],
            "message_id": kept.message_id,
            "recipient": kept.to,
            "timestamp": happening.at.isoformat(timespec="milliseconds")[:23] + "Z",
            "details": details(kind, kept.to),
        }
        if kept.key is not None:
            event["original_message_id"] = kept.key
        return orjson.dumps({"events": [event]})

    def _answer(self, call: Call, faults: Faults, store: Store) -> Answer:
        owner, *path = _split(call.path)
        if self.is_sending(call.method, call.path):
            _authenticate(call.headers, owner, schemes=("bearer",))
            return self._send(owner, call, faults)
        action = self.core.action(call.method, path, store) if owner else None
        if action is None:
            raise Flaw(404, f"There is no {call.method} {call.path} here")
        _authenticate(call.headers, owner, schemes=("bearer", "basic"))
        return self.core.perform(action, call, path, faults)

    def _send(self, username: str, call: Call, faults: Faults) -> Answer:
        content = read_object(call)
        check_message(content, strict=faults.strict)
        if username.startswith(_TEST_ACCOUNT):
            content["test_mode"] = True
        envelope = Envelope.read(content)
        self._check_sender(bare(envelope.sender), faults)
        message_id = self._new_id(username)
        accepted = Accepted(
            to=envelope.recipients[:1],
            message_ids=[message_id],
            keys=[envelope.key],
            contents=[content],
        )
        body = {
            "id": message_id,
            "from": envelope.sender,
            "to": envelope.to,
            "cc": envelope.cc,
            "test_mode": envelope.test_mode,
            "subject": envelope.subject,
            "tags": envelope.tags,
        }
        return Answer(202, orjson.dumps(body), accepted=accepted)

    def _check_sender(self, sender: str, faults: Faults) -> None:
        domain = sender.rpartition("@")[2].lower()
        if (
            "unverified" in domain
            or sender.lower() == faults.unverified.lower()
            or self.core.sending_domains.awaits(domain)
        ):
            raise Flaw(403, f"Sending domain not verified: {domain}")

    def _new_id(self, username: str) -> str:
        mark, salt, number = account_mark(username), self._salt, next(self._sequence)
        return f"{mark}-{salt[:4]}-4{salt[4:7]}-a{salt[7:]}-{number:012x}"


def _split(path: str) -> list[str]:
    return [unquote(part) for part in path.removeprefix("/").split("/")]


def _is_messages(path: list[str]) -> bool:
    return len(path) == _SENDING_PARTS and bool(path[0]) and path[1] == _MESSAGES


def _authenticate(
    headers: Mapping[str, str], owner: str, *, schemes: tuple[str, ...]
) -> None:
    """Ask for a token that is not wrong.

    Args:
        headers: of the request.
        owner: the username or account id in the path.
        schemes: of the Authorization header that are taken. With `basic` the token is
            the password; CloudMailin discourages it.

    Raises:
        Flaw: there is no such token, or the owner is wrong.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() == "basic":
        try:
            token = base64.b64decode(token).decode().rpartition(":")[2]
        except ValueError:
            token = ""
    if scheme.lower() not in schemes or not token or _WRONG in {token, owner}:
        raise Flaw(401, "Invalid or missing API token")
