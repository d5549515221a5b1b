"""The plan of an earlier start: taken up, compared with today's, tried again."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from engine import recipients, results, rundir
from engine.campaign import Campaign
from engine.errors import RunError
from engine.manifest import Manifest
from engine.outcome import Status
from engine.planning import audience, extras, links
from engine.planning.plan import (
    Occasion,
    Plan,
    base_url_of,
    limited,
    provider_of,
    renderer_of,
)
from engine.rundir import RunDirectory

#: Sections that say how a campaign is sent, not what.
HOW = frozenset({"limits", "start_by", "expect", "stop", "canary", "lint"})


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


def take_up(directory: RunDirectory, campaign: Campaign) -> Plan:
    """Return the plan of an earlier start, after checking that it is still the same.

    Args:
        directory: the run's.
        campaign: as it was planned, or as it is now if only its limits, address and
            credentials have changed.

    Raises:
        RunError: the frozen list, a template or an attachment is not what the manifest
            says, or a folder of attachments is gone.
    """
    manifest = Manifest.read(directory)
    frozen = {
        **{directory.templates / n: sha for n, sha in manifest.templates.items()},
        **{extras.kept(directory, n): s for n, s in manifest.attachments.items()},
        directory.recipients: manifest.snapshot,
    }
    changed = [str(path) for path, sha in frozen.items() if not _is_file(path, sha)]
    if changed:
        raise RunError(
            f"changed since the run was planned: {', '.join(changed)}",
            hint="restore the run directory from a backup, or start a new run",
        )
    moment = datetime.fromisoformat(manifest.created_at)
    recipe = extras.recipe_of(campaign, moment, extras.again(manifest, directory))
    runs = directory.path.parent.parent
    made = links.again(campaign, runs, manifest.link_key)
    occasion = Occasion(rehearsal=manifest.rehearsal, base_url=base_url_of(campaign))
    held, _ = limited(campaign, occasion)
    return Plan(
        manifest,
        held,
        directory,
        provider_of(campaign, manifest.run, manifest.batch_size, recipe),
        renderer_of(campaign, directory.templates, recipe, links=made),
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
    moment = datetime.fromisoformat(manifest.created_at)
    recipe = extras.recipe_of(campaign, moment, extras.NONE)
    renderer = renderer_of(campaign, campaign.templates, recipe)
    for name, text in renderer.sources.items():
        if manifest.templates.get(name) != hashlib.sha256(text.encode()).hexdigest():
            found.append(str(campaign.templates / name))
    found += extras.changed(manifest, campaign)
    if _contents(manifest.source) != _contents(recipients.fingerprint(source)):
        found.append(f"the list {campaign.recipients.source or ''}".rstrip())
    if [*map(_contents, manifest.excluded)] != [
        _contents(one) for one in audience.fingerprints(campaign)
    ]:
        found.append("a list of [audience] exclude")
    if manifest.limit != limit:
        found.append(f"--limit ({manifest.limit or 'none'}, now {limit or 'none'})")
    return found


def _what_is_sent(definition: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in definition.items() if key not in HOW}
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
        RunError: the results are gone or damaged, or no row ended so.
    """
    results.expect(directory)
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


def _is_file(path: Path, sha256: str) -> bool:
    return path.is_file() and rundir.sha256(path) == sha256
