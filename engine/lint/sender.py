"""The campaign's sender and its texts, without asking anybody."""

from collections.abc import Iterator
from email.utils import parseaddr

from engine.campaign import Campaign, is_inline, values
from engine.lint.authenticity import is_below
from engine.lint.rule import Finding
from engine.lint.source import secrets


def domain_of(sender: str) -> str:
    """Return the domain of a mailbox, lower case."""
    return parseaddr(sender)[1].rpartition("@")[2].lower()


def look(campaign: Campaign) -> Iterator[Finding]:
    """Look at what the campaign file says of the sender."""
    message = campaign.message
    for key, mailbox in (("from", message.sender), ("reply_to", message.reply_to)):
        if mailbox is None or is_inline(mailbox):
            continue
        try:
            values.mailbox(mailbox)
        except ValueError as error:
            yield Finding.of("L32", f"[message] {key}: {error}")
    own = campaign.provider.domain
    if own is not None and not is_below(domain_of(message.sender), own.lower()):
        told = (
            f"[message] from is at {domain_of(message.sender)}, and [provider] domain "
            f"is {own}"
        )
        yield Finding.of("L30", told)
    texts = {
        **{f"[message.headers] {name}": text for name, text in message.headers.items()},
        **{f"[message.metadata] {n}": text for n, text in message.metadata.items()},
    }
    for place, text in texts.items():
        yield from secrets(f"{campaign.file}: {place}", text)
