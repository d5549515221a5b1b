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


def read(
    token: Token | None, *, folder: Path, place: str = "[provider] token"
) -> Secret:
    """Read the secret that a campaign, or an option, names.

    Args:
        token: where it is kept.
        folder: what a relative file starts from: the campaign file's folder.
        place: what names it, for the messages.

    Raises:
        CampaignError: it is not there, empty, more than a line, or in a file that
            others may read.
    """
    if token is None:
        raise CampaignError(
            f'{place} is missing: write {{ env = "NAME" }} or {{ file = "path" }}'
        )
    if token.env is not None:
        holder, mend = _variable(token.env)
        value = os.environ.get(token.env, "")
    else:
        path = folder / Path(str(token.file)).expanduser()
        holder, mend = f"the file {path}", f"write the token to {path}, mode 0600"
        value = _private_text(path, place, mend)
    value = value.strip()
    if not value:
        raise CampaignError(f"{place}: {holder} holds no token", hint=mend)
    if not value.isprintable() or not value.isascii():
        raise CampaignError(
            f"{place}: {holder} holds more than a line of ASCII text; "
            "a token is one line, without quotation marks and names"
        )
    return Secret(value)


def _variable(name: str) -> tuple[str, str]:
    """Name an environment variable, and say how to set it.

    Unless the name may be a secret that stands in the wrong place: those have lower
    case letters, variables seldom have.
    """
    if name.isupper():
        return f"the environment variable {name}", f"export {name}=…"
    return (
        "the environment variable that env names",
        'env names a variable, as in { env = "PROVIDER_TOKEN" }, and is no token',
    )


def _private_text(path: Path, place: str, mend: str) -> str:
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CampaignError(
                f"{place}: others may read {path}", hint=f"chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CampaignError(
            f"{place}: {path} cannot be read: {error.strerror}", hint=mend
        ) from error
    except UnicodeDecodeError:
        raise CampaignError(f"{place}: {path} is not text") from None
