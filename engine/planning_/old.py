"""From a campaign and a list to a frozen plan: checked whole before anything is sent.

    campaign ─┐
    templates ─┼─▶ checked against each other ─▶ snapshot + copies ─▶ manifest
    list ─────┘

Everything after reads the snapshot and the copies, so that a run sends exactly what
was planned, however long it takes and however often it is taken up again. No network.
"""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from pydantic import ValidationError

from engine import pace, providers, recipients, rundir, snapshot
from engine.campaign import Campaign
from engine.errors import CampaignError, RecipientsError, RunError
from engine.manifest import Manifest
from engine.message import Envelope, Messages
from engine.outcome import Status
from engine.providers.base import Finding, Provider
from engine.render import Renderer
from engine.rundir import RunDirectory

T = TypeVar("T")

#: Rows that a worker takes at once where a request carries fewer messages.
ROWS_AT_ONCE = 100
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


def draw_up(
    campaign: Campaign,
    source: recipients.Source,
    directory: RunDirectory,
    *,
    limit: int | None = None,
    occasion: Occasion | None = None,
) -> Plan:
    """Check a campaign against its list and freeze both in a run directory.

    Args:
        campaign: the campaign.
        source: its list.
        directory: the run's, empty.
        limit: take only so many rows of the list, from the first.
        occasion: which sending of the campaign it is; None: the first.

    Raises:
        CampaignError: something is wrong; every problem that could be found at once.
            Nothing is left behind that a later run could take for a plan.
    """
    occasion = occasion or Occasion()
    size = batch_size(campaign)
    provider = provider_of(campaign, directory.run, size)
    findings = provider.review()
    renderer, frame = _checked(campaign, source, findings)
    columns = _columns(campaign, renderer, _names(frame, source))
    with recipients.translating(source):
        planned = snapshot.write(
            frame,
            directory.recipients,
            campaign=campaign.name,
            columns=columns,
            limit=limit,
            sent=occasion.sent,
        )
    rows = sum(planned.values())
    if not rows:
        raise RecipientsError("the list has no rows: there is nobody to write to")
    manifest = Manifest(
        campaign=campaign.name,
        run=directory.run,
        generation=occasion.generation,
        parent=occasion.parent,
        rehearsal=occasion.rehearsal,
        base_url=occasion.base_url,
        out=None if occasion.out is None else str(occasion.out.resolve()),
        created_at=rundir.now(),
        file=str(campaign.file),
        definition=campaign.model_dump(mode="json", by_alias=True),
        source=recipients.fingerprint(source),
        limit=limit,
        rows=rows,
        planned={status or "mailable": planned.get(status, 0) for status in PLANNED},
        chunk=_chunk(campaign, size, planned.get(None, 0)),
        batch_size=size,
        snapshot=_sha256(directory.recipients),
        templates=_copy_templates(renderer, directory),
        versions=_versions(),
    )
    return Plan(
        manifest,
        campaign,
        directory,
        provider,
        renderer,
        [f.text for f in findings if f.severity == "warning"],
    )


#: What a plan can say of a row; None: it is to be mailed.
PLANNED = (None, Status.INVALID, Status.DUPLICATE)


def as_planned(manifest: Manifest) -> Campaign:
    """Return the campaign as it was when the run was planned.

    Raises:
        RunError: the manifest does not hold one.
    """
    try:
        campaign = Campaign.model_validate(manifest.definition, strict=False)
    except ValidationError as error:
        raise RunError(
            f"the manifest of the run {manifest.run} is damaged",
            hint="restore the run directory from a backup, or start a new run",
        ) from error
    return campaign.bound_to(Path(manifest.file))


def base_url_of(campaign: Campaign) -> str:
    """Return where a campaign goes: its own address, or the provider's public one."""
    settings = campaign.provider
    return settings.base_url or providers.load(settings.name).default_base_url


