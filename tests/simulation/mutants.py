"""Mistakes of protocol, each of which the simulation has to find.

Every one is an honest mistake that senders are known for, made by one changed part. If
the simulation does not find it, the simulation is worth nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar, Self

import polars as pl
import trio
from simulation.connection import Departed, SimulatedConnection
from simulation.parts import Keyed, Parts, SimulatedRun

from engine.errors import Unanswered, Unavailable
from engine.guard import Guard
from engine.journal import Intent, Journal
from engine.message import Request, Response
from engine.outcome import Outcomes, Status
from engine.providers.base import Capabilities
from engine.record import Attempt

# --- the list's position is remembered, not the outcomes


class _MarksAtFetch(SimulatedRun):
    """Writes down how far it has read, and goes on from there (listmonk does)."""

    async def _read(
        self,
        settled: bytearray,
        send: trio.MemorySendChannel[pl.DataFrame],
        guard: Guard,
    ) -> None:
        journal = self.places.journal
        read = int(journal.fact("read") or 0)
        settled[:read] = b"\1" * read
        await super()._read(settled, _Noting(send, journal), guard)


class _Noting:
    """A channel that writes down what went through it."""

    def __init__(
        self, send: trio.MemorySendChannel[pl.DataFrame], journal: Journal
    ) -> None:
        self._send = send
        self._journal = journal

    def __enter__(self) -> Self:
        self._send.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self._send.__exit__(*how)

    async def send(self, chunk: pl.DataFrame) -> None:
        await self._journal.note("read", str(chunk["row"][-1] + 1))
        await self._send.send(chunk)


# --- intents


class _Detour:
    """A writer to which an intent goes another way."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.kept: list[Callable[..., None]] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def put(self, operation: Callable[..., None], **more: Any) -> None:
        if self.kept is None:
            self._writer.put(operation, **more)
        else:
            self.kept.append(operation)

    async def durable(self, **_how: bool) -> None:
        """Not wait, not even for other tasks, whose records go the usual way."""


class _NoIntents(Journal):
    """Writes an intent together with what came of it."""

    async def intend_all(self, intents: Sequence[Intent]) -> list[int]:
        kept = self.__dict__.setdefault("_kept", {})
        return [await self._intend(intent, kept) for intent in intents]

    async def _intend(self, intent: Intent, kept: dict[str, list[Any]]) -> int:
        real, detour = self._writer, _Detour(self._writer)
        detour.kept = kept[intent.batch_id] = []
        self._writer = detour
        try:
            (number,) = await super().intend_all([intent])
            return number
        finally:
            self._writer = real

    def _put_kept(self, batch_id: str) -> None:
        for operation in self.__dict__.get("_kept", {}).pop(batch_id, ()):
            self._writer.put(operation)

    async def settle_all(
        self, answers: Sequence[tuple[str, Outcomes, Attempt]]
    ) -> None:
        for batch_id, _, _ in answers:
            self._put_kept(batch_id)
        await super().settle_all(answers)

    async def release(self, batch_id: str, attempt: Attempt) -> None:
        self._put_kept(batch_id)
        await super().release(batch_id, attempt)

    async def doubt(self, batch_id: str, attempt: Attempt) -> None:
        self._put_kept(batch_id)
        await super().doubt(batch_id, attempt)

    async def split(self, batch_id: str, *more: Any) -> None:
        self._put_kept(batch_id)
        await super().split(batch_id, *more)


class _HastyIntents(Journal):
    """Queues an intent, and does not wait until it is durable."""

    async def intend_all(self, intents: Sequence[Intent]) -> list[int]:
        real = self._writer
        self._writer = _Detour(real)
        try:
            return await super().intend_all(intents)
        finally:
            self._writer = real


class _HalfVolleys(Journal):
    """Waits for the first of those that leave together; others follow an answer."""

    def _put_new(self, together: list[Any]) -> None:
        super()._put_new(together[:1])
        real = self._writer
        self._writer = detour = _Detour(real)
        detour.kept = self.__dict__.setdefault("_late", [])
        try:
            for entry in together[1:]:
                super()._put_new([entry])
        finally:
            self._writer = real

    def _put_late(self) -> None:
        for operation in self.__dict__.pop("_late", ()):
            self._writer.put(operation)

    def _put_moves(self, moves: Any) -> None:
        self._put_late()
        super()._put_moves(moves)

    def _put_landed(self, answered: Any) -> None:
        self._put_late()
        super()._put_landed(answered)


