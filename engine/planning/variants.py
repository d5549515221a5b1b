"""The renderer of a campaign with several messages: each row gets its own variant.

How it works: a variant has a renderer of its own, whose templates see its name as
`campaign.variant`. Rows go to theirs, and come back in the order of the list: a chunk
is cut into the same batches, with the same bytes, whoever makes it. Without variants
there is one renderer, this one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment

from engine.message import Messages
from engine.planning.links import LinkingRenderer, Links
from engine.render import Rendered, Watch
from engine.texts import Texts, joined


class VariedRenderer(LinkingRenderer):
    """A renderer of the campaign's own message, and of its variants.

    Args:
        directory: as of `Renderer`, like all that follow.
        parts: of the campaign's own message.
        campaign: likewise.
        variants: the parts of each variant, by its name.
        links: as of `LinkingRenderer`.
        derive_text: likewise; not for a variant that has a text of its own.
        watch: likewise.
        more: the renderer's other arguments.
    """

    def __init__(
        self,
        directory: Path,
        parts: Mapping[str, str],
        campaign: Mapping[str, Any],
        *,
        variants: Mapping[str, Mapping[str, str]],
        links: Links | None,
        watch: Watch | None,
        **more: Any,
    ) -> None:
        named = {**campaign, "variant": ""}
        super().__init__(directory, parts, named, links=links, watch=watch, **more)
        self._variants = {}
        self._watches = {}
        for name, own in variants.items():
            among = None if watch is None else _Among(watch)
            named = {**campaign, "variant": name}
            renderer = LinkingRenderer(
                directory, own, named, links=links, watch=among, **more
            )
            self._variants[name], self._watches[name] = renderer, among
            for part, why in renderer.uncut.items():
                if own[part] != parts.get(part):
                    self.uncut[f"{part} of {name}"] = why

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that the templates of any message read; None: any may be."""
        several = [super().columns, *(one.columns for one in self._variants.values())]
        known = [found for found in several if found is not None]
        return frozenset().union(*known) if len(known) == len(several) else None

    @property
    def sources(self) -> dict[str, str]:
        """The text of every template file in use, by its name below the folder."""
        found = super().sources
        for renderer in self._variants.values():
            found |= renderer.sources
        return found

    def shown_ids(self) -> frozenset[str] | None:
        """Return what attachments any message shows; None where a row may choose."""
        several = [super().shown_ids()]
        several += [one.shown_ids() for one in self._variants.values()]
        known = [found for found in several if found is not None]
        return frozenset().union(*known) if len(known) == len(several) else None

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse templates that ask for what the list does not have."""
        known = list(columns)
        super().check_columns(known)
        for renderer in self._variants.values():
            renderer.check_columns(known)

    def render(self, chunk: pl.DataFrame) -> Rendered:
        """Render one message per row, each in its variant.

        Args:
            chunk: as of `Renderer`, and where there are variants, variant str|null.
        """
        if not self._variants:
            return super().render(chunk)
        places: dict[str | None, list[int]] = {}
        for place, name in enumerate(chunk["variant"].to_list()):
            places.setdefault(name, []).append(place)
        return _together([self._of(n, chunk, some) for n, some in places.items()])

    def _of(
        self, name: str | None, chunk: pl.DataFrame, places: Sequence[int]
    ) -> Rendered:
        """Render the rows of one variant; None: rows that are left out."""
        if name is None:
            return super().render(chunk[places])
        if (among := self._watches[name]) is not None:
            among.places = places
        return self._variants[name].render(chunk[places])


class _Among:
    """Tells a watch of rows by their places among those of all variants."""

    def __init__(self, watch: Watch) -> None:
        self.places: Sequence[int] = ()
        self._watch = watch

    def attach(self, env: Environment) -> None:
        self._watch.attach(env)

    def begin(self, place: int) -> None:
        self._watch.begin(self.places[place])


def _together(several: Sequence[Rendered]) -> Rendered:
    """Put what was rendered back into the order of the list."""
    if len(several) == 1:
        return several[0]
    rows = [row for one in several for row in one.messages.rows]
    order = sorted(range(len(rows)), key=rows.__getitem__)
    columns: dict[str, Any] = {}
    for field in fields(Messages):
        pieces = [getattr(one.messages, field.name) for one in several]
        is_there = all(piece is not None for piece in pieces)
        columns[field.name] = _merged(pieces, order) if is_there else None
    failures = [failure for one in several for failure in one.failures]
    failures.sort(key=lambda failure: failure.row)
    return Rendered(Messages(**columns), failures)


def _merged(columns: Sequence[Sequence[Any]], order: Sequence[int]) -> Sequence[Any]:
    """Lay columns end to end, and take them in an order; texts stay in JSON's form."""
    several = [column for column in columns if isinstance(column, Texts)]
    if len(several) == len(columns):
        insides = [i for texts in several for i in joined(len(texts), texts.pieces)]
        return Texts(len(order), [[insides[place] for place in order]])
    whole = [one for column in columns for one in column]
    return [whole[place] for place in order]