def take_up(directory: RunDirectory, campaign: Campaign) -> Plan:
    """Return the plan of an earlier start, after checking that it is still the same.

    Args:
        directory: the run's.
        campaign: as it was planned, or as it is now if only its limits, address and
            credentials have changed.

    Raises:
        RunError: the frozen list or a template is not what the manifest says.
    """
    manifest = Manifest.read(directory)
    changed = [
        str(directory.templates / name)
        for name, sha256 in manifest.templates.items()
        if not _is_file(directory.templates / name, sha256)
    ]
    if not _is_file(directory.recipients, manifest.snapshot):
        changed.append(str(directory.recipients))
    if changed:
        raise RunError(
            f"changed since the run was planned: {', '.join(changed)}",
            hint="restore the run directory from a backup, or start a new run",
        )
    parts = campaign.message.parts
    return Plan(
        manifest,
        campaign,
        directory,
        provider_of(campaign, manifest.run, manifest.batch_size),
        Renderer(directory.templates, parts, template_view(campaign)),
        [],
    )


def differences(
    manifest: Manifest, campaign: Campaign, source: recipients.Source, limit: int | None
) -> list[str]:
    """Name what is not as it was when a run was planned.

    How fast and with which credentials is not part of what is sent, and may change.
    """
    then, now = (
        _what_is_sent(definition)
        for definition in (
            manifest.definition,
            campaign.model_dump(mode="json", by_alias=True),
        )
    )
    found = [
        f"{f'[{key}]' if isinstance(value, dict) else key} of {campaign.file}"
        for key, value in sorted(now.items())
        if then.get(key) != value
    ]
    parts = campaign.message.parts
    renderer = Renderer(campaign.templates, parts, template_view(campaign))
    for name, text in renderer.sources.items():
        if manifest.templates.get(name) != hashlib.sha256(text.encode()).hexdigest():
            found.append(str(campaign.templates / name))
    if _contents(manifest.source) != _contents(recipients.fingerprint(source)):
        found.append(f"the list {campaign.recipients.source or ''}".rstrip())
    if manifest.limit != limit:
        found.append(f"--limit ({manifest.limit or 'none'}, now {limit or 'none'})")
    return found


def _what_is_sent(definition: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in definition.items() if k != "limits"}
    kept["recipients"] = {**kept["recipients"], "source": None}
    kept["provider"] = {**kept["provider"], "token": None, "base_url": None}
    return kept


def _contents(source: dict[str, Any]) -> dict[str, Any]:
    """Leave out where files are: in another folder, or seen from one, they are same."""
    files = [{**file, "path": None} for file in source.get("files", [])]
    return {**source, "files": files}


def rows_of(
    directory: RunDirectory, campaign: Campaign, statuses: Collection[Status]
) -> pl.LazyFrame:
    """Return the rows of a finished run that ended so, as a list for the campaign.

    Raises:
        RunError: there are no results, or no row ended so.
    """
    if not directory.results.exists():
        raise RunError(
            f"{directory.path}: has no results",
            hint=f"finish it first: mailvolley resume {directory.path}",
        )
    wanted = pl.scan_parquet(directory.results).filter(
        pl.col("status").is_in([status.value for status in statuses])
    )
    frozen = pl.scan_parquet(directory.recipients).join(
        wanted.select("row"), on="row", how="semi", maintain_order="left"
    )
    if not frozen.select(pl.len()).collect().item():
        told = " or ".join(statuses)
        raise RunError(
            f"{directory.path}: no row is {told}",
            hint=f"look at it: mailvolley status {directory.path}",
        )
    data = frozen.collect_schema()["data"]
    fields = (
        [field.name for field in data.fields] if isinstance(data, pl.Struct) else []
    )
    columns = {name: pl.col("data").struct.field(name) for name in fields}
    named = campaign.recipients
    for column, known in ((named.key, "key"), (named.name, "name")):
        if column is not None:
            columns.setdefault(column, pl.col(known))
    return frozen.select(**columns)


def inputs(plan: Plan) -> list[Path]:
    """Return the files that a plan was made from."""
    files = plan.manifest.source.get("files", [])
    return [plan.campaign.file, *(Path(file["path"]) for file in files)]


