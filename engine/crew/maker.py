"""Rows in, batches out: render, encode, set aside what is too large, cut.

Pure, so whoever makes a chunk makes the same batches with the same bytes: this process,
another one, or the same run taken up tomorrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.batch import batches
from engine.listed import sizes
from engine.message import Batch, Messages
from engine.planning import Plan
from engine.providers.base import Provider
from engine.render import Failure, Rendered, Renderer

#: Bytes of a batch that are not its messages: brackets, keys, commas.
FRAME = 256


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the batches of one run.

    Attributes:
        campaign: the campaign's name.
        generation: 1 for its first sending, 2 for the next.
        batch_size: messages of one request at most.
    """

    campaign: str
    generation: int
    batch_size: int
    provider: Provider
    renderer: Renderer

    @classmethod
    def of(cls, plan: Plan) -> "Maker":
        """Make the maker of a plan."""
        manifest = plan.manifest
        return cls(
            manifest.campaign,
            manifest.generation,
            manifest.batch_size,
            plan.provider,
            plan.renderer,
        )

    def render(self, chunk: pl.DataFrame) -> Rendered:
        """Render a chunk."""
        return self.renderer.render(chunk)

    def encode(self, rendered: Rendered) -> tuple[list[Batch], list[Failure]]:
        """Make batches of what was rendered; and tell which rows failed."""
        most = self.provider.capabilities.max_batch_bytes - FRAME
        messages, parts, too_large = self._encoded(rendered.messages, most)
        made = batches(
            messages,
            parts,
            campaign=self.campaign,
            generation=self.generation,
            max_count=self.batch_size,
            max_bytes=most,
        )
        return list(made), [*rendered.failures, *too_large]

    def _encoded(
        self, messages: Messages, most: int
    ) -> tuple[Messages, Sequence[bytes], list[Failure]]:
        """Encode messages, and set those aside that no request has room for."""
        parts = self.provider.encode(messages)
        found = sizes(parts)
        if max(found, default=0) <= most:
            return messages, parts, []
        large = [place for place, size in enumerate(found) if size > most]
        failures = [
            Failure(
                messages.rows[place],
                "message_too_large",
                f"the message has {found[place]:,} bytes; at most {most:,} can "
                f"be sent through {self.provider.name}",
            )
            for place in large
        ]
        kept = [place for place, size in enumerate(found) if size <= most]
        return messages.at(kept), [parts[place] for place in kept], failures
