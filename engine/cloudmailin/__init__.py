"""CloudMailin's Core API: all of it but the sending of mail.

    async with CloudMailin(account_id, token) as client:
        for address in await client.addresses():
            async for status in client.incoming_statuses(address.id, query="to:ann"):
                print(status.created_at, status.sender, status.subject)

    client.py     what can be asked, a method each
    asking.py     one question at a time: waits of a 429, and what went wrong
    listing.py    lists that come in pages, newest first
    resources.py  what comes back
    failure.py    the one error, and what an answer outside 2xx means

Rules: `GET` may be asked again, since it changes nothing. What changes something is
asked again only after a 429, which refuses it surely; never when no answer came. An
answer may have more fields than the documents name, or fewer: `raw` has it as it came.

Source:
    "The CloudMailin Core API", the document of version 0.1, read 2026-11-20; where it
    names no status or path, the OpenAPI document of the same version of March 2021.
"""

from engine.cloudmailin.client import BASE_URL, CloudMailin, is_id
from engine.cloudmailin.listing import Listing
from engine.cloudmailin.resources import (
    Address,
    CustomDomain,
    DnsRecord,
    IncomingStatus,
    MessageEvent,
    MessageRecipient,
    OutboundMessage,
    SendingDomain,
    TargetFormat,
    Verification,
)
from engine.errors import CloudMailinError

__all__ = [
    "BASE_URL",
    "Address",
    "CloudMailin",
    "CloudMailinError",
    "CustomDomain",
    "DnsRecord",
    "IncomingStatus",
    "Listing",
    "MessageEvent",
    "MessageRecipient",
    "OutboundMessage",
    "SendingDomain",
    "TargetFormat",
    "Verification",
    "is_id",
]