class _UnsyncedJournal(Journal):
    """Commits without bringing anything to the disk: SQLite's NORMAL."""

    @classmethod
    def open(cls, path: Any, **more: Any) -> Any:
        return super().open(path, synchronous="NORMAL", **more)


class _WithoutIntents(SimulatedRun):
    journal_class = _NoIntents


class _WithHastyIntents(SimulatedRun):
    journal_class = _HastyIntents


class _WithHalfVolleys(SimulatedRun):
    journal_class = _HalfVolleys


class _Unsynced(SimulatedRun):
    journal_class = _UnsyncedJournal


# --- keys


class _FreshKeys(SimulatedConnection):
    """Makes up a key for every attempt."""

    _numbers = count()

    def key(self, request: Request) -> str | None:
        return f"{super().key(request)}-{next(self._numbers)}"


class _WithFreshKeys(SimulatedRun):
    connection_class = _FreshKeys


class _EternalKeys(Keyed):
    """Believes that a key is remembered for ever."""

    capabilities: ClassVar[Capabilities] = replace(
        Keyed.capabilities, key_seconds=10**9
    )


# --- what a lost answer means


class _BlindConnection(SimulatedConnection):
    """Takes a lost answer for a lost request, as most HTTP clients do."""

    async def carry(self, departed: Departed, *, sent: Callable[[], None]) -> Response:
        try:
            return await super().carry(departed, sent=sent)
        except Unanswered as error:
            raise Unavailable(str(error), reason="not_processed") from error


class _RetriesBlindly(SimulatedRun):
    connection_class = _BlindConnection


class _NoDoubts(Journal):
    """Calls failed what nobody knows."""

    async def doubt(self, batch_id: str, attempt: Attempt) -> None:
        size = self._open[batch_id].size
        await self.settle(batch_id, Outcomes.uniform(size, Status.FAILED), attempt)


class _WithoutDoubts(SimulatedRun):
    journal_class = _NoDoubts


#: How attempts end that were surely not accepted.
_REFUSED = {"throttled", "unavailable", "not_sent", "not_processed"}


class _ForgetsDoubts(Journal):
    """Lets a refusal of the second attempt make up for a lost answer to the first."""

    async def doubt(self, batch_id: str, attempt: Attempt) -> None:
        entry = self._open[batch_id]
        if entry.doubted and attempt.result in _REFUSED:
            failed = Outcomes.uniform(entry.size, Status.FAILED)
            await self.settle(batch_id, failed, attempt)
        else:
            await super().doubt(batch_id, attempt)


class _Forgetful(SimulatedRun):
    journal_class = _ForgetsDoubts


# --- the rate


class _FullAfterRestart(SimulatedRun):
    """Starts with all of its limits unused, whatever the last start used."""

    def open_journal(self) -> tuple[Journal, bool]:
        journal, _ = super().open_journal()
        return journal, False


#: The mutants by name.
MUTANTS = {
    "checkpoint_at_fetch": Parts(run=_MarksAtFetch),
    "no_intent": Parts(run=_WithoutIntents),
    "unsynced_intent": Parts(run=_WithHastyIntents),
    "half_a_volley": Parts(run=_WithHalfVolleys),
    "unsynced_journal": Parts(run=_Unsynced),
    "new_key_per_attempt": Parts(run=_WithFreshKeys, keyed=True),
    "resend_after_key_expiry": Parts(keyed_provider=_EternalKeys, keyed=True),
    "blind_retry_of_timeouts": Parts(run=_RetriesBlindly, keyed=False),
    "timeout_recorded_as_failed": Parts(run=_WithoutDoubts, keyed=False),
    "doubt_forgotten": Parts(run=_Forgetful, keyed=True),
    "limiter_full_after_restart": Parts(run=_FullAfterRestart),
}
