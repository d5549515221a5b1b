"""A trial: messages of chosen rows, sent to oneself, marked as tests.

    <runs>/<campaign>.test/<run>/     a run like any other, of its own

It goes the way of every run: a plan, a journal, the provider. But its rows are the
chosen ones at other addresses, with message ids of their own, so that it is nobody's
message to the campaign, and a later send still writes to everyone. Nobody else gets it:
copies are left out. Its subject begins with "[Test] ", and where the provider has a
place for headers, one says so, too.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from engine import address, batch, parquet, planning, providers, rundir
from engine.campaign import Campaign, allowing
from engine.errors import CampaignError
from engine.lint import RULES
from engine.message import Feature
from engine.planning import Occasion, Plan
from engine.planning.extras import again, recipe_of
from engine.planning.links import LinkingRenderer
from engine.planning.plan import batch_size, limited, provider_of, renderer_of
from engine.proof import Wanted, find, prove, read
from engine.recipients import Source
from engine.rundir import RunDirectory

#: What marks a message as a test.
PREFIX: Final = "[Test]"
HEADER: Final = "X-Mailvolley-Test"
#: The folder of the templates of its subjects, in the run's copies alone.
SUBJECTS: Final = "mailvolley-test"
#: Messages of a trial at most: it is for eyes.
MOST: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Messages to send to oneself.

    Attributes:
        campaign: the campaign.
        source: its list.
        addresses: who gets them.
        wanted: which rows; none: the first that is to be mailed.
        runs_dir: where the runs are kept; None: `runs/` beside the templates.
        limit: take only so many rows of the list.
        sandbox: whether it goes to a provider inside this process.
        out: never: nobody waits for its results.
        on_chosen: told of the rows, each with its key, and of who gets them.
    """

    campaign: Campaign
    source: Source
    addresses: tuple[str, ...]
    wanted: Wanted
    runs_dir: Path | None = None
    limit: int | None = None
    sandbox: bool = False
    out: None = None
    on_chosen: Callable[[list[tuple[int, str]], list[str]], None] = lambda *_: None

    @property
    def folder(self) -> Path:
        """Where the campaign's trials are; no campaign can have that name."""
        runs = self.runs_dir or self.campaign.home / "runs"
        return runs / f"{self.campaign.name}.test"

    def choose(self) -> tuple[Plan, bool]:
        """Plan a run of the chosen rows.

        Raises:
            CampaignError: the campaign is wrong, a row or an address is not fit.
        """
        to = _checked(self.addresses)
        # What is only looked at may break the rules that a sending must keep.
        campaign = allowing(self.campaign, tuple(RULES))
        with tempfile.TemporaryDirectory(prefix="mailvolley-test-") as folder:
            occasion = Occasion(
                rehearsal=True, runs=self.folder.parent, keep=not self.sandbox
            )
            whole = planning.draw_up(
                campaign,
                self.source,
                RunDirectory(Path(folder)),
                limit=self.limit,
                occasion=occasion,
            )
            rows = _chosen(whole, self.wanted)
            if len(rows) * len(to) > MOST:
                raise CampaignError(
                    f"{len(rows)} rows to {len(to)} addresses: a test is at most "
                    f"{MOST} messages"
                )
            chosen = read(whole, rows)
            self.on_chosen(list(chosen.select("row", "key").iter_rows()), to)
            directory = rundir.create(self.folder, rehearsal=self.sandbox)
            return self._plan(whole, chosen, to, directory), False

    def _plan(
        self,
        whole: Plan,
        rows: pl.DataFrame,
        to: list[str],
        directory: RunDirectory,
    ) -> Plan:
        """Make a plan of rows out of the plan of all, for other addresses."""
        base_url = "" if self.sandbox else planning.base_url_of(self.campaign)
        occasion = Occasion(rehearsal=self.sandbox, base_url=base_url)
        marked = _marked(self.campaign)
        held, told = limited(marked, occasion)
        for name in ("templates", "attachments"):
            if (kept := whole.directory.path / name).is_dir():
                shutil.copytree(kept, directory.path / name)
        several = [self.campaign.message, *self.campaign.messages.values()]
        subjects = dict.fromkeys(message.subject for message in several)
        added = {_marked_name(name): _add_subject(name, directory) for name in subjects}
        templates = {**whole.manifest.templates, **added}
        frozen = _frozen(rows, to, self.campaign.name, directory.run)
        parquet.write(directory.recipients, iter([frozen]), frozen.schema)
        attached = again(whole.manifest, whole.directory)
        size = batch_size(held, attached)
        manifest = replace(
            whole.manifest,
            run=directory.run,
            rehearsal=self.sandbox,
            base_url=base_url,
            definition=marked.model_dump(mode="json", by_alias=True),
            limit=None,
            rows=frozen.height,
            planned={**dict.fromkeys(whole.counts, 0), "mailable": frozen.height},
            chunk=size,
            batch_size=size,
            snapshot=rundir.sha256(directory.recipients),
            templates=templates,
            canary=None,
        )
        moment = datetime.fromisoformat(manifest.created_at)
        recipe = recipe_of(marked, moment, again(manifest, directory))
        made = whole.renderer
        links = made.links if isinstance(made, LinkingRenderer) else None
        renderer = renderer_of(marked, directory.templates, recipe, links=links)
        # The mark is what makes the subject slow, and a test is a few messages.
        renderer.uncut.clear()
        return Plan(
            manifest,
            held,
            directory,
            provider_of(marked, directory.run, size, recipe),
            renderer,
            told,
        )


