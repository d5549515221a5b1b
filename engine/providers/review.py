"""What of a campaign an API cannot carry, in plain words: nothing is dropped unsaid.

A feature that is missing is an *error* where the message would not be the one that was
written (no attachment, another set of people), and a *warning* where it reaches the
recipient whole (a label that statistics do not know).
"""

from collections.abc import Mapping

from engine.message import Envelope, Feature
from engine.providers.base import Capabilities, Finding

#: What is said of a feature that an API lacks; `{title}` and `{names}` are filled in.
_LACKING: Mapping[Feature, Finding] = {
    Feature.REPLY_TO: Finding(
        "error",
        "{title} cannot carry reply_to: answers would go to [message] from; take "
        "reply_to out, or choose another provider",
    ),
    Feature.CC: Finding("error", "{title} has no cc: take it out"),
    Feature.BCC: Finding("error", "{title} has no bcc: take it out"),
    Feature.NAMES: Finding(
        "warning", "{title} takes bare addresses: display names are not sent in To"
    ),
    Feature.HEADERS: Finding("warning", "{title} cannot carry headers: {names}"),
    Feature.TAGS: Finding(
        "warning", "{title} has no tags: {names} will not be in its statistics"
    ),
    Feature.METADATA: Finding(
        "warning",
        "{title} has no metadata: {names} will not come back in its events, which are "
        "joined to your rows by the id of the message all the same",
    ),
    Feature.ATTACHMENTS: Finding("error", "{title} has no attachments: take them out"),
    Feature.INLINE: Finding(
        "error",
        "{title} cannot show attachments inside the HTML (inline): link to the "
        "pictures with https:// instead",
    ),
    Feature.CALENDAR: Finding(
        "warning",
        "{title} has no invitations: the calendar travels as the attachment invite.ics",
    ),
    Feature.TRACKING: Finding(
        "warning",
        "{title} cannot switch tracking message by message: the account's settings "
        "hold, whatever track_opens and track_clicks say",
    ),
}
_ONE_CLICK = "list-unsubscribe"


def review(envelope: Envelope, *, title: str, can: Capabilities) -> list[Finding]:
    """Return what of an envelope an API cannot carry; empty when it can all.

    Args:
        envelope: what the messages of a run have.
        title: what the API's makers call it.
        can: what it can do.
    """
    names = {
        Feature.HEADERS: envelope.header_names,
        Feature.TAGS: envelope.tags,
        Feature.METADATA: tuple(envelope.extras.metadata) or ("they",),
    }
    lacking = [f for f in Feature if f in envelope.features and f not in can.features]
    if Feature.CALENDAR in lacking and Feature.ATTACHMENTS not in can.features:
        lacking[lacking.index(Feature.CALENDAR)] = Feature.ATTACHMENTS
    found = [
        Finding(
            _LACKING[feature].severity,
            _LACKING[feature].text.format(
                title=title, names=", ".join(names.get(feature, ()))
            ),
        )
        for feature in dict.fromkeys(lacking)
    ]
    if Feature.HEADERS in lacking and any(
        name.lower() == _ONE_CLICK for name in envelope.header_names
    ):
        found.append(
            Finding(
                "warning",
                f"recipients get no one-click unsubscribe through {title}, so put a "
                "link into the message",
            )
        )
    copies = (*envelope.extras.cc, *envelope.extras.bcc)
    if Feature.NAMES not in can.features and any("<" in copy for copy in copies):
        told = f"{title} takes bare addresses: names in cc and bcc are not sent"
        found.append(Finding("warning", told))
    return [
        *_kind(envelope, title, can),
        *found,
        *_too_many(envelope, title, can),
        *_too_large(envelope, title, can),
    ]


def choice(key: str, value: str | None, known: tuple[str, ...]) -> list[Finding]:
    """Say whether a key of `[provider]` has a value that exists; None: it is absent."""
    if value is None or value in known:
        return []
    return [
        Finding(
            "error", f'[provider] {key} = "{value}": write one of {", ".join(known)}'
        )
    ]


def _kind(envelope: Envelope, title: str, can: Capabilities) -> list[Finding]:
    """Say what the provider's terms and its format refuse."""
    found = []
    if envelope.kind == "marketing" and not can.bulk_allowed:
        told = (
            f"{title} allows transactional mail alone, and would close the account: "
            'write kind = "transactional" if that is what this is, else choose '
            "another provider"
        )
        found.append(Finding("error", told))
    if can.requires_html and not envelope.html:
        told = f"{title} requires an HTML part: write [message] html"
        found.append(Finding("error", told))
    return found


def _too_many(envelope: Envelope, title: str, can: Capabilities) -> list[Finding]:
    """Say whether what all messages share has more recipients than fit in one."""
    recipients = 1 + len(envelope.extras.cc) + len(envelope.extras.bcc)
    if can.max_recipients is None or recipients <= can.max_recipients:
        return []
    told = (
        f"{title} takes {can.max_recipients} recipients in one message: with cc and "
        f"bcc it has {recipients}"
    )
    return [Finding("error", told)]


def _too_large(envelope: Envelope, title: str, can: Capabilities) -> list[Finding]:
    """Say whether the files that all messages share fill a request by themselves."""
    size = sum(len(file.content) for file in envelope.extras.attachments)
    if size < can.max_batch_bytes:
        return []
    told = (
        f"{title} takes {can.max_batch_bytes:,} bytes in one request: the attachments "
        f"alone have {size:,}, in base64"
    )
    return [Finding("error", told)]
