"""What an end means for the exit code: one table, for reports and for errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from engine import errors
from engine.cli import output
from engine.outcome import TROUBLE

if TYPE_CHECKING:
    from engine.report import Report


class ExitCode(IntEnum):
    """How a command ended."""

    #: Every row was accepted, or left out for a stated reason.
    DONE = 0
    #: Finished; some rows were rejected or failed.
    SOME_FAILED = 1
    #: Refused before anything was sent: usage, campaign, list.
    REFUSED = 2
    #: Stopped; can be resumed.
    STOPPED = 3
    #: Finished; some rows are in doubt.
    SOME_IN_DOUBT = 4
    #: Another process owns this campaign.
    LOCKED = 5
    #: Stopped by the account (credentials, quota); can be resumed.
    ACCOUNT = 6
    #: A broken promise of our own.
    BROKEN = 70


def of_report(report: "Report") -> ExitCode:
    """Return the exit code of a run that ended."""
    if not report.finished:
        return ExitCode.ACCOUNT if report.account else ExitCode.STOPPED
    if report.counts["in_doubt"]:
        return ExitCode.SOME_IN_DOUBT
    if any(report.counts[status] for status in TROUBLE):
        return ExitCode.SOME_FAILED
    return ExitCode.DONE


def of_error(error: errors.EngineError) -> ExitCode:
    """Return the exit code of a run that could not be made or could not go on."""
    match error:
        case errors.RunLocked():
            return ExitCode.LOCKED
        case (
            errors.CampaignError()
            | errors.RunError()
            | errors.EventsError()
            | errors.LookUpFailed()
        ):
            return ExitCode.REFUSED
        case errors.CloudMailinError(kind=kind):
            return _ASKED[kind]
        case errors.AccountRejected():
            return ExitCode.ACCOUNT
        case errors.BrokenPromise():
            return ExitCode.BROKEN
        case _:
            return ExitCode.STOPPED


#: What became of a question to an account that was not answered as it should be.
_ASKED = {
    "refused": ExitCode.SOME_FAILED,
    "account": ExitCode.ACCOUNT,
    "unavailable": ExitCode.STOPPED,
    "in_doubt": ExitCode.SOME_IN_DOUBT,
}
#: What `--json` calls an end that is no report.
WORDS = {
    ExitCode.SOME_FAILED: "failed",
    ExitCode.REFUSED: "refused",
    ExitCode.STOPPED: "stopped",
    ExitCode.SOME_IN_DOUBT: "in_doubt",
    ExitCode.LOCKED: "locked",
    ExitCode.ACCOUNT: "account",
    ExitCode.BROKEN: "broken",
}


def tell(error: Exception, code: ExitCode, *, hint: str = "", as_json: bool) -> None:
    """Tell an error to a person, and to a program where one is listening."""
    label = "stopped" if isinstance(error, errors.NothingSent) else "error"
    for text in str(error).splitlines():
        output.line(label, text, colour="red")
    if hint:
        output.line("next", hint)
    if as_json:
        told: dict[str, object] = {"message": str(error), "next": hint}
        if isinstance(error, errors.ProviderError | errors.CloudMailinError):
            told |= {"reason": error.reason, "http_status": error.http_status}
        end = {"status": WORDS[code], "exit": int(code), "error": told}
        output.data(end)


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """Tell an error instead of raising it, and exit with its code."""
    try:
        yield
    except errors.EngineError as error:
        code = of_error(error)
        tell(error, code, hint=error.hint, as_json=as_json)
        raise SystemExit(code) from None
