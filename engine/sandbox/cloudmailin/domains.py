"""Sending domains and their verification.

There is one, verified, from the start. What becomes of others when they are verified is
in their name: `unverified...` never is, `pending...` lacks its return path the first
time, all others are verified at once.
"""

import base64
import secrets

from engine.sandbox.cloudmailin.form import Ask, Flaw, Rule, is_domain
from engine.sandbox.cloudmailin.search import newest
from engine.sandbox.store import Answer, json_answer

#: The sending domain that is there from the start.
SAMPLE_SENDING_DOMAIN = "aaaa111122223333"

_DOMAIN: dict[str, Rule] = {"domain": (is_domain, "a domain")}
_FLAGS = ("dkim_verified", "return_path_verified", "spf_verified")
#: What stands before and behind the modulus of an RSA key of 2048 bits in DER.
_KEY_HEAD = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"
_KEY_TAIL = b"\x02\x03\x01\x00\x01"


class SendingDomains:
    """Domains that mail may be from, by id."""

    def __init__(self) -> None:
        sample = _domain(SAMPLE_SENDING_DOMAIN, "example.com")
        sample |= dict.fromkeys(_FLAGS, True)
        self._kept = {SAMPLE_SENDING_DOMAIN: sample}
        self._asked: set[str] = set()

    def awaits(self, name: str) -> bool:
        """Say whether a domain was added and is not verified yet."""
        return any(
            domain["domain"] == name.lower() and not _is_verified(domain)
            for domain in self._kept.values()
        )

    def list(self, ask: Ask) -> Answer:
        """Answer with those whose name has the `query` in it, newest first."""
        part = ask.query.get("query", "").lower()
        found = (d for d in self._kept.values() if part in str(d["domain"]))
        return json_answer(200, newest(found, ask))

    def create(self, ask: Ask) -> Answer:
        """Add one, not verified."""
        name = str(ask.read(_DOMAIN, ("domain",))["domain"]).lower()
        if any(domain["domain"] == name for domain in self._kept.values()):
            raise Flaw(422, f"domain is already taken: {name}")
        domain_id = secrets.token_hex(8)
        self._kept[domain_id] = _domain(domain_id, name)
        return json_answer(201, self._kept[domain_id])

    def show(self, ask: Ask) -> Answer:
        """Answer with one."""
        return json_answer(200, self._find(ask))

    def delete(self, ask: Ask) -> Answer:
        """Take one away."""
        self._find(ask)
        return json_answer(202, self._kept.pop(ask.id))

    def verify(self, ask: Ask) -> Answer:
        """Look for one's records; 422 with the same object if some are not there."""
        domain = self._find(ask)
        name = str(domain["domain"])
        if name.startswith("pending") and ask.id not in self._asked:
            domain |= {"dkim_verified": True, "spf_verified": True}
        elif not name.startswith("unverified"):
            domain |= dict.fromkeys(_FLAGS, True)
        self._asked.add(ask.id)
        return json_answer(200 if _is_verified(domain) else 422, domain)

    def _find(self, ask: Ask) -> dict[str, object]:
        if ask.id not in self._kept:
            raise Flaw(404, f"There is no sending domain {ask.id}")
        return self._kept[ask.id]


def _is_verified(domain: dict[str, object]) -> bool:
    return all(domain[flag] for flag in _FLAGS)


def _domain(domain_id: str, name: str) -> dict[str, object]:
    selector = f"{secrets.token_hex(5)}cm"
    key = _KEY_HEAD + base64.b64encode(secrets.token_bytes(256) + _KEY_TAIL).decode()
    return {
        "id": domain_id,
        "domain": name,
        "mta_domain": f"mta.{name}",
        "dkim_selector": selector,
        "dkim_domain": f"{selector}._domainkey.{name}",
        "dkim_public_record": f"v=DKIM1; h=sha256; k=rsa; s=email; p={key}",
        "required_cname": "feedback-smtp.cloudmta.net",
        "dkim_verified": False,
        "return_path_verified": False,
        "spf_verified": False,
    }
