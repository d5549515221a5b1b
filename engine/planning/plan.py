"""The plan: what it says of itself, and what follows from a campaign alone."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from engine import pace, providers, render, results, snapshot
from engine.campaign import Campaign, is_inline, is_loopback
from engine.lint import Finding
from engine.lint.audience import Before
from engine.manifest import Manifest
from engine.message import Envelope, Messages
from engine.planning.extras import Attached
from engine.planning.links import Links
from engine.planning.variants import VariedRenderer
from engine.providers.base import Provider
from engine.render import Recipe, Renderer, Watch
from engine.rundir import RunDirectory

#: Messages shown by `plan`.
SAMPLE = 3
#: Bytes of a request taken for a message with attachments, beside those that all have:
#: its bodies, and each file that its row chooses. Batches are cut by their true bytes;
#: this keeps what a worker holds at once within reason.
BODIES, CHOSEN_FILE = 10_000, 500_000


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Plan:
    """A campaign, checked and frozen, ready to be sent.

    Attributes:
        manifest: what the run is.
        campaign: the campaign; its limits are those that hold, the provider's
            documented ones where it sets none.
        directory: where the snapshot is.
        provider: speaks the API.
        renderer: the compiled templates.
        warnings: what the user should know before sending, a sentence each.
        findings: what the rules found and nobody is refused for.
    """

    manifest: Manifest
    campaign: Campaign
    directory: RunDirectory
    provider: Provider
    renderer: Renderer
    warnings: list[str]
    findings: list[Finding] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by planned status, as in the manifest."""
        return self.manifest.planned

    @property
    def requests(self) -> int:
        """Requests at least; more where the bytes of a batch are too many."""
        manifest = self.manifest
        first = manifest.canary or 0
        parts = (first, manifest.mailable - first)
        return sum(-(-rows // manifest.batch_size) for rows in parts)

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

    @property
    def limits(self) -> str:
        """The limits that hold, as people write them; empty without any."""
        limits = self.campaign.limits
        return " and ".join(
            f"{rate:g} {unit}/s"
            for rate, unit in (
                (limits.messages_per_second, "messages"),
                (limits.requests_per_second, "requests"),
            )
            if rate is not None
        )

    @property
    def variants(self) -> dict[str, int]:
        """Rows to be mailed by variant, in the order of the campaign; empty without."""
        scan = pl.scan_parquet(self.directory.recipients)
        counted = scan.group_by("variant").len().collect()
        rows = dict(counted.iter_rows())
        return {name: rows.get(name, 0) for name in self.campaign.messages}

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """Rows that are left out, by status and reason."""
        return results.left_out(self.directory.recipients)

    def first_rows(self) -> dict[str, int]:
        """Return the first row of each variant that somebody gets; empty without."""
        scan = pl.scan_parquet(self.directory.recipients).drop_nulls("variant")
        firsts = scan.group_by("variant").agg(pl.col("row").min()).sort("row").collect()
        return dict(firsts.iter_rows())

    def sample(
        self, count: int = SAMPLE, *, variant: str | None = None
    ) -> tuple[Messages, list[str]]:
        """Render the first rows to be mailed.

        Args:
            count: how many.
            variant: only rows that get this one; None: of all.

        Returns:
            The messages, and a sentence for each row that could not be rendered.
        """
        chunk = snapshot.first(self.directory.recipients, count, variant=variant)
        if not chunk.height:
            return Messages([], [], [], [], [], None, None), []
        rendered = self.renderer.render(chunk)
        failures = [f"row {f.row}: {f.detail}" for f in rendered.failures]
        return rendered.messages, failures


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
        runs: the runs folder, with the suppressions and keys; None: there is none.
        keep: whether keys are made there if there are none.
        owned: whether the caller owns the campaign.
        before: the campaign's last run, or None.
        max_recipients: how many may be mailed; None: any number.
        refuses: whether errors among the findings refuse the plan; else the caller
            tells them, after what the plan shows: see `planning.refuse`.
    """

    generation: int = 1
    parent: str | None = None
    rehearsal: bool = False
    base_url: str = ""
    sent: pl.DataFrame | None = None
    out: Path | None = None
    runs: Path | None = None
    keep: bool = True
    owned: bool = False
    before: Before | None = None
    max_recipients: int | None = None
    refuses: bool = True

    @property
    def is_real(self) -> bool:
        """Whether it goes to a provider that mails people."""
        host = urlsplit(self.base_url).hostname
        return not self.rehearsal and host is not None and not is_loopback(host)


def base_url_of(campaign: Campaign) -> str:
    """Return where a campaign goes: its own address, or the provider's public one."""
    settings = campaign.provider
    return settings.base_url or providers.load(settings.name).default_base_url


def inputs(plan: Plan) -> list[Path]:
    """Return the files that a plan was made from."""
    files = plan.manifest.source.get("files", [])
    return [plan.campaign.file, *(Path(file["path"]) for file in files)]


def rehearsed(campaign: Campaign) -> Campaign:
    """Give a campaign what its provider needs, where an account is still to come."""
    kind, given = providers.load(campaign.provider.name), campaign.provider
    missing = {k: v for k, v in kind.rehearsal.items() if getattr(given, k) is None}
    if not missing:
        return campaign
    copy = campaign.model_copy(update={"provider": given.model_copy(update=missing)})
    return copy.bound_to(campaign.file)


def provider_of(campaign: Campaign, run: str, size: int, recipe: Recipe) -> Provider:
    """Make the provider that speaks for a run of a campaign.

    Args:
        campaign: the campaign.
        run: the run's id.
        size: messages of one request at most.
        recipe: what the messages have beside their parts; made for the run.
    """
    kind = providers.load(campaign.provider.name)
    envelope = envelope_of(campaign, run, recipe)
    given = campaign.provider.model_dump(exclude_none=True)
    settings = {key: given[key] for key in kind.settings if key in given}
    return kind(envelope, batch_size=size, **settings)


def envelope_of(campaign: Campaign, run: str, recipe: Recipe) -> Envelope:
    """Say what all messages of a run share."""
    message = campaign.message
    has_html = message.html is not None or message.markdown is not None
    return Envelope(
        campaign=campaign.name,
        run=run,
        date=recipe.moment,
        kind=campaign.kind,
        sender=message.sender,
        tags=message.tags,
        html=has_html,
        text=bool(message.text) or (has_html and message.derives_text),
        markdown=message.markdown is not None,
        named=campaign.recipients.name is not None,
        track_opens=message.track_opens,
        track_clicks=message.track_clicks,
        extras=render.shared(recipe),
        varying=render.varying(recipe),
        header_names=tuple(recipe.headers),
    )


def renderer_of(
    campaign: Campaign,
    templates: Path,
    recipe: Recipe,
    *,
    links: Links | None = None,
    watch: Watch | None = None,
) -> VariedRenderer:
    """Compile the templates of a campaign, from their folder or a run's copies."""
    return VariedRenderer(
        templates,
        campaign.message.parts,
        {
            "name": campaign.name,
            "tags": list(campaign.message.tags),
            "postal_address": campaign.message.postal_address or "",
        },
        variants={name: message.parts for name, message in campaign.messages.items()},
        links=links,
        recipe=recipe,
        derive_text=campaign.message.derives_text,
        watch=watch,
    )


def batch_size(campaign: Campaign, attached: Attached) -> int:
    """Messages of one request at most: the provider's limit, ours and the rate's."""
    limits = campaign.limits
    can = providers.load(campaign.provider.name).capabilities
    most = can.max_batch
    if campaign.message.attachments:
        chosen = sum(is_inline(file.path) for file in campaign.message.attachments)
        each = BODIES + attached.size + chosen * CHOSEN_FILE
        most = max(1, min(most, can.max_batch_bytes // each))
    return pace.largest_batch(
        min(most, limits.batch_size or most, limits.max_exposure or most),
        messages_per_second=limits.messages_per_second,
        burst=limits.burst,
    )


def limited(campaign: Campaign, occasion: "Occasion") -> tuple[Campaign, list[str]]:
    """Let the provider's documented limits hold where a campaign sets none.

    Not on this machine: a rehearsal need not take as long as the real thing.

    Returns:
        The campaign with the limits that hold, and a sentence for each that it did not
        set itself.
    """
    if occasion.rehearsal or is_loopback(urlsplit(occasion.base_url).hostname or ""):
        return campaign, []
    kind = providers.load(campaign.provider.name)
    documented = {
        "messages_per_second": kind.capabilities.messages_per_second,
        "requests_per_second": kind.capabilities.requests_per_second,
    }
    taken = {
        key: rate
        for key, rate in documented.items()
        if rate is not None and getattr(campaign.limits, key) is None
    }
    if not taken:
        return campaign, []
    limits = campaign.limits.model_copy(update=taken)
    told = [
        f"{kind.title}'s documented limit holds, for [limits] sets none: "
        f"{key} = {rate:g}"
        for key, rate in taken.items()
    ]
    return campaign.model_copy(update={"limits": limits}), told