def _checked(addresses: tuple[str, ...]) -> list[str]:
    """Return who gets it, each once.

    Raises:
        CampaignError: one of them is no address.
    """
    to = list(dict.fromkeys(text.strip() for text in addresses))
    found = pl.DataFrame({"to": to}).select("to", why=address.problem(pl.col("to")))
    if problems := [
        f"--to {text}: {address.SENTENCES[why]}"
        for text, why in found.iter_rows()
        if why is not None
    ]:
        raise CampaignError(*problems)
    return to


def _chosen(plan: Plan, wanted: Wanted) -> list[int]:
    rows = find(plan, wanted)
    if wanted.worst and (worst := prove(plan).worst) is not None:
        rows.append(worst)
    if rows:
        return list(dict.fromkeys(rows))
    if variants := plan.first_rows():
        return [*variants.values()]
    scan = pl.scan_parquet(plan.directory.recipients).select("row", "status")
    first = scan.filter(pl.col("status").is_null()).head(1).collect()
    return first["row"].to_list() or [0]


def _marked(campaign: Campaign) -> Campaign:
    """Return the campaign with its messages marked as tests, and without copies.

    Nor does what holds a campaign back hold a test: it is for eyes, and at once.
    """
    message = campaign.message
    can = providers.load(campaign.provider.name).capabilities
    mark = {HEADER: "yes"} if Feature.HEADERS in can.features else {}
    headers = {**message.headers, **mark}
    subject = _marked_name(message.subject)
    changed = {"subject": subject, "cc": (), "bcc": (), "headers": headers}
    variants = tuple(
        one.model_copy(update={"subject": _marked_name(one.subject)})
        if one.subject
        else one
        for one in campaign.variants
    )
    held_back = dict.fromkeys(("canary", "stop", "expect", "start_by"))
    return campaign.model_copy(
        update={
            "message": message.model_copy(update=changed),
            "variants": variants,
            **held_back,
        }
    ).bound_to(campaign.file)


def _marked_name(subject: str) -> str:
    """Return the name of the template that marks a subject."""
    return f"{SUBJECTS}/{subject}"


def _add_subject(subject: str, directory: RunDirectory) -> str:
    """Put the template of the subject beside the copies; return its hash.

    It includes the campaign's own, whatever that extends.
    """
    name = json.dumps(subject, ensure_ascii=False)
    include = f"{{% include {name} %}}"
    text = f"{PREFIX} {{% filter trim %}}{include}{{% endfilter %}}".encode()
    file = directory.templates / _marked_name(subject)
    rundir.make_folders(file.parent, below=directory.path)
    rundir.publish(file, text)
    return rundir.sha256(file)


def _frozen(rows: pl.DataFrame, to: list[str], name: str, run: str) -> pl.DataFrame:
    """Return the frozen list: each row for each address, with ids of their own."""
    each = pl.concat([rows.with_columns(address=pl.lit(text)) for text in to])
    which = each.select(pl.format("{} {}", "row", "address")).to_series().to_list()
    ids = batch.message_ids(f"{name}.test {run}", which)
    nothing = pl.lit(None, dtype=pl.String)
    return (
        each.with_columns(
            key=pl.format("row {}", "row"),
            message_id=ids,
            status=nothing,
            reason=nothing,
            detail=nothing,
        )
        .drop("row")
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.UInt64))
        .select(rows.columns)
    )
