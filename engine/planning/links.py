"""Each recipient's own link to unsubscribe, made as messages are rendered.

Not kept with the frozen list: a link is longer than most rows. It is made anew from the
address, the list's name and two keys, and comes out the same as long as these are. The
key that a run's links are signed with is noted in its manifest, so that a key which is
put in front of it later changes nothing of a run that is under way.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine import unsubscribe
from engine.address import normalised
from engine.campaign import Campaign, values
from engine.errors import CampaignError, RunError
from engine.render import Rendered, Renderer, Words
from engine.suppression import Suppressions, marked
from engine.unsubscribe import ONE_CLICK, Keys, Subject

#: What templates call the link.
NAME: Final = "unsubscribe_url"
_NO_SECTION: Final = (
    'is the link of an [unsubscribe] section: write one with url = "https://…"'
)
HEADER: Final = "List-Unsubscribe"
POST: Final = "List-Unsubscribe-Post"
_FINGERPRINT: Final = 16


@dataclass(frozen=True, slots=True)
class Links:
    """Makes the links of a run.

    Attributes:
        base: what they begin with, without a trailing `/`.
        audience: which list one leaves by them.
        keys: the first signs.
        marks: the key of the marks that stand for addresses.
    """

    base: str
    audience: str
    keys: Keys
    marks: bytes

    def __repr__(self) -> str:
        return f"Links({self.base!r}, {self.audience!r})"

    @property
    def fingerprint(self) -> str:
        """What tells the signing key from others; not the key."""
        return _fingerprint(self.keys.values[0])

    def of(self, addresses: pl.Series) -> list[str]:
        """Return the link of each address."""
        known = pl.select(normalised(pl.lit(addresses))).to_series()
        begin = f"{self.base}/u/"
        return [
            begin + self.keys.token(Subject(marked(self.marks, name), self.audience))
            for name in known.to_list()
        ]

    def add(self, chunk: pl.DataFrame) -> pl.DataFrame:
        """Let the templates see the link of each row."""
        links = pl.Series(NAME, self.of(chunk["address"]), dtype=pl.String())
        data = chunk["data"].struct.unnest().with_columns(links)
        return chunk.with_columns(data=data.to_struct("data"))

    def is_own(self, url: str, address: str) -> bool:
        """Whether a link was made here, and for this address."""
        begin = f"{self.base}/u/"
        subject = self.keys.read(url.removeprefix(begin))
        if not url.startswith(begin) or subject is None:
            return False
        (own,) = self.of(pl.Series([address]))
        return subject == self.keys.read(own.removeprefix(begin))


class LinkingRenderer(Renderer):
    """A renderer whose templates see each row's link to unsubscribe.

    Args:
        directory: as of `Renderer`, like all that follow.
        parts: likewise.
        campaign: likewise.
        links: makes the links; None: there are none.
        more: the renderer's other arguments.

    Attributes:
        links: as given.
    """

    def __init__(
        self,
        directory: Path,
        parts: Mapping[str, str],
        campaign: Mapping[str, Any],
        *,
        links: Links | None,
        **more: Any,
    ) -> None:
        super().__init__(directory, parts, campaign, **more)
        self.links = links
        if links is None:
            self.elsewhere = {NAME: _NO_SECTION}

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns of the list that the templates read; None where any may be."""
        found = super().columns
        return found if found is None or self.links is None else found - {NAME}

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse templates that ask for what the list does not have."""
        known = list(columns)
        if self.links is not None:
            if NAME in known:
                raise CampaignError(
                    f'the list has a column "{NAME}", which templates know as the link '
                    "of the [unsubscribe] section; rename the column"
                )
            known.append(NAME)
        super().check_columns(known)

    def render(self, chunk: pl.DataFrame) -> Rendered:
        """Render one message per row."""
        return super().render(chunk if self.links is None else self.links.add(chunk))


def new(campaign: Campaign, runs: Path | None, *, keep: bool) -> Links | None:
    """Return what makes the links of a new run; None without an [unsubscribe] section.

    Args:
        campaign: the campaign.
        runs: the folder of the runs, with their keys; None: there is none.
        keep: whether keys are made where there are none. Else they are made up: for a
            plan that nobody sends.

    Raises:
        StoreError: the keys cannot be read or made.
    """
    section = campaign.unsubscribe
    if section is None:
        return None
    keys, marks = Keys((secrets.token_bytes(32),)), secrets.token_bytes(32)
    if runs is not None:
        if keep or _keys(runs).exists():
            keys = unsubscribe.keys(_keys(runs))
        if keep or _marks(runs).exists():
            with Suppressions.open(runs) as suppressions:
                marks = suppressions.key()
    return Links(section.url, campaign.unsubscribe_list, keys, marks)


def again(campaign: Campaign, runs: Path, fingerprint: str) -> Links | None:
    """Return what made the links of a run that is taken up.

    Raises:
        RunError: the key that they were signed with is gone.
        StoreError: the keys cannot be read.
    """
    section = campaign.unsubscribe
    if section is None:
        return None
    known = unsubscribe.keys(_keys(runs)).values if _keys(runs).exists() else ()
    first = [key for key in known if _fingerprint(key) == fingerprint]
    if not first or not _marks(runs).exists():
        raise RunError(
            f"{_keys(runs)}: the key that this run's links are signed with is gone",
            hint="restore it from a backup: without it no link of a sent mail works",
        )
    with Suppressions.open(runs) as suppressions:
        marks = suppressions.key()
    keys = Keys((*first, *(key for key in known if key not in first)))
    return Links(section.url, campaign.unsubscribe_list, keys, marks)


def headers(campaign: Campaign) -> dict[str, Words[str]]:
    """Return the header fields of RFC 8058, as a recipe takes them.

    Raises:
        CampaignError: the campaign file writes them itself, too.
    """
    section = campaign.unsubscribe
    if section is None:
        return {}
    ours = {HEADER.lower(), POST.lower()}
    if taken := [name for name in campaign.message.headers if name.lower() in ours]:
        raise CampaignError(
            f"{campaign.file}: [message.headers] {', '.join(taken)}: the section "
            "[unsubscribe] writes them; keep one of both"
        )
    ways = f"<{{{{ {NAME} }}}}>"
    if section.mailto is not None:
        ways += f", <mailto:{section.mailto}?subject=unsubscribe>"
    return {
        HEADER: Words("[unsubscribe] url", ways, inline=True, read=values.line),
        POST: Words("[unsubscribe]", ONE_CLICK, inline=False, read=values.line),
    }


def _keys(runs: Path) -> Path:
    return runs / unsubscribe.KEYS


def _marks(runs: Path) -> Path:
    return runs / "suppressions.key"


def _fingerprint(key: bytes) -> str:
    told = b"mailvolley links" + key
    return hashlib.sha256(told).hexdigest()[:_FINGERPRINT]
