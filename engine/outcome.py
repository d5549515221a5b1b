"""The final word on each recipient: a closed set of statuses, and their columns."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

#: What becomes of messages that an earlier start left in doubt: they stay so, are sent
#: again (perhaps twice), or are taken for accepted.
InDoubt = Literal["hold", "resend", "assume-sent"]


class Status(StrEnum):
    """What became of one input row. Every row ends in exactly one of these."""

    #: The provider said yes to this recipient. It is not "delivered".
    ACCEPTED = "accepted"
    #: The provider refused this recipient or this message.
    REJECTED = "rejected"
    #: Surely not accepted, and retries are spent.
    FAILED = "failed"
    #: The request left and no readable answer came: perhaps sent.
    IN_DOUBT = "in_doubt"
    #: The row cannot be mailed: its address or a required field is wrong.
    INVALID = "invalid"
    #: Not to be mailed: on a suppression list, or left out by the campaign itself. It
    #: could be mailed, and has not been: that is what the others say.
    SUPPRESSED = "suppressed"
    #: An earlier row has the same address or key.
    DUPLICATE = "duplicate"
    #: The row's template failed.
    RENDER_FAILED = "render_failed"
    #: Not settled yet. Only while a run is unfinished.
    PENDING = "pending"


#: What needs somebody's attention in a run that has ended.
TROUBLE = (Status.REJECTED, Status.FAILED, Status.RENDER_FAILED, Status.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the messages of one batch: columns, in the order of the batch.

    Attributes:
        statuses: one per message.
        reasons: a short code each, or None.
        details: the provider's own words each, or None.
        provider_ids: the provider's id of the message each, or None.
    """

    statuses: list[Status]
    reasons: list[str | None]
    details: list[str | None]
    provider_ids: list[str | None]

    @classmethod
    def uniform(
        cls,
        count: int,
        status: Status,
        *,
        reason: str | None = None,
        detail: str | None = None,
    ) -> "Outcomes":
        """Say the same of `count` messages."""
        return cls([status] * count, [reason] * count, [detail] * count, [None] * count)

    def __len__(self) -> int:
        return len(self.statuses)
