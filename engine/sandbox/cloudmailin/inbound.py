"""Addresses, what they received, and custom domains: the inbound side of the Core API.

There is one address from the start, with a custom domain and with some messages
received, so that no list is empty; addresses that are created have received nothing.
"""

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from engine.sandbox.cloudmailin.form import (
    Ask,
    Flaw,
    Rule,
    is_domain,
    is_object,
    is_text_or_null,
    is_url,
    one_of,
)
from engine.sandbox.cloudmailin.search import Query, newest
from engine.sandbox.store import Answer, json_answer

#: The address that is there from the start, and its custom domain.
SAMPLE_ADDRESS = "aaaa740b4c5c37b1aaaa"
SAMPLE_DOMAIN = "aaaa111122223333"

_ADDRESS: dict[str, Rule] = {
    "target": (is_url, "an http or https URL"),
    "target_format": one_of("json+n", "multipart+n"),
    "nickname": (is_text_or_null, "a string or null"),
    "attachments": (is_object, "an object"),
}
_ADDRESS_REQUIRED = ("target", "target_format")
_CUSTOM_DOMAIN: dict[str, Rule] = {
    "domain": (is_domain, "a domain"),
    "auth_regex": (is_text_or_null, "a string or null"),
    "domain_target": (lambda v: v is None or is_url(v), "an http or https URL or null"),
}
#: Of each message received: minutes ago, sender, subject, and what the target made of
#: it: the HTTP status it answered, or a word.
_RECEIVED: Final[tuple[tuple[int, str, str, int | str], ...]] = (
    (2880, "ann@example.com", "Re: Your order", 200),
    (1440, "bob@example.org", "Out of office", 422),
    (90, "cleo@example.com", "Re: Spring news", "client_timeout"),
    (5, "ann@example.com", "Please stop", 200),
)


class Addresses:
    """Inbound addresses, by id."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, object]] = {
            SAMPLE_ADDRESS: {
                "id": SAMPLE_ADDRESS,
                "target": "https://harbour.example/inbound",
                "target_format": "json+n",
                "nickname": None,
                "attachments": {},
            }
        }

    def __contains__(self, address_id: str) -> bool:
        return address_id in self._kept

    def find(self, address_id: str) -> dict[str, object]:
        """Return an address.

        Raises:
            Flaw: there is none.
        """
        if address_id not in self._kept:
            raise Flaw(404, f"There is no address {address_id}")
        return self._kept[address_id]

    def list(self, _ask: Ask) -> Answer:
        """Answer with all."""
        return json_answer(200, list(self._kept.values()))

    def create(self, ask: Ask) -> Answer:
        """Add one."""
        address = self._written(ask, secrets.token_hex(10))
        self._kept[str(address["id"])] = address
        return json_answer(201, address)

    def show(self, ask: Ask) -> Answer:
        """Answer with one."""
        return json_answer(200, self.find(ask.id))

    def update(self, ask: Ask) -> Answer:
        """Replace one; what is not said is as if it were new."""
        self.find(ask.id)
        self._kept[ask.id] = self._written(ask, ask.id)
        return json_answer(200, self._kept[ask.id])

    def delete(self, ask: Ask) -> Answer:
        """Take one away."""
        self.find(ask.id)
        return json_answer(202, self._kept.pop(ask.id))

    @staticmethod
    def _written(ask: Ask, address_id: str) -> dict[str, object]:
        written = ask.read(_ADDRESS, _ADDRESS_REQUIRED)
        return {
            "id": address_id,
            "target": written["target"],
            "target_format": written["target_format"],
            "nickname": written.get("nickname"),
            "attachments": written.get("attachments", {}),
        }


class IncomingStatuses:
    """What the addresses received. Nothing comes in: these are samples."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def list(self, ask: Ask) -> Answer:
        """Answer with what an address received, newest first."""
        address_id = ask.required("address_id")
        self._addresses.find(address_id)
        query = Query(ask.query.get("query", ""))
        samples = range(len(_RECEIVED)) if address_id == SAMPLE_ADDRESS else ()
        received = (_received(place, ask.at) for place in samples)
        return json_answer(200, newest(filter(query.matches, received), ask))


class CustomDomains:
    """Domains at which addresses receive mail, by id."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._kept: dict[str, dict[str, dict[str, object]]] = {
            SAMPLE_ADDRESS: {
                SAMPLE_DOMAIN: {
                    "id": SAMPLE_DOMAIN,
                    "domain": "example.com",
                    "auth_regex": "allowed[0-9]*@example.com",
                    "domain_target": None,
                }
            }
        }

    def list(self, ask: Ask) -> Answer:
        """Answer with those of an address, newest first."""
        part = ask.query.get("query", "").lower()
        domains = self._of(ask).values()
        return json_answer(
            200, newest((d for d in domains if part in str(d["domain"])), ask)
        )

    def create(self, ask: Ask) -> Answer:
        """Add one to an address. Its MX records are there unless it is unverified."""
        domains = self._of(ask)
        written = ask.read(_CUSTOM_DOMAIN, ("domain",))
        name = str(written["domain"]).lower()
        if name.startswith("unverified"):
            raise Flaw(422, f"domain must have its MX records set: {name}")
        if self._is_taken(name):
            raise Flaw(422, f"domain is already taken: {name}")
        domain = {
            "id": secrets.token_hex(8),
            "domain": name,
            "auth_regex": written.get("auth_regex"),
            "domain_target": written.get("domain_target"),
        }
        domains[str(domain["id"])] = domain
        return json_answer(201, domain)

    def show(self, ask: Ask) -> Answer:
        """Answer with one."""
        return json_answer(200, self._find(ask))

    def delete(self, ask: Ask) -> Answer:
        """Take one away."""
        domain = self._find(ask)
        del self._of(ask)[ask.id]
        return json_answer(202, domain)

    def _of(self, ask: Ask) -> dict[str, dict[str, object]]:
        address_id = ask.required("address_id")
        self._addresses.find(address_id)
        return self._kept.setdefault(address_id, {})

    def _is_taken(self, name: str) -> bool:
        return any(
            domain["domain"] == name
            for address_id, domains in self._kept.items()
            if address_id in self._addresses
            for domain in domains.values()
        )

    def _find(self, ask: Ask) -> Mapping[str, object]:
        domains = self._of(ask)
        if ask.id not in domains:
            raise Flaw(404, f"There is no custom domain {ask.id}")
        return domains[ask.id]


def _received(place: int, now: datetime) -> dict[str, object]:
    """Write what was received of one sample, some minutes before now."""
    minutes, sender, subject, status = _RECEIVED[place]
    digest = hashlib.md5(subject.encode(), usedforsecurity=False).hexdigest()
    at = now - timedelta(minutes=minutes)
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{SAMPLE_ADDRESS}/{place}")),
        "message_id": f"{digest[:20]}@mail.{sender.partition('@')[2]}",
        "to": f"{SAMPLE_ADDRESS}@cloudmailin.net",
        "from": sender,
        "status": status,
        "subject": subject,
        "tls": "TLSv1.3",
        "md5": digest,
        "created_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
