"""What a journal is told of batches: each call an arrow at the head of the package.

How it works: open batches are also held in memory, so that an impossible request fails
where it is made, before anything is queued. A record is taken down as it is at the time
of the call; the writer puts it on disk a moment later.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import BrokenPromise
from engine.journal import store, volley
from engine.journal.codec import pack_members, pack_statuses, tally
from engine.journal.commit import GroupCommit
from engine.journal.entry import DEPTHS, Entry
from engine.journal.rows import Rows
from engine.journal.store import Move
from engine.journal.volley import Answered
from engine.moment import to_micros
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchState

_DIGEST_BYTES: Final = 32


class Intent(NamedTuple):
    """A request that is about to leave.

    Attributes:
        batch_id: hex.
        rows: 0-based input positions, ascending. Batches do not interleave: from the
            lowest to the highest, no row may belong to another batch, a split parent
            and its children aside.
        body_digest: of the request's body, 32 bytes.
        body_bytes: the length of the body.
        parent: for a new batch, the one that was split into it.
        idempotency_key: what will be presented to the provider.
    """

    batch_id: str
    rows: Sequence[int]
    body_digest: bytes
    body_bytes: int
    parent: str | None = None
    idempotency_key: str | None = None


class Batches(Rows):
    """The part of a journal that writes about batches."""

    def __init__(
        self, path: Path, writer: GroupCommit, clock: Callable[[], datetime]
    ) -> None:
        super().__init__(path, writer)
        self._clock = clock

    def now(self) -> datetime:
        """Return the present moment, UTC, as the journal writes it down."""
        return self._clock()

    def has_room(self, rows: int) -> bool:
        """Tell whether a record of so many rows is queued without a wait."""
        return self._writer.has_room(rows)

    async def intend(
        self,
        batch_id: str,
        rows: Sequence[int],
        *,
        body_digest: bytes,
        body_bytes: int,
        parent: str | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Write down that one request is about to leave: see `intend_all`.

        Returns:
            The number of the attempt that may begin now: 1 for the first.
        """
        intent = Intent(
            batch_id, rows, body_digest, body_bytes, parent, idempotency_key
        )
        (number,) = await self.intend_all([intent])
        return number

    async def intend_all(self, intents: Sequence[Intent]) -> list[int]:
        """Write down that requests are about to leave; return when that is durable.

        New batches, or the next attempts of some that are RETRYABLE or IN_DOUBT. In
        doubt, bytes and key are the same as before. New bytes never go with an old key.

        The wait cannot be cancelled: it is that for the disk, and takes milliseconds.

        Returns:
            The number of each attempt that may begin now: 1 for the first.

        Raises:
            JournalError: also while the disk is full. The batches are as they were
                then, and the answers to others may still be written: `is_closing`.
        """
        self._writer.expect_open()
        self._writer.check_room()
        entries = [self._intended(intent) for intent in intents]
        new = [entry for entry, before in entries if before is None]
        for together in volley.gathered(new):
            self._put_new(together)
        for entry, before in entries:
            if before is not None:
                self._put_move(entry, before)
        await self._writer.durable(patiently=True)
        if self._writer.refusal is not None:
            for entry, _ in entries:
                self._take_back(entry)
            self._writer.check_room()
        return [entry.attempts for entry, _ in entries]

    async def settle(self, batch_id: str, outcomes: Outcomes, attempt: Attempt) -> None:
        """INTENT to DONE: the answer came: see `settle_all`."""
        await self.settle_all([(batch_id, outcomes, attempt)])

    async def settle_all(
        self, answers: Sequence[tuple[str, Outcomes, Attempt]]
    ) -> None:
        """INTENT to DONE: answers came. Returns when queued, even if cancelled."""
        moves, landed = [], []
        for batch_id, outcomes, attempt in answers:
            entry = self._expect(batch_id, BatchState.INTENT)
            entry.expect_outcomes(outcomes, final=True)
            if entry.aloft is not None and Status.IN_DOUBT not in outcomes.statuses:
                entry.expect_attempt(attempt)
                entry.move(BatchState.DONE)
                del self._open[batch_id]
                landed.append(Answered(entry.aloft, outcomes, attempt))
                continue
            entry.end(attempt)
            ended = _end_of(attempt)
            moves.append(self._finished(entry, BatchState.DONE, outcomes, ended))
        if landed:
            self._put_landed(landed)
        if moves:
            self._put_moves(moves)
        await self._writer.room()

    async def release(self, batch_id: str, attempt: Attempt) -> None:
        """INTENT to RETRYABLE: surely not accepted. Returns when queued.

        Back to IN_DOUBT if an earlier request for the batch was perhaps accepted: what
        is known of this one says nothing of that.
        """
        entry = self._expect(batch_id, BatchState.INTENT)
        entry.end(attempt)
        doubted, retryable = BatchState.IN_DOUBT, BatchState.RETRYABLE
        self._move(entry, doubted if entry.doubted else retryable)
        await self._writer.room()

    async def doubt(self, batch_id: str, attempt: Attempt) -> None:
        """INTENT to IN_DOUBT: perhaps accepted. Returns when queued."""
        entry = self._expect(batch_id, BatchState.INTENT)
        entry.end(attempt)
        self._move(entry, BatchState.IN_DOUBT)
        await self._writer.room()

    async def hold(self, batch_id: str) -> None:
        """IN_DOUBT to HELD: its rows stay in doubt for good. Returns when queued."""
        entry = self._expect(batch_id, BatchState.IN_DOUBT)
        self._finish(entry, BatchState.HELD, None, self._clock())
        await self._writer.room()

    async def resolve(
        self,
        batch_id: str,
        outcomes: Outcomes | None = None,
        *,
        resend: bool = False,
    ) -> None:
        """End a doubt: IN_DOUBT to DONE, RETRYABLE or SPLIT. Returns when queued.

        Args:
            batch_id: a batch in doubt.
            outcomes: what was found out: to DONE. Rows that have a finding take what
                it says instead.
            resend: to RETRYABLE. Unless it is known that nothing was accepted, only
                the user may say so: some may be mailed twice. If some rows have a
                finding, to SPLIT: these are settled by it, and the others go on in a
                batch of their own; see `handed_on`.
        """
        if (outcomes is None) is not resend:
            raise ValueError("resolve with outcomes, or with resend=True")
        entry = self._expect(batch_id, BatchState.IN_DOUBT)
        if outcomes is None:
            self._send_again(entry)
        else:
            entry.expect_outcomes(outcomes, final=True)
            outcomes = self._with_findings(entry.rows(), outcomes)
            self._finish(entry, BatchState.DONE, outcomes, self._clock())
        await self._writer.room()

    async def split(
        self,
        batch_id: str,
        attempt: Attempt | None = None,
        outcomes: Outcomes | None = None,
    ) -> None:
        """End a batch whose open rows go on in smaller ones. Returns when queued.

        Those follow by `intend` with `parent`. After a crash in between, `unclaimed`
        tells which rows still need one.

        Args:
            batch_id: INTENT, or RETRYABLE.
            attempt: how the request ended; None if RETRYABLE.
            outcomes: of the rows that are settled, `pending` for those that go on;
                None if all go on.
        """
        before = BatchState.RETRYABLE if attempt is None else BatchState.INTENT
        entry = self._expect(batch_id, before)
        if outcomes is not None:
            entry.expect_outcomes(outcomes, final=False)
        ended = self._clock() if attempt is None else _end_of(attempt)
        if attempt is not None:
            entry.end(attempt)
        self._part(entry, outcomes, ended)
        await self._writer.room()

    # --- inner workings

    def _intended(self, intent: Intent) -> tuple[Entry, BatchState | None]:
        """Make a batch an intent; return it and the state before, None if it is new."""
        batch_id, rows, digest, size, parent, key = intent
        if len(digest) != _DIGEST_BYTES or size < 0:
            raise ValueError(f"batch {batch_id}: not the hash or length of a body")
        entry = self._open.get(batch_id)
        if entry is not None:
            return entry, entry.repeat(rows, digest, size, key)
        entry = self._begin(batch_id, rows, parent)
        entry.body_digest, entry.body_bytes, entry.idempotency_key = digest, size, key
        return entry, None

    def _put_new(self, together: list[Entry]) -> None:
        """Write new batches down: as a volley, if they are several."""
        if len(together) > 1:
            begun = volley.begun(together)
            operation = partial(volley.insert_volley, volley=begun)
        else:
            new = [(entry, entry.changing()) for entry in together]
            operation = partial(store.insert_batches, new=new)
        self._writer.put(operation, records=len(together))

    def _part_from_volley(self, entry: Entry) -> None:
        """Write a batch down by itself, as it was when it left in its volley."""
        if entry.aloft is not None:
            entry.aloft = None
            new = [(entry, entry.begun())]
            self._writer.put(partial(store.insert_batches, new=new), records=0)

    def _begin(self, batch_id: str, rows: Sequence[int], parent: str | None) -> Entry:
        """Make a new batch; it takes its rows from its parent."""
        members = pack_members(rows)
        self._expect_unfound(batch_id, rows)
        above, depth = self._above(parent, rows)
        entry = Entry(
            place=rows[0] * DEPTHS + depth,
            id=batch_id,
            parent=above,
            high=rows[-1],
            size=len(rows),
            members=members,
            intended_at=to_micros(self._clock()),
        )
        self._open[batch_id] = entry
        if parent is not None:
            self._split[parent].free.difference_update(rows)
        return entry

    def _send_again(self, entry: Entry) -> None:
        """Let the rows of a batch in doubt be sent again of which nothing is known."""
        rows, now = entry.rows(), self._clock()
        if self._found.keys().isdisjoint(rows):
            self._move(entry, BatchState.RETRYABLE)
            return
        pending = Outcomes.uniform(entry.size, Status.PENDING)
        outcomes = self._with_findings(rows, pending)
        if Status.PENDING in outcomes.statuses:
            self._part(entry, outcomes, now)
        else:
            self._finish(entry, BatchState.DONE, outcomes, now)

    def _part(self, entry: Entry, outcomes: Outcomes | None, ended: datetime) -> None:
        """Split a batch: what has no outcome goes on."""
        letters = self._finish(entry, BatchState.SPLIT, outcomes, ended)
        entry.free = store.open_rows(entry, letters)
        if letters is not None:
            entry.handed_on = sorted(entry.free)
        self._split[entry.id] = entry

    def _above(self, parent: str | None, rows: Sequence[int]) -> tuple[int | None, int]:
        """Return the place of the parent of a new batch, and how deep it will be."""
        if parent is None:
            return None, 0
        entry = self._split.get(parent)
        if entry is None:
            raise BrokenPromise(f"batch {parent}: it is not split")
        depth = entry.place % DEPTHS + 1
        if depth == DEPTHS or not entry.free.issuperset(rows):
            raise BrokenPromise(f"batch {parent}: not all of these rows are left of it")
        return entry.place, depth

    def _take_back(self, entry: Entry) -> None:
        """Undo an intent whose request will not leave."""
        if entry.doubted:
            self._move(entry, BatchState.IN_DOUBT)
            return
        now, number = self._clock(), entry.attempts
        entry.end(Attempt(number, now, 0.0, "not_sent", None, None))
        self._move(entry, BatchState.RETRYABLE)

    def _expect(self, batch_id: str, state: BatchState) -> Entry:
        """Return an open batch that is in `state`."""
        self._writer.check()
        entry = self._open.get(batch_id)
        if entry is None or entry.state is not state:
            found = "not open" if entry is None else entry.state
            raise BrokenPromise(f"batch {batch_id}: it is {found}, not {state}")
        return entry

    def _move(self, entry: Entry, state: BatchState) -> None:
        self._put_move(entry, entry.move(state))

    def _put_move(self, entry: Entry, before: BatchState) -> None:
        self._put_moves([(Move(entry, before, entry.changing(), None), {})])

    def _finish(
        self,
        entry: Entry,
        state: BatchState,
        outcomes: Outcomes | None,
        settled_at: datetime,
    ) -> str | None:
        """Make the last move of a batch; return the letters of its statuses."""
        move, gains = self._finished(entry, state, outcomes, settled_at)
        self._put_moves([(move, gains)])
        return move.letters

    def _finished(
        self,
        entry: Entry,
        state: BatchState,
        outcomes: Outcomes | None,
        settled_at: datetime,
    ) -> tuple[Move, dict[Status, int]]:
        """Make the last move of a batch in memory; return it, and what it settles."""
        before = entry.move(state)
        del self._open[entry.id]
        letters, gains = None, {}
        if outcomes is not None:
            letters = pack_statuses(outcomes.statuses)
            gains = tally(letters, entry.size)
        elif state is BatchState.HELD:
            gains = {Status.IN_DOUBT: entry.size}
        known = letters is not None or state is BatchState.HELD
        changing = entry.changing(to_micros(settled_at) if known else None, letters)
        return Move(entry, before, changing, outcomes), gains

    def _put_moves(self, moves: list[tuple[Move, dict[Status, int]]]) -> None:
        gained: dict[Status, int] = {}
        for move, gains in moves:
            self._part_from_volley(move.entry)
            for status, count in gains.items():
                gained[status] = gained.get(status, 0) + count
        self._writer.put(
            partial(store.update_batches, moves=[move for move, _ in moves]),
            records=len(moves),
            weight=sum(move.entry.size for move, _ in moves),
            gains=gained,
        )

    def _put_landed(self, answered: list[Answered]) -> None:
        statuses = [one.outcomes.statuses[0] for one in answered]
        self._writer.put(
            partial(volley.insert_landings, answered=answered),
            records=len(answered),
            weight=len(answered),
            gains=Counter(statuses),
        )


def _end_of(attempt: Attempt) -> datetime:
    return attempt.started_at + timedelta(seconds=attempt.seconds)
