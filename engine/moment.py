"""Moments as whole microseconds since 1970, UTC: as files keep them, and columns."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Count microseconds since 1970-01-01 UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Undo `to_micros`; UTC."""
    # Exact until the year 2242: a float of so many seconds has steps of 0.24 us.
    return datetime.fromtimestamp(micros / 1e6, UTC)


def after(micros: int, seconds: float) -> int:
    """Return the moment so long after another."""
    return micros + round(seconds * 1e6)
