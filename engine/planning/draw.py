"""A new plan: every check there is before sending, then the freezing."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

import polars as pl

from engine import lint, recipients, rundir, snapshot
from engine.campaign import Campaign
from engine.errors import CampaignError, RecipientsError
from engine.fetched import scopes_of
from engine.manifest import Manifest
from engine.outcome import Status
from engine.planning import audience, check, extras, links
from engine.planning.audience import Absent
from engine.planning.check import Check
from engine.planning.extras import Attached
from engine.planning.plan import (
    Occasion,
    Plan,
    batch_size,
    limited,
    provider_of,
    rehearsed,
    renderer_of,
)
from engine.providers.base import Finding, Provider
from engine.render import Recipe, Renderer
from engine.rundir import RunDirectory
from engine.snapshot import Leaving
from engine.suppression import DATABASE, Suppressions

T = TypeVar("T")

#: Rows that a worker takes at once where a request carries fewer messages.
ROWS_AT_ONCE = 100

#: What a plan can say of a row; None: it is to be mailed.
PLANNED = (None, Status.INVALID, Status.SUPPRESSED, Status.DUPLICATE)


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
    if occasion.rehearsal:
        campaign = rehearsed(campaign)
    held, told = limited(campaign, occasion)
    created_at = rundir.now()
    errors: list[CampaignError] = []
    attached = _tried(errors, lambda: extras.read(campaign)) or extras.NONE
    moment = datetime.fromisoformat(created_at)
    recipe = extras.recipe_of(campaign, moment, attached)
    made = links.new(campaign, occasion.runs, keep=occasion.keep)
    size = batch_size(held, attached)
    provider = provider_of(campaign, directory.run, size, recipe)
    findings = [*provider.review(), *_too_heavy(provider, attached)]
    compiled = partial(renderer_of, campaign, campaign.templates, recipe, links=made)
    absents = _tried(errors, lambda: audience.excluded(campaign)) or []
    absents += _tried(errors, lambda: _reached(campaign, occasion, moment)) or []
    before = _tried([], lambda: recipients.state(source))  # what is wrong, `load` tells
    renderer, frame = _checked(campaign, source, findings, compiled, errors)
    findings += _shown(recipe, renderer, attached)
    columns = _columns(campaign, renderer, _names(frame, source))
    look = Check(campaign, renderer, provider, recipe, made)
    with recipients.translating(source):
        planned = snapshot.write(
            frame,
            directory.recipients,
            campaign=campaign.name,
            columns=columns,
            limit=limit,
            leaving=_leaving(campaign, occasion, absents),
            split=audience.split(campaign),
            look=look.list.add,
        )
    rows = sum(planned.values())
    if not rows:
        raise RecipientsError("the list has no rows: there is nobody to write to")
    mailable = planned.get(None, 0)
    templates = _copy_templates(renderer, directory)
    begins_with = check.circumstances(
        occasion,
        campaign,
        provider,
        templates,
        directory.recipients,
        rows=rows,
        mailable=mailable,
        partial=limit is not None,
    )
    found = look.findings(begins_with)
    if occasion.refuses:
        check.refuse(found, campaign)
    printed = recipients.fingerprint(source)
    if recipients.state(source) != before:  # what was frozen is another list
        raise recipients.changed(f"{source}")
    manifest = Manifest(
        campaign=campaign.name,
        run=directory.run,
        generation=occasion.generation,
        parent=occasion.parent,
        rehearsal=occasion.rehearsal,
        base_url=occasion.base_url,
        out=None if occasion.out is None else str(occasion.out.resolve()),
        created_at=created_at,
        file=str(campaign.file),
        definition=campaign.model_dump(mode="json", by_alias=True),
        source=printed,
        excluded=audience.fingerprints(campaign),
        limit=limit,
        rows=rows,
        planned={status or "mailable": planned.get(status, 0) for status in PLANNED},
        chunk=size if recipe.files else _chunk(held, size, mailable),
        batch_size=size,
        snapshot=rundir.sha256(directory.recipients),
        templates=templates,
        attachments=extras.keep(campaign, attached, directory),
        folders={name: str(folder) for name, folder in attached.folders.items()},
        link_key="" if made is None else made.fingerprint,
        overridden=lint.overridden(found, campaign.lint.allow),
        versions=_versions(campaign),
        canary=campaign.canary.count(mailable) if campaign.canary else None,
    )
    warnings = [f.text for f in findings if f.severity == "warning"]
    told += [*warnings, *lint.audience.passed_over(campaign, begins_with)]
    return Plan(manifest, held, directory, provider, renderer, told, found)


def _checked(
    campaign: Campaign,
    source: recipients.Source,
    findings: list[Finding],
    compiled: Callable[[], Renderer],
    errors: list[CampaignError],
) -> tuple[Renderer, pl.LazyFrame]:
    """Check provider, templates and list, and all against each other.

    Raises:
        CampaignError: with the problems of all of them, and those found before.
    """
    if refused := [f.text for f in findings if f.severity == "error"]:
        errors.append(CampaignError(*(f"{campaign.file}: {text}" for text in refused)))
    renderer = _tried(errors, compiled)
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


def _too_heavy(provider: Provider, attached: Attached) -> list[Finding]:
    """Say whether the files alone are more than one request has room for."""
    most = provider.capabilities.max_batch_bytes
    if attached.size <= most:
        return []
    told = (
        f"[[message.attachments]] have {attached.size:,} bytes in base64; a request to "
        f"{provider.title} takes {most:,}"
    )
    return [Finding("error", told)]


def _shown(recipe: Recipe, renderer: Renderer, attached: Attached) -> list[Finding]:
    """Say which pictures the HTML does not show, or shows and does not have."""
    told = [f"{text}; it is left out" for text in attached.absent]
    has = {f.content_id for f in recipe.files if f.content_id is not None}
    shown = renderer.shown_ids()
    if shown is not None:
        told += [
            f'[[message.attachments]] inline = "{name}": the HTML has no "cid:{name}"'
            for name in sorted(has - shown)
        ]
        told += [
            f'the HTML shows "cid:{name}", and no attachment has inline = "{name}"'
            for name in sorted(shown - has)
        ]
    return [Finding("warning", text) for text in told]


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


def _reached(campaign: Campaign, occasion: Occasion, moment: datetime) -> list[Absent]:
    """Find who is left out because earlier runs have written to them."""
    section, runs = campaign.audience, occasion.runs
    if section is None or runs is None:
        return []
    from engine.planning import earlier  # noqa: PLC0415 - the journals: few ask them

    owned = campaign.name if occasion.owned else ""
    look = earlier.Look(runs, owned, occasion.base_url)
    return earlier.reached(campaign, section, look, moment)


def _leaving(campaign: Campaign, occasion: Occasion, absents: list[Absent]) -> Leaving:
    """Say who is left out beside those who cannot be mailed."""
    find = None
    # One that is made by looking would be a file that nobody asked for.
    if occasion.runs is not None and (occasion.runs / DATABASE).exists():
        with Suppressions.open(occasion.runs) as suppressions:
            find = suppressions.filter(scopes_of(campaign, occasion.base_url)).find
    is_anybody = find is not None or absents
    return Leaving(
        sent=occasion.sent,
        suppressed=audience.finder(absents, find) if is_anybody else None,
        special_use=occasion.is_real,
    )


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


def _versions(campaign: Campaign) -> dict[str, str]:
    message = campaign.message
    names = ["mailvolley", "jinja2", "orjson", "polars"]
    names += ["markdown-it-py"] if message.markdown else []
    names += ["lxml"] if message.derives_text else []
    names += ["icalendar"] if message.calendar else []
    packages = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **packages}
