"""Where an account's secret is kept: read late, shown never."""

import os
import stat
from pathlib import Path

from engine.campaign import Token
from engine.errors import CampaignError


class Secret:
    """A value that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, to be put on the wire and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


def read(token: Token | None, *, folder: Path) -> Secret:
    """Read the secret that a campaign names.

    Args:
        token: where it is kept.
        folder: what a relative file starts from: the campaign file's folder.

    Raises:
        CampaignError: it is not there, empty, more than a line, or in a file that
            others may read.
    """
    if token is None:
        raise CampaignError(
            '[provider] token is missing: write { env = "NAME" } or { file = "path" }'
        )
    if token.env is not None:
        place = f"the environment variable {token.env}"
        value = os.environ.get(token.env, "")
        mend = f"export {token.env}=…"
    else:
        path = folder / str(token.file)
        place, mend = f"the file {path}", f"write the token to {path}, mode 0600"
        value = _private_text(path)
    value = value.strip()
    if not value:
        raise CampaignError(f"[provider] token: {place} holds no token", hint=mend)
    if not value.isprintable() or not value.isascii():
        raise CampaignError(
            f"[provider] token: {place} holds more than one line of plain text"
        )
    return Secret(value)


def _private_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CampaignError(
                f"[provider] token: others may read {path}", hint=f"chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CampaignError(
            f"[provider] token: {path} cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError:
        raise CampaignError(f"[provider] token: {path} is not text") from None
