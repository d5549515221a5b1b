"""What is measured end to end: the jobs, and who does each of them.

ours       `mailvolley send`, with journal and results
obvious    the script one would write with the same packages: httpx, by hand
aiohttp    the same on asyncio, with aiohttp
anymail    django-anymail's backend, one message after the other
mailmerge  the command of that name, by SMTP
ceiling    posts what was rendered beforehand, and does nothing else
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMES = {
    "ours": "mailvolley",
    "obvious": "httpx by hand",
    "aiohttp": "aiohttp by hand",
    "anymail": "django-anymail",
    "mailmerge": "mailmerge",
    "ceiling": "the ceiling",
}
SENDERS = tuple(NAMES)
#: Those that live in an environment of their own.
PEERS = frozenset({"aiohttp", "anymail", "mailmerge"})
BATCHED = ("ours", "obvious", "aiohttp", "ceiling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One thing to measure.

    Attributes:
        title: for people, with a place for the number of rows.
        rows: unless the command line says otherwise.
        batch: messages per request.
        workers: requests in flight.
        senders: who does it.
        api: the provider: see `benchmarks.mail`.
        tls: whether the sink speaks TLS.
        main: the figure that the job is about, "speed" or "peak".
        once: one run is enough.
        processes: of ours: one, since the sink needs the other core.
        shares: a sender's part of the rows, where it is too slow for all of them.
        extra: only when asked for by name.
    """

    title: str
    rows: int
    batch: int
    workers: int
    senders: tuple[str, ...] = BATCHED
    api: str = "cloudmails"
    tls: bool = False
    main: str = "speed"
    once: bool = False
    processes: int = 1
    shares: Mapping[str, float] = field(default_factory=dict)
    extra: bool = False

    def rows_of(self, sender: str, rows: int) -> int:
        """Return how many of the job's rows a sender does."""
        return max(1, int(rows * self.shares.get(sender, 1.0)))


JOBS = {
    "batches": Job(
        title="{} messages, batches of 1000",
        rows=500_000,
        batch=1000,
        workers=8,
        shares={"obvious": 0.2, "aiohttp": 0.2},
    ),
    "hundreds": Job(
        title="{} messages, batches of 100",
        rows=300_000,
        batch=100,
        workers=8,
        shares={"obvious": 0.2, "aiohttp": 0.2},
    ),
    "single": Job(
        title="{} messages, one per request, 64 in flight",
        rows=100_000,
        batch=1,
        workers=64,
        senders=("ours", "obvious", "aiohttp", "anymail", "ceiling"),
        shares={"obvious": 0.1, "aiohttp": 0.2, "anymail": 0.04},
    ),
    "tls": Job(
        title="{} messages, one per request over TLS, 64 in flight",
        rows=50_000,
        batch=1,
        workers=64,
        tls=True,
        shares={"obvious": 0.2, "aiohttp": 0.4},
    ),
    "raw": Job(
        title="{} whole messages (RFC 5322), one per request, 64 in flight",
        rows=50_000,
        batch=1,
        workers=64,
        senders=("ours", "obvious", "aiohttp", "mailmerge", "ceiling"),
        api="cloudflare",
        shares={"obvious": 0.1, "aiohttp": 0.1, "mailmerge": 0.04},
    ),
    "million": Job(
        title="{} messages, batches of 1000",
        rows=1_000_000,
        batch=1000,
        workers=8,
        senders=("ours", "obvious"),
        main="peak",
        once=True,
    ),
    "ten-million": Job(
        title="{} messages, batches of 1000",
        rows=10_000_000,
        batch=1000,
        workers=8,
        senders=("ours",),
        main="peak",
        once=True,
        extra=True,
    ),
}
