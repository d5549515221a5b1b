"""What can go wrong, as one tree. Its branches answer "was it sent?".

    EngineError
    ├─ CampaignError           the definition is wrong; nothing was sent
    │  ├─ TemplateError        a template does not compile, or asks for a missing column
    │  └─ RecipientsError      the list cannot be read
    ├─ RunError                this run cannot go on as asked; nothing was sent
    │  ├─ RunLocked            another process owns the campaign
    │  ├─ HandsLost            no process is left to make and send
    │  ├─ NothingSent          it ended before its first request, and is removed
    │  └─ RunFinished          the campaign has been sent already
    ├─ JournalError            the durable record cannot be written or trusted
    ├─ EventsError             what should be a provider's events cannot be read
    ├─ LookUpFailed            a name could not be looked up in the network
    ├─ StoreError              what is kept beside the runs cannot be read or written
    ├─ ProviderError           one request did not end in an answer per message
    │  ├─ Throttled            surely not accepted: the account must wait
    │  ├─ Unavailable          surely not accepted: try again
    │  ├─ Unanswered           perhaps accepted: never try again blindly
    │  ├─ BatchRejected        surely not accepted: refused for its contents
    │  └─ AccountRejected      surely not accepted: stops the run
    ├─ CloudMailinError        a question to an account's Core API; no mail was sent
    ├─ CampaignIncomplete      some rows were not accepted (`Report.raise_for_failures`)
    └─ BrokenPromise           a check on ourselves failed

Rules: an error of a library never leaves `engine`; it is turned into one of these
where it is caught, `from` its cause. A message names the value, the place and what to
do. A programmer's mistake is a ValueError, TypeError or RuntimeError, never one of
these. The troubles of a single recipient are outcomes, not exceptions.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

#: Bytes below which a disk is full: what SQLite and polars take at once.
_ROOM: Final = 64 * 1024

#: What came of a question to an account: see `CloudMailinError`.
Kind = Literal["refused", "account", "unavailable", "in_doubt"]


class EngineError(Exception):
    """The root of everything that `engine` raises about the world.

    Attributes:
        hint: the next thing to do or type, for the user; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CampaignError(EngineError):
    """The campaign's definition is wrong. Nothing was sent.

    Attributes:
        problems: every problem found, each `place: what is wrong; what to write`.
    """

    def __init__(self, *problems: str, hint: str = "") -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = problems


class TemplateError(CampaignError):
    """A template does not compile or asks for what the list lacks: file and line."""


class RecipientsError(CampaignError):
    """The list cannot be read: file, line or row, and column."""


class RunError(EngineError):
    """A run cannot start or continue as asked. Nothing was sent by this call."""


class RunLocked(RunError):
    """Another process owns this campaign."""


class HandsLost(RunError):
    """Nobody is left to make and send: the run stops, and can be taken up again."""


class NothingSent(RunError):
    """A run ended before its first request; it is removed, and cannot be resumed."""


class LookUpFailed(EngineError):
    """A name could not be looked up in the network."""


class RunFinished(RunError):
    """This campaign has been sent already."""


class JournalError(EngineError):
    """The journal cannot be written or trusted; sending has stopped."""


class OtherVersion(JournalError):
    """The journal is sound, and of another version of this program."""


class EventsError(EngineError):
    """A file or a post that should hold a provider's events cannot be read."""


class StoreError(EngineError):
    """What is kept beside the runs cannot be read or written."""


class ProviderError(EngineError):
    """One request did not end in one answer per message.

    Attributes:
        reason: a short code for the outcomes of the rows concerned.
        http_status: the status of the answer, or None when there was none.
    """

    def __init__(
        self, message: str, *, reason: str, http_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.http_status = http_status


class Throttled(ProviderError):
    """The account must wait; nothing of the request was accepted.

    Attributes:
        retry_after: seconds that the provider asked for, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason="throttled", http_status=http_status)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """Surely not accepted: not sent, not sent whole, or refused for the moment.

    Attributes:
        retry_after: seconds that the provider asked for, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, http_status=http_status)
        self.retry_after = retry_after


class Unanswered(ProviderError):
    """The request left and no readable answer came: perhaps accepted."""


class BatchRejected(ProviderError):
    """The whole request was refused for its contents; nothing of it was accepted."""


class AccountRejected(ProviderError):
    """The provider refuses the account or the address of its API; stops the run."""


class CloudMailinError(EngineError):
    """CloudMailin did not do what it was asked, or did not say so.

    Attributes:
        asked: what was asked, as in "delete sending domain aaaa111122223333".
        kind: "refused": for what it says, and nothing was changed; "account": the
            account or the address of the API, and nothing was changed; "unavailable":
            no answer that could be read, and nothing was changed; "in_doubt": it was
            sent and no answer came that could be read: perhaps it was done.
        reason: a short code, as in "not_found" or "throttled".
        http_status: the status of the answer, or None when there was none.
        retry_after: seconds that CloudMailin asks to wait, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        asked: str,
        kind: Kind,
        reason: str,
        http_status: int | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.asked = asked
        self.kind = kind
        self.reason = reason
        self.http_status = http_status
        self.retry_after = retry_after


class CampaignIncomplete(EngineError):
    """Some rows were not accepted, and the caller asked to be told."""


class BrokenPromise(EngineError):
    """A check on ourselves failed: our bug, never the user's. Exit 70."""


def is_full(error: Exception, folder: Path | None = None) -> bool:
    """Whether something failed for want of room on the disk.

    Args:
        error: polars gives the system's words alone, and sometimes not even these.
        folder: where it was to be written, for an error that does not tell.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return True
    return folder is not None and shutil.disk_usage(folder).free < _ROOM


def cause_of(error: OSError) -> str:
    """Say in words what the system said."""
    return "the disk is full" if is_full(error) else error.strerror or str(error)


@contextmanager
def ungrouped(kind: type[BaseException]) -> Iterator[None]:
    """Raise the errors of a kind that a nursery has grouped as one: what failed first.

    The others follow from it. A group that has errors of other kinds stays as it is.

    Not by `except*`: what is raised in one becomes a group itself before Python 3.11.4.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        found, others = group.split(kind)
        if found is None or others is not None:
            raise
        error: BaseException = found
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # not the group: whoever looks would go round
