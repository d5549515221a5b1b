"""The rules of `engine.lint`, put to a plan: its templates, list, messages, numbers.

How it works: `Check` looks at the templates first, is shown the list while it is
frozen, and renders the rows that it picked. What it finds is told; an error that nobody
has allowed refuses the plan, together with all others.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from engine import lint
from engine.campaign import Campaign
from engine.errors import CampaignError
from engine.fetched import fetched_at, scope_of
from engine.lint import Finding, ListLook, Severity
from engine.lint.audience import Circumstances
from engine.lint.mail import Expected, Mail
from engine.lint.rule import Example
from engine.listed import sizes
from engine.message import Feature
from engine.planning.links import Links
from engine.planning.plan import Occasion
from engine.providers.base import Provider
from engine.render import Recipe, Rendered, Renderer, shared
from engine.render.markdown import Marks

_DATABASES: Final = ("events.db", "suppressions.db")


class Check:
    """Looks at a plan as it is drawn up.

    Args:
        campaign: the campaign.
        renderer: its compiled templates.
        provider: speaks the API.
        recipe: what the messages have beside their parts.
        links: makes the links to unsubscribe, or None.
    """

    def __init__(
        self,
        campaign: Campaign,
        renderer: Renderer,
        provider: Provider,
        recipe: Recipe,
        links: Links | None,
    ) -> None:
        self._campaign = campaign
        self._renderer = renderer
        self._provider = provider
        self._shared = shared(recipe)
        self._links = links
        messages, sources = campaign.messages.values(), renderer.sources
        several = [campaign.message, *messages]
        htmls = dict.fromkeys(m.html for m in several if m.html is not None)
        subjects = dict.fromkeys(message.subject for message in several)
        self._source = lint.source.look(sources, *htmls, extensions=[Marks])
        self.list = ListLook(
            printed=self._source.printed,
            in_subject={
                name
                for subject in subjects
                for name in lint.source.names_of(sources, subject)
            },
            beginnings=self._source.addresses,
        )

    def findings(self, run: Circumstances) -> list[Finding]:
        """Return all that was found, in the order of the rules.

        Args:
            run: what the run is about to begin with.
        """
        found = [
            *self._source.findings,
            *self.list.findings(),
            *lint.sender.look(self._campaign),
            *lint.audience.look(self._campaign, run),
            *self._messages(),
        ]
        return sorted(found, key=lambda finding: finding.id)

    def _messages(self) -> Iterator[Finding]:
        sample = self.list.sample()
        if not sample.height:
            return
        keys = dict(sample.select("row", "key").iter_rows())
        rendered = self._renderer.render(sample)
        yield from _failed(rendered, keys)
        mails = self._mails(rendered, keys)
        again = self._mails(self._renderer.render(sample), keys)
        yield from lint.mail.look(mails, self._expected())
        yield from lint.mail.steady(mails, again)

    def _mails(self, rendered: Rendered, keys: dict[int, str]) -> list[Mail]:
        messages = rendered.messages
        encoded = sizes(self._provider.encode(messages))
        own = [keys[row] for row in messages.rows]
        return lint.mail.mails(messages, own, encoded, self._shared)

    def _expected(self) -> Expected:
        can, links = self._provider.capabilities, self._links
        return Expected(
            marketing=self._campaign.kind == "marketing",
            provider=self._provider.title,
            carries_headers=Feature.HEADERS in can.features,
            postal_address=self._campaign.message.postal_address,
            is_ours=links.is_own if links is not None else _is_nobodys,
            max_bytes=can.max_batch_bytes,
            shared=self._shared,
        )


def circumstances(
    occasion: Occasion,
    campaign: Campaign,
    provider: Provider,
    templates: dict[str, str],
    frozen: Path,
    *,
    rows: int,
    mailable: int,
    partial: bool,
) -> Circumstances:
    """Say what a run is about to begin with.

    Args:
        occasion: which sending it is.
        campaign: the campaign.
        provider: speaks the API.
        templates: hashes of the templates, by name.
        frozen: the frozen list.
        rows: of the list.
        mailable: rows to be mailed.
        partial: whether only a part of the list is wanted.
    """
    copy = scope_of(campaign, occasion.base_url) if occasion.base_url else None
    fetched = None
    if occasion.runs is not None and copy is not None:
        fetched = fetched_at(occasion.runs, copy)
    return Circumstances(
        now=datetime.now(UTC),
        rows=rows,
        mailable=mailable,
        max_recipients=occasion.max_recipients,
        free=shutil.disk_usage(frozen.parent).free,
        frozen=frozen.stat().st_size,
        templates=templates,
        before=occasion.before,
        heard_at=None if occasion.runs is None else _heard_at(occasion.runs),
        keeps_list=copy is not None,
        fetched_at=fetched,
        rehearsal=not occasion.is_real,
        partial=partial or occasion.parent is not None or occasion.sent is not None,
        key_seconds=provider.capabilities.key_seconds,
    )


def refuse(found: list[Finding], campaign: Campaign) -> None:
    """Refuse a plan for the errors that nobody has allowed.

    Raises:
        CampaignError: with each of them, its rows, and what to do.
    """
    refused = lint.refusals(found, campaign.lint.allow)
    if not refused:
        return
    ids = " ".join(f"--allow {name}" for name in dict.fromkeys(f.id for f in refused))
    raise CampaignError(
        *(f"{campaign.file}: {finding}; {finding.fix}" for finding in refused),
        hint=f"mend it; or, if you know better: {ids}",
    )


def _failed(rendered: Rendered, keys: dict[int, str]) -> Iterator[Finding]:
    """Tell rows that cannot be rendered; where none can, that is an error."""
    failures = rendered.failures
    if not failures:
        return
    examples = [Example(f.row, keys[f.row], f.detail) for f in failures]
    if len(rendered.messages):
        told = f"{len(failures)} of {len(keys)} sample rows cannot be rendered"
        yield Finding.of("L27", told, examples)
    else:
        told = "no sample row can be rendered"
        yield Finding.of("L27", told, examples, severity=Severity.ERROR)


def _is_nobodys(url: str, address: str) -> bool:  # noqa: ARG001 - the form of is_own
    return False


def _heard_at(runs: Path) -> datetime | None:
    """Return when something was written last of what people said, UTC."""
    files = [runs / name for name in _DATABASES]
    logs = [file.with_name(f"{file.name}-wal") for file in files]
    moments = [
        stat.st_mtime
        for file in (*files, *logs)
        if file.exists() and (stat := file.stat()).st_size
    ]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None
