"""All checks of a run, in their order: each needs those before it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine import events, history, results, rundir, webhooks
from engine.errors import BrokenPromise, JournalError, OtherVersion, RunError
from engine.events import Roster
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Status
from engine.rundir import RunDirectory
from engine.verify.audit import Audit, Audited
from engine.verify.check import Check
from engine.verify.claims import check_journal
from engine.verify.files import check_snapshot, check_templates
from engine.verify.results import ResultsFile


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a run.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        checks: what was looked at, in order.
        counts: rows by status, by the journal; empty if that cannot be told.
        outdated: rows of which the journal knows more than the results file.
        repairable: whether nothing is wrong but the results file, which the journal
            makes anew.
        audit: what the provider's events say; None without any, or if our own records
            cannot be held against them.
    """

    campaign: str
    run: str
    checks: list[Check]
    counts: dict[Status, int]
    outdated: int
    repairable: bool
    audit: Audited | None

    @property
    def broken(self) -> bool:
        """Whether a promise is broken."""
        wrong = any(check.wrong for check in self.checks)
        return wrong or (self.audit is not None and self.audit.broken)


def verify(
    directory: RunDirectory, path: Path | None = None, *, complete: bool = False
) -> Verified:
    """Check a run; change nothing.

    Args:
        directory: the run's.
        path: a file of the provider's events, or None.
        complete: whether it has all events of the run.

    Raises:
        RunError: there is no such run, or its journal is of another version; RunLocked:
            somebody is at it.
        EventsError: the file of events cannot be read to its end.
    """
    manifest = Manifest.read(directory)
    with rundir.looked_at(directory):
        return _Verification(directory, manifest).run(path, complete=complete)


class _Verification:
    """One run under verification."""

    def __init__(self, directory: RunDirectory, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        self._header = results.Header.of(manifest)
        self._roster = Roster(manifest.run, self._header.planned_at)
        self._snapshot = Check("snapshot")
        self._templates = Check("templates")
        self._journal = Check("journal")
        self._results = Check("results")
        self._of_file = 0
        self._file = ResultsFile(directory.results, self._results)

    def run(self, path: Path | None, *, complete: bool) -> Verified:
        """Check everything."""
        mailable = check_snapshot(self._directory, self._manifest, self._snapshot)
        check_templates(self._directory, self._manifest, self._templates)
        counts: Counter[Status] = Counter()
        with ExitStack() as stack:
            journal = self._open(stack)
            sound = self._check_journal(journal, mailable)
            if sound and mailable is not None:
                counts = self._check_results(journal)
            else:
                self._results.skip("there is nothing to hold them against")
        audit = None
        if path is not None and counts:
            audit = self._audit(path, complete=complete)
        checks = [self._snapshot, self._templates, self._journal, self._results]
        wrong = sum(check.wrong for check in checks)
        return Verified(
            campaign=self._manifest.campaign,
            run=self._manifest.run,
            checks=checks,
            counts={status: counts[status] for status in Status} if counts else {},
            outdated=self._file.outdated,
            repairable=bool(counts) and 0 < wrong == self._of_file,
            audit=audit,
        )

    def _open(self, stack: ExitStack) -> Journal | None:
        """Open the journal, if there is one that can be opened."""
        path = self._directory.journal
        if not path.exists():
            self._journal.told = "none yet: nothing was sent"
            if self._directory.results.exists():
                self._journal.fault(f"{path}: is gone, and there are results")
            return None
        try:
            return stack.enter_context(Journal.looked_into(path))
        except OtherVersion as error:  # nothing is wrong with it
            raise RunError(str(error), hint=error.hint) from error
        except JournalError as error:
            self._journal.fault(str(error))
            return None

    def _check_journal(self, journal: Journal | None, mailable: bytes | None) -> bool:
        """Tell whether something can be held against the journal."""
        if journal is None:
            return not self._journal.wrong
        if journal.fact("manifest") != self._manifest.sha256:
            self._journal.fault(f"{self._directory.journal}: belongs to another plan")
            return False
        return check_journal(journal, self._manifest.rows, mailable, self._journal)

    def _check_results(self, journal: Journal | None) -> Counter[Status]:
        """Check the results; return the rows by status, by the journal."""
        finished = journal is not None and bool(journal.fact("finished_at"))
        path, counts = self._directory.results, Counter[Status]()
        if path.exists():
            self._file.open(self._header, self._manifest.rows)
        elif finished:
            self._results.fault(f"{path}: is gone, and the run is finished")
        else:
            self._results.told = "none yet"
        try:
            for rows in self._projected(journal):
                for status, count in rows["status"].value_counts().iter_rows():
                    counts[Status(status)] += count
                self._roster.add(rows)
                self._file.compare(rows)
        except (BrokenPromise, JournalError) as error:
            self._results.fault(str(error))
            return Counter()
        self._of_file = self._results.wrong
        if counts.total() != self._manifest.rows:
            self._results.fault(
                f"{counts.total():,} outcomes for {self._manifest.rows:,} rows"
            )
        if finished and counts[Status.PENDING]:
            pending = counts[Status.PENDING]
            self._results.fault(f"the run is finished, and {pending:,} rows are not")
        return counts

    def _projected(self, journal: Journal | None) -> Iterator[pl.DataFrame]:
        """Make the results anew, piece by piece."""
        if journal is None:
            return results.project(self._directory.recipients, (), (), self._header)
        return history.projected(self._directory, self._manifest, journal)

    def _audit(self, path: Path, *, complete: bool) -> Audited:
        """Hold the provider's events against what we hold."""
        parse = webhooks.load(self._header.provider)
        audit = Audit(self._roster, complete=complete)
        for match in self._roster.matches(events.read(path, parse)):
            audit.note(match)
        return audit.conclude(self._directory.recipients)
