"""How far one request got, and what a failure means for its messages."""

import ssl
from collections.abc import Callable, Iterator

from engine.errors import AccountRejected, ProviderError, Unanswered, Unavailable
from engine.wire.answer import AnswerTooLong


class Progress:
    """How much of one request has left.

    Attributes:
        begun: whether any byte of it may have left.
        whole: whether all of it has.
    """

    __slots__ = ("_sent", "begun", "whole")

    def __init__(self, sent: Callable[[], None]) -> None:
        self._sent = sent
        self.begun = False
        self.whole = False

    def complete(self) -> None:
        """Note that all of it is on the wire. Call it before anything is awaited."""
        self.begun = self.whole = True
        self._sent()

    def failure(self, what: str, *, reason: str) -> ProviderError:
        """Say what a failure means for the messages of the request."""
        if not self.begun:
            return Unavailable(f"not sent: {what}", reason="not_sent")
        if not self.whole:
            return Unavailable(f"not sent whole: {what}", reason="not_processed")
        return Unanswered(f"sent, and no readable answer: {what}", reason=reason)

    def late(self, seconds: float) -> ProviderError:
        """Say what it means that the deadline, so many seconds, came first."""
        return self.failure(f"no answer within {seconds:g} s", reason="timeout")

    def broken(self, error: BaseException) -> ProviderError:
        """Say what a connection that failed means, or an answer that is none."""
        if isinstance(error, AnswerTooLong):
            return Unanswered(
                str(error), reason="answer_too_long", http_status=error.status
            )
        if any(isinstance(e, ssl.SSLCertVerificationError) for e in _causes(error)):
            return AccountRejected(
                f"the server's certificate is not valid: {words(error)}",
                reason="certificate",
            )
        failure = self.failure(words(error), reason="no_answer")
        if any(isinstance(e, ConnectionRefusedError) for e in _causes(error)):
            failure.hint = "nothing listens there: is the address right, and the port?"
        return failure


def words(error: BaseException) -> str:
    """Return what is said deepest down: the layers above often say nothing."""
    said = type(error).__name__
    for cause in _causes(error):
        told = cause.strerror if isinstance(cause, OSError) else None
        said = told or str(cause) or said
    return said


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):  # as of attempts to connect
            error = error.exceptions[0]
        else:
            error = error.__cause__ or error.__context__
