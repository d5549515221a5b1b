"""The plan: what it says of itself, and what follows from a campaign alone."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from engine import pace, providers, snapshot
from engine.campaign import Campaign
from engine.manifest import Manifest
from engine.message import Envelope, Extras, Messages
from engine.providers.base import Provider
from engine.render import Renderer
from engine.rundir import RunDirectory

#: Messages shown by `plan`.
SAMPLE = 3


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Plan:
    """A campaign, checked and frozen, ready to be sent.

    Attributes:
        manifest: what the run is.
        campaign: the campaign.
        directory: where the snapshot is.
        provider: speaks the API.
        renderer: the compiled templates.
        warnings: what the user should know before sending, a sentence each.
    """

    manifest: Manifest
    campaign: Campaign
    directory: RunDirectory
    provider: Provider
    renderer: Renderer
    warnings: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by planned status, as in the manifest."""
        return self.manifest.planned

    @property
    def requests(self) -> int:
        """Requests at least; more where the bytes of a batch are too many."""
        return -(-self.manifest.mailable // self.manifest.batch_size)

    @property
    def seconds(self) -> float | None:
        """Seconds that the campaign's limits alone make it take; None without any."""
        limits = self.campaign.limits
        paces = [
            amount / rate
            for amount, rate in (
                (self.manifest.mailable, limits.messages_per_second),
                (self.requests, limits.requests_per_second),
            )
            if rate is not None
        ]
        return max(paces) if paces else None

    def sample(self, count: int = SAMPLE) -> tuple[Messages, list[str]]:
        """Render the first rows to be mailed.

        Returns:
            The messages, and a sentence for each row that could not be rendered.
        """
        for chunk in snapshot.chunks(self.directory.recipients, count):
            rendered = self.renderer.render(chunk)
            failures = [f"row {f.row}: {f.detail}" for f in rendered.failures]
            return rendered.messages, failures
        return Messages([], [], [], [], [], None, None), []


@dataclass(frozen=True, slots=True)
class Occasion:
    """Which sending of a campaign a run is.

    Attributes:
        generation: 1 for the first sending to everyone, 2 for the next.
        parent: the run whose failures it tries again, or None.
        rehearsal: whether it goes to the sandbox.
        base_url: where it goes; empty for the sandbox.
        sent: who is left out, for they have been written to: see `history.sent`.
        out: where the results are to be copied to, or None.
    """

    generation: int = 1
    parent: str | None = None
    rehearsal: bool = False
    base_url: str = ""
    sent: pl.DataFrame | None = None
    out: Path | None = None


def base_url_of(campaign: Campaign) -> str:
    """Return where a campaign goes: its own address, or the provider's public one."""
    settings = campaign.provider
    return settings.base_url or providers.load(settings.name).default_base_url


def inputs(plan: Plan) -> list[Path]:
    """Return the files that a plan was made from."""
    files = plan.manifest.source.get("files", [])
    return [plan.campaign.file, *(Path(file["path"]) for file in files)]


def provider_of(campaign: Campaign, run: str, size: int, created_at: str) -> Provider:
    """Make the provider that speaks for a run of a campaign.

    Args:
        campaign: the campaign.
        run: the run's id.
        size: messages of one request at most.
        created_at: the moment that its messages bear: the manifest's.
    """
    kind = providers.load(campaign.provider.name)
    message = campaign.message
    envelope = Envelope(
        campaign=campaign.name,
        run=run,
        date=datetime.fromisoformat(created_at),
        kind=campaign.kind,
        sender=message.sender,
        tags=message.tags,
        html=message.html is not None,
        text=message.text is not None,
        named=campaign.recipients.name is not None,
        extras=Extras(reply_to=message.reply_to, headers=message.headers),
        header_names=tuple(message.headers),
    )
    given = campaign.provider.model_dump(exclude_none=True)
    settings = {key: given[key] for key in kind.settings if key in given}
    return kind(envelope, batch_size=size, **settings)


def batch_size(campaign: Campaign) -> int:
    """Messages of one request at most: the provider's limit, ours and the rate's."""
    limits = campaign.limits
    most = providers.load(campaign.provider.name).capabilities.max_batch
    return pace.largest_batch(
        min(most, limits.batch_size or most, limits.max_exposure or most),
        messages_per_second=limits.messages_per_second,
        burst=limits.burst,
    )


def template_view(campaign: Campaign) -> dict[str, Any]:
    """Return what templates see as `campaign`."""
    return {"name": campaign.name, "tags": list(campaign.message.tags)}
