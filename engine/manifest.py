"""What a run is, in one file that is written before it starts and never changed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

from pydantic import TypeAdapter

from engine import rundir
from engine.errors import RunError
from engine.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run is. Written before it starts, and never changed.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        generation: 1 for the first sending of the campaign, 2 for the next.
        parent: the run whose failures it tries again, or None.
        rehearsal: whether it goes to the sandbox.
        base_url: where it goes; empty for the sandbox.
        out: where the results are copied to, or None.
        created_at: UTC, ISO 8601.
        file: the campaign file.
        definition: the campaign, checked, with the command line's overrides.
        source: what tells the list from another: see `recipients.fingerprint`.
        excluded: likewise of each list of [audience] exclude, in order.
        limit: rows taken from the list at most, or None for all.
        rows: input rows.
        planned: rows by planned status; "mailable" are to be mailed.
        chunk: rows that a worker takes at once; part of how batches are cut.
        batch_size: messages of one request at most.
        snapshot: sha256 of the frozen list.
        templates: sha256 of each template in use.
        attachments: sha256 of each file that all messages have, by its name in the
            run's `attachments/`.
        folders: where files that a row chooses are read from: the campaign file's name
            of the folder to its path, absolute.
        link_key: what tells the key that its links to unsubscribe are signed with from
            others; empty without any.
        overridden: ids of the rules that it breaks and that the user allowed.
        versions: of the engine, Python and the packages that shape the bytes sent.
        canary: rows that leave first, with no batch that reaches beyond them; None:
            without a canary, or planned when it was a number of whole chunks.
    """

    campaign: str
    run: str
    generation: int
    parent: str | None
    rehearsal: bool
    base_url: str
    out: str | None
    created_at: str
    file: str
    definition: dict[str, Any]
    source: dict[str, Any]
    excluded: list[dict[str, Any]]
    limit: int | None
    rows: int
    planned: dict[str, int]
    chunk: int
    batch_size: int
    snapshot: str
    templates: dict[str, str]
    attachments: dict[str, str]
    folders: dict[str, str]
    link_key: str
    overridden: list[str]
    versions: dict[str, str]
    canary: int | None = None

    def to_json(self) -> bytes:
        """Return the manifest as it is stored."""
        facts = asdict(self)
        if self.canary is None:  # as before there was such a fact: its hash must stay
            del facts["canary"]
        return json.dumps(facts, indent=2, ensure_ascii=False).encode()

    @property
    def sha256(self) -> str:
        """The manifest's own hash, which the results carry."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def read(cls, directory: RunDirectory) -> Self:
        """Read a run's manifest.

        Raises:
            RunError: it is not there or not a manifest.
        """
        try:
            manifest = cls(**json.loads(directory.manifest.read_bytes()))
            TypeAdapter(cls).validate_json(manifest.to_json(), strict=True)
            datetime.fromisoformat(manifest.created_at)
            _ = manifest.mailable, manifest.versions["mailvolley"]
        except FileNotFoundError:
            raise RunError(
                f"{directory.path}: there is no such run",
                hint="see which there are: mailvolley status FOLDER",
            ) from None
        except OSError as error:
            raise RunError(
                f"{directory.manifest}: cannot be read: {error.strerror}"
            ) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(
                f"{directory.manifest}: cannot be read: it is damaged, or of another "
                "version of mailvolley",
                hint="restore the run directory from a backup, or start a new run",
            ) from error
        return manifest

    def check_snapshot(self, directory: RunDirectory) -> None:
        """Refuse a frozen list that is not what was planned.

        Raises:
            RunError: it is gone or changed.
        """
        path = directory.recipients
        if not path.is_file() or rundir.sha256(path) != self.snapshot:
            raise RunError(
                f"{path}: is not what was planned",
                hint="restore the run directory from a backup",
            )

    @property
    def mailable(self) -> int:
        """Rows that are to be mailed."""
        return self.planned["mailable"]

    def write(self, directory: RunDirectory) -> None:
        """Store the manifest; from now on the run exists."""
        rundir.publish(directory.manifest, self.to_json())
