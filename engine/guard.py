"""What ends a run by itself: too many refused, or a canary that did not come back well.

    stop rules   of the messages settled since this start, the share that was refused
    canary       the first of the list leave, then the run waits and listens; the rest
                 follow if few were refused, bounced or complained about

A run that was stopped so can be taken up again, and that is somebody's word that it is
well: a canary is sent once, and a share counts from each start anew.

Limits: batches are cut after the canary that the run was planned with. One that came or
changed later is a number of whole chunks, for batches must stay what they are. Only
events that have come in by then are heard: `mailvolley events serve` or `track` beside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import trio

from engine.campaign import Canary, StopRules
from engine.errors import RunError
from engine.event import EventType
from engine.events.store import DATABASE, EventStore
from engine.journal import Journal
from engine.outcome import Status
from engine.stop import Stop

#: What the provider has decided of a message.
_DECIDED: Final = (Status.ACCEPTED, Status.REJECTED)
#: The facts of a journal: when the canary was out, and that it was looked at.
_OUT, _SEEN = "canary_out_at", "canary_seen_at"
_HINT: Final = "look at why; if all is well, take the run up again"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A canary that is out.

    Attributes:
        messages: how many went first.
        until: when the rest may follow, UTC.
    """

    messages: int
    until: datetime


@dataclass(slots=True)
class Guard:
    """Watches one start of a run.

    Attributes:
        rules: when it ends by itself, or None.
        canary: how a few go first, or None.
        journal: the run's.
        stop: ends the run.
        run: its id.
        runs: the runs folder, with the events.
        mailable: rows to be mailed.
        on_wait: called when the wait for a canary begins.
        now: the moment, UTC.
        waiting: the canary that is waited for, or None.
        waited: seconds of such a wait.
    """

    rules: StopRules | None
    canary: Canary | None
    journal: Journal
    stop: Stop
    run: str
    runs: Path
    mailable: int
    on_wait: Callable[[Waiting], None] = lambda _: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    waiting: Waiting | None = field(init=False, default=None)
    waited: float = field(init=False, default=0.0)
    _before: Mapping[Status, int] = field(init=False)
    _message_ids: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._before = self.journal.counts()

    def look(self) -> None:
        """Stop the run if too many were refused since it started."""
        rules = self.rules
        if rules is None or self.stop.requested:
            return
        counts = self.journal.counts()
        refused, settled = self._since(counts)
        if settled >= rules.after and refused > rules.rejected_share * settled:
            told = (
                f"{refused:,} of {settled:,} messages were refused: [stop] "
                f"rejected_share is {rules.rejected_share:g}"
            )
            self.stop.request(RunError(told, hint=_HINT))

    def _since(self, counts: Mapping[Status, int]) -> tuple[int, int]:
        """Return how many were refused, and decided, since this start."""
        new = {s: counts.get(s, 0) - self._before.get(s, 0) for s in _DECIDED}
        return new[Status.REJECTED], sum(new.values())

    def is_canary_out(self, handed_out: int) -> bool:
        """Whether all of the canary has been handed out, and nobody has looked at it.

        Args:
            handed_out: rows of the list that were handed out, from the first.
        """
        if self.canary is None or self.journal.fact(_SEEN):
            return False
        return handed_out >= self.canary.count(self.mailable)

    def note(self, message_ids: pl.Series) -> None:
        """Remember who is in the canary, by our ids of their messages."""
        if self.canary is not None and not self.journal.fact(_SEEN):
            self._message_ids.update(message_ids.to_list())

    async def listen(self) -> None:
        """Wait as long as the canary is to; stop the run if it is not well."""
        canary = self.canary
        if canary is None:
            return
        out = self.journal.fact(_OUT)
        if not out:
            out = self.now().isoformat()
            await self.journal.note(_OUT, out)
        began = datetime.fromisoformat(out)
        await self._wait(began + timedelta(seconds=canary.wait))
        await self.journal.flush()
        events = await trio.to_thread.run_sync(self._events, self._ids(), began)
        told = self._wrong(canary, events)
        await self.journal.note(_SEEN, self.now().isoformat())
        if told:
            self.stop.request(RunError(f"the canary: {told}", hint=_HINT))

    async def _wait(self, until: datetime) -> None:
        """Wait until that moment, and let it be known meanwhile."""
        seconds = (until - self.now()).total_seconds()
        if seconds <= 0:
            return
        began = trio.current_time()
        self.waiting = Waiting(len(self._message_ids), until)
        self.on_wait(self.waiting)
        try:
            await trio.sleep(seconds)
        finally:
            self.waiting = None
            self.waited += trio.current_time() - began

    def _ids(self) -> set[str]:
        """Return what events may call the messages of the canary by."""
        ids = set(self._message_ids)
        for batch in self.journal.batches():
            if batch.outcomes is not None:
                ids.update(i for i in batch.outcomes.provider_ids if i is not None)
        return ids

    def _events(self, ids: set[str], since: datetime) -> dict[EventType, int]:
        """Count what was heard of the canary."""
        if not (self.runs / DATABASE).exists():
            return {}
        with EventStore.open(self.runs) as events:
            return events.heard(self.run, ids, since=since)

    def _wrong(self, canary: Canary, heard: Mapping[EventType, int]) -> str:
        """Say what is wrong with the canary; empty if nothing is."""
        counts = self.journal.counts()
        refused = counts.get(Status.REJECTED, 0)
        accepted = counts.get(Status.ACCEPTED, 0)
        for what, number, total, share in (
            ("refused", refused, refused + accepted, canary.rejected_share),
            (
                "bounced",
                heard.get(EventType.BOUNCED, 0),
                accepted,
                canary.bounced_share,
            ),
            (
                "called spam",
                heard.get(EventType.COMPLAINED, 0),
                accepted,
                canary.complained_share,
            ),
        ):
            if number > share * total:
                told = f"{number:,} of {total:,} were {what}"
                return f"{told}; at most {100 * share:g} % may be"
        return ""
