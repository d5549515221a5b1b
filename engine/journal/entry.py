"""An open batch in memory, and which moves it may make.

Pure. What is refused here is refused before anything is queued; the triggers of
`schema.py` refuse the same once more. A refusal is a mistake in the code above.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.errors import BrokenPromise
from engine.journal.codec import pack_attempt, seal, seal_bytes, unpack_members
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchState

#: How deep batches may be split: 2^63 rows, halved each time. See `schema.py`.
DEPTHS: Final = 64

#: The arrows at the head of `engine.journal`.
MOVES: Final = (
    (BatchState.INTENT, BatchState.DONE),
    (BatchState.INTENT, BatchState.RETRYABLE),
    (BatchState.INTENT, BatchState.IN_DOUBT),
    (BatchState.INTENT, BatchState.SPLIT),
    (BatchState.RETRYABLE, BatchState.INTENT),
    (BatchState.RETRYABLE, BatchState.SPLIT),
    (BatchState.IN_DOUBT, BatchState.INTENT),
    (BatchState.IN_DOUBT, BatchState.DONE),
    (BatchState.IN_DOUBT, BatchState.HELD),
    (BatchState.IN_DOUBT, BatchState.RETRYABLE),
    (BatchState.IN_DOUBT, BatchState.SPLIT),
)


class Aloft(NamedTuple):
    """Where the intent of a batch is written that left in a volley.

    Attributes:
        volley: the lowest row of it.
        bit: which of its batches.
    """

    volley: int
    bit: int


@dataclass(slots=True, eq=False)
class Entry:
    """A batch that is not final, or that was split.

    Attributes:
        place: the lowest row times 64, plus how deep it was split off.
        parent: the place of the batch that was split into this one, or None.
        high: the highest row.
        members: see `codec.pack_members`.
        intended_at: microseconds since 1970.
        history: the attempts that have ended, a line each.
        doubted: whether an earlier request for it was perhaps accepted.
        free: of a split batch, the rows that nobody has taken up yet.
        handed_on: of a split batch that settled some rows, the others; they go on in
            one batch. None: all go on, in halves.
        aloft: where it is written, as long as that is in a volley.
    """

    place: int
    id: str
    parent: int | None
    high: int
    size: int
    members: bytes | None
    intended_at: int
    body_digest: bytes = b""
    body_bytes: int = 0
    idempotency_key: str | None = None
    state: BatchState = BatchState.INTENT
    attempts: int = 1
    history: str = ""
    doubted: bool = False
    free: set[int] = field(default_factory=set)
    handed_on: list[int] | None = None
    aloft: Aloft | None = None

    @property
    def low(self) -> int:
        """The lowest row."""
        return self.place // DEPTHS

    def fixed(self) -> tuple[int | bytes | None, ...]:
        """Return what never changes, as columns; `members` aside."""
        return (
            self.place,
            bytes.fromhex(self.id),
            self.parent,
            self.high,
            self.size,
            self.intended_at,
        )

    def fixed_seal(self) -> int:
        """Return the checksum of all that never changes."""
        return seal_bytes(self.members, after=seal(*self.fixed()))

    def changing(
        self, settled_at: int | None = None, statuses: str | None = None
    ) -> tuple[int | str | bytes | None, ...]:
        """Return what a move may change, as columns; the long texts aside."""
        return (
            self.state.value,
            self.attempts,
            self.history,
            self.body_digest,
            self.body_bytes,
            self.idempotency_key,
            settled_at,
            statuses,
            int(self.doubted),
        )

    def begun(self) -> tuple[int | str | bytes | None, ...]:
        """Return the same as it was when the batch began, before anything came."""
        columns = (BatchState.INTENT.value, 1, "", self.body_digest, self.body_bytes)
        return (*columns, self.idempotency_key, None, None, 0)

    def rows(self) -> list[int]:
        """Return the input positions, ascending."""
        return unpack_members(self.low, self.high, self.members)

    def has(self, row: int) -> bool:
        """Say whether `row` is one of them."""
        if not self.low <= row <= self.high:
            return False
        return self.members is None or self.members[row - self.low] == 1

    def move(self, state: BatchState) -> BatchState:
        """Go to another state and return the one before.

        Raises:
            BrokenPromise: no arrow leads there; or it would be sent again as if nothing
                had been, though an earlier request for it is still in doubt.
        """
        before = self.state
        if (before, state) not in MOVES:
            raise BrokenPromise(f"batch {self.id}: {before} cannot become {state}")
        if state is BatchState.IN_DOUBT:
            self.doubted = True
        elif state is BatchState.RETRYABLE:
            if self.doubted and before is BatchState.INTENT:
                raise BrokenPromise(f"batch {self.id}: an earlier request is in doubt")
            self.doubted = False
        self.state = state
        return before

    def repeat(
        self, rows: Sequence[int], digest: bytes, size: int, key: str | None
    ) -> BatchState:
        """Become an intent again and return the state before.

        Raises:
            BrokenPromise: no arrow leads there; other rows; or other bytes or another
                key, though the provider may know the old ones.
        """
        if list(rows) != self.rows():
            raise BrokenPromise(f"batch {self.id}: it comes back with other rows")
        known = (self.body_digest, self.body_bytes, self.idempotency_key)
        if (digest, size, key) != known:
            old_key = key is not None and key == self.idempotency_key
            if self.state is BatchState.IN_DOUBT or old_key:
                raise BrokenPromise(f"batch {self.id}: it comes back with other bytes")
        before = self.move(BatchState.INTENT)
        self.body_digest, self.body_bytes, self.idempotency_key = digest, size, key
        self.attempts += 1
        return before

    def end(self, attempt: Attempt) -> None:
        """Add how the attempt under way ended.

        Raises:
            BrokenPromise: it is another one.
        """
        self.expect_attempt(attempt)
        self.history += pack_attempt(attempt)

    def expect_attempt(self, attempt: Attempt) -> None:
        """Raise BrokenPromise unless this is the attempt under way."""
        if attempt.number != self.attempts:
            raise BrokenPromise(
                f"batch {self.id}: attempt {attempt.number} ends, but number "
                f"{self.attempts} is under way"
            )

    def expect_outcomes(self, outcomes: Outcomes, *, final: bool) -> None:
        """Raise BrokenPromise unless there is one outcome per row.

        Args:
            outcomes: of this batch.
            final: none may be pending.
        """
        if not (
            len(outcomes.statuses)
            == len(outcomes.reasons)
            == len(outcomes.details)
            == len(outcomes.provider_ids)
            == self.size
        ):
            raise BrokenPromise(
                f"batch {self.id}: {len(outcomes)} outcomes for {self.size} rows"
            )
        if final and Status.PENDING in outcomes.statuses:
            raise BrokenPromise(f"batch {self.id}: an outcome is pending")
