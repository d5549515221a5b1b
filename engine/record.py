"""What is written down of a run: batches, attempts, settled rows, later findings."""

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from engine.outcome import Outcomes, Status

#: What can be found out about a row in doubt.
FINDABLE: Final = (Status.ACCEPTED, Status.REJECTED, Status.FAILED)


class BatchState(StrEnum):
    """Where a batch stands. The arrows are at the head of `engine.journal`."""

    #: On its way, or about to be: perhaps sent.
    INTENT = "intent"
    #: Surely not accepted; may be sent again.
    RETRYABLE = "retryable"
    #: Perhaps accepted; must not be sent again unless that is harmless.
    IN_DOUBT = "in_doubt"
    #: Every row has its outcome. Final.
    DONE = "done"
    #: Its rows stay in doubt. Final.
    HELD = "held"
    #: Its open rows go on in smaller batches. Final.
    SPLIT = "split"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request for a batch that has ended, well or badly.

    Attributes:
        number: 1 for the first; as many as `intend` was called for the batch.
        started_at: when the request began, UTC.
        seconds: how long it took.
        result: a short code: what came of it.
        http_status: the status of the answer, or None when there was none.
        detail: words of the provider or of the network, or None.
    """

    number: int
    started_at: datetime
    seconds: float
    result: str
    http_status: int | None
    detail: str | None

    def __post_init__(self) -> None:
        if self.started_at.tzinfo is None or not math.isfinite(self.seconds):
            raise ValueError(
                f"attempt {self.number}: started_at needs a time zone and seconds "
                f"must be finite, not {self.started_at!r} and {self.seconds!r}"
            )


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One batch as the journal has it.

    Attributes:
        id: hex.
        parent: the id of the batch that was split into this one, or None.
        rows: 0-based input positions, ascending.
        attempts: requests begun so far; the next attempt is number `attempts + 1`.
        outcomes: one per row. All `in_doubt` if IN_DOUBT or HELD, with how the last
            attempt ended, or `interrupted`. If SPLIT, `pending` for the rows that went
            on, or None if all did. None if INTENT or RETRYABLE.
        http_status: of the last attempt, if it ended with an answer.
        settled_at: when the outcomes were known, UTC. None while in doubt.
        latency_ms: milliseconds that the last attempt took, if it ended.
        body_digest: BLAKE3 of the request's body, 32 bytes.
        body_bytes: the length of that body.
        idempotency_key: what was presented to the provider, or None.
        intended_at: when the batch was first written down, UTC. An idempotency key
            is never older than this.
    """

    id: str
    parent: str | None
    rows: list[int]
    state: BatchState
    attempts: int
    outcomes: Outcomes | None
    http_status: int | None
    settled_at: datetime | None
    latency_ms: float | None
    body_digest: bytes
    body_bytes: int
    idempotency_key: str | None
    intended_at: datetime


@dataclass(frozen=True, slots=True)
class LandingRecord:
    """What came of batches of one row each that were answered together: columns.

    Each is done, by its first request.

    Attributes:
        ids: of the batches.
        rows: 0-based input positions, ascending.
        outcomes: one per batch.
        http_statuses: of the answer, or None.
        started_at: when its request began, microseconds since 1970, UTC.
        seconds: that it took.
    """

    ids: list[str]
    rows: list[int]
    outcomes: Outcomes
    http_statuses: list[int | None]
    started_at: list[int]
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """The outcome of a row that was settled without a request.

    Attributes:
        row: 0-based input position.
        reason: a short code, or None.
        detail: more words, or None.
        settled_at: UTC.
    """

    row: int
    status: Status
    reason: str | None
    detail: str | None
    settled_at: datetime

    def __post_init__(self) -> None:
        if self.settled_at.tzinfo is None or self.status is Status.PENDING:
            raise ValueError(
                f"row {self.row}: settled_at needs a time zone and the status must "
                f"be final, not {self.settled_at!r} and {self.status!r}"
            )


@dataclass(frozen=True, slots=True)
class RowFinding:
    """What became of a row in doubt, found out later: by an event or a look-up.

    Attributes:
        row: 0-based input position.
        status: accepted, rejected or failed.
        reason: a short code, or None.
        detail: the provider's own words, or None.
        provider_id: the provider's id of the message, or None.
        found_at: UTC.
    """

    row: int
    status: Status
    reason: str | None
    detail: str | None
    provider_id: str | None
    found_at: datetime

    def __post_init__(self) -> None:
        if self.found_at.tzinfo is None or self.status not in FINDABLE:
            raise ValueError(
                f"row {self.row}: found_at needs a time zone and the status must be "
                f"one of {', '.join(FINDABLE)}, not {self.found_at!r} and "
                f"{self.status!r}"
            )