def provider_of(campaign: Campaign, run: str, size: int) -> Provider:
    """Make the provider that speaks for a run of a campaign.

    Args:
        campaign: the campaign.
        run: the run's id.
        size: messages of one request at most.
    """
    kind = providers.load(campaign.provider.name)
    message = campaign.message
    envelope = Envelope(
        campaign=campaign.name,
        run=run,
        sender=message.sender,
        reply_to=message.reply_to,
        headers=message.headers,
        tags=message.tags,
        html=message.html is not None,
        text=message.text is not None,
        named=campaign.recipients.name is not None,
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


def _checked(
    campaign: Campaign, source: recipients.Source, findings: list[Finding]
) -> tuple[Renderer, pl.LazyFrame]:
    """Check provider, templates and list, and all against each other.

    Raises:
        CampaignError: with the problems of all of them.
    """
    errors: list[CampaignError] = []
    if refused := [f.text for f in findings if f.severity == "error"]:
        errors.append(CampaignError(*(f"{campaign.file}: {text}" for text in refused)))
    parts, view = campaign.message.parts, template_view(campaign)
    renderer = _tried(errors, lambda: Renderer(campaign.templates, parts, view))
    types = campaign.recipients.types
    frame = _tried(errors, lambda: recipients.load(source, types=types))
    if frame is not None:
        names = _names(frame, source)
        _tried(errors, lambda: _check_named(campaign, names))
        if renderer is not None:
            _tried(errors, partial(renderer.check_columns, names))
    if renderer is None or frame is None or errors:
        raise _together(errors)
    return renderer, frame


def _tried(errors: list[CampaignError], step: Callable[[], T]) -> T | None:
    """Take a step; keep its error for later."""
    try:
        return step()
    except CampaignError as error:
        errors.append(error)
        return None


def _together(errors: list[CampaignError]) -> CampaignError:
    """Make one error of several."""
    if len(errors) == 1:
        return errors[0]
    problems = [problem for error in errors for problem in error.problems]
    hint = next((error.hint for error in errors if error.hint), "")
    return CampaignError(*problems, hint=hint)


def _names(frame: pl.LazyFrame, source: recipients.Source) -> list[str]:
    with recipients.translating(source):
        return frame.collect_schema().names()


def _check_named(campaign: Campaign, names: list[str]) -> None:
    """Refuse a campaign that names columns which the list does not have."""
    named = campaign.recipients
    problems = [
        f'{campaign.file}: [recipients] {key} = "{column}": the list has no such '
        f"column (columns: {', '.join(names)})"
        for key, column in (
            ("address", named.address),
            ("name", named.name),
            ("key", named.key),
        )
        if column is not None and column not in names
    ]
    if problems:
        raise CampaignError(*problems)


def _columns(
    campaign: Campaign, renderer: Renderer, names: list[str]
) -> snapshot.Columns:
    """Say which columns of the list mean what."""
    named, asked = campaign.recipients, renderer.columns
    data = names if asked is None else [name for name in names if name in asked]
    return snapshot.Columns(named.address, named.name, named.key, data)


def _chunk(campaign: Campaign, size: int, mailable: int) -> int:
    """Say how many rows a worker takes at once.

    One batch where batches are large. Where they are small it is several, for each
    chunk costs the reader some 20 us; but never so many that a worker stands idle.
    """
    fair = -(-mailable // (campaign.limits.workers * 4))
    return size * max(1, min(ROWS_AT_ONCE, fair) // size)


def _copy_templates(renderer: Renderer, directory: RunDirectory) -> dict[str, str]:
    hashes = {}
    for name, text in renderer.sources.items():
        copy = directory.templates / name
        rundir.make_folders(copy.parent, below=directory.path)
        rundir.publish(copy, text.encode())
        hashes[name] = hashlib.sha256(text.encode()).hexdigest()
    return hashes


def _is_file(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    names = ("mailvolley", "jinja2", "orjson", "polars")
    packages = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **packages}
