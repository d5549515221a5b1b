"""Ask the provider what became of a run's messages, and keep what it tells.

    results.parquet ┐
    events.parquet  ┼─▶ due ─▶ workers ─▶ provider ─▶ intake.take ─▶ events.db
    asked.db        ┘          (paced)                └▶ asked.db    suppressions.db

    due       which rows there is still something to ask about, and in which order
    asking    one question, asked until it is answered or given up
    track     the whole: from a run's directory to what came of it

Rules: events are durable before it is written down that the row was asked about. To ask
twice does no harm, so whatever a crash, a signal or a failure leaves out is asked about
next time. An outcome never changes by an answer.
"""

from engine.track.due import Due
from engine.track.track import FRESH, RATE, WORKERS, Options, Track, Tracked

__all__ = ["FRESH", "RATE", "WORKERS", "Due", "Options", "Track", "Tracked"]
