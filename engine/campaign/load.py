"""Read a campaign file, lay the command line's overrides over it, and check it all."""

import glob
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.campaign.problems import sentence
from engine.campaign.sections import Campaign, Catalogue, home_of
from engine.errors import CampaignError


def load(
    file: Path,
    *,
    overrides: Iterable[str] = (),
    catalogue: Catalogue | None = None,
    needs_list: bool = True,
) -> Campaign:
    """Read and check a campaign file.

    Args:
        file: the TOML file.
        overrides: `key.path=value` each, laid over the file; a value is TOML, or
            plain text where it is no TOML.
        catalogue: the providers there are, and the settings that each takes; without
            it any provider is taken.
        needs_list: whether the file must name the list; not so when the caller
            brings one.

    Raises:
        CampaignError: with every problem found: syntax, unknown and missing keys,
            wrong types and values, missing templates, a missing list.
    """
    data = _read(file)
    for override in overrides:
        _lay_over(data, override)
    problems = list(_missing_files(data, file, needs_list=needs_list))
    context = None if catalogue is None else {"catalogue": catalogue}
    try:
        campaign = Campaign.model_validate(data, context=context)
    except ValidationError as error:
        problems[:0] = [sentence(detail) for detail in error.errors()]
    if problems:
        raise CampaignError(*(f"{file}: {problem}" for problem in problems))
    return campaign.bound_to(file)


def rebased(campaign: Campaign, base_url: str) -> Campaign:
    """Return the same campaign with another address of the provider's API.

    Raises:
        CampaignError: the address is none that may be used.
    """
    data = campaign.model_dump(by_alias=True)
    data["provider"]["base_url"] = base_url
    try:
        return Campaign.model_validate(data).bound_to(campaign.file)
    except ValidationError as error:
        raise CampaignError(*map(sentence, error.errors())) from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the campaign file, for editors."""
    document = Campaign.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CampaignError(f"{file}: there is no such campaign file") from None
    except OSError as error:
        raise CampaignError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CampaignError(f"{file}: is not UTF-8; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise CampaignError(f"{file}: is not TOML: {error}") from error


def _lay_over(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    *sections, key = path.strip().split(".")
    if not equals or not all([*sections, key]):
        raise CampaignError(
            f"--set {override}: write key.path=value, as in limits.workers=16"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = data
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise CampaignError(f"--set {override}: {section} is not a section")
    table[key] = value


def _missing_files(
    data: dict[str, Any], file: Path, *, needs_list: bool
) -> Iterator[str]:
    """Name the files that the data asks for and that are not there.

    Works on what was read, not on what was checked, so that missing files are told
    together with every other problem.
    """
    templates = home_of(file) / "templates"
    message = data.get("message")
    for part in ("subject", "html", "text"):
        name = message.get(part) if isinstance(message, dict) else None
        if isinstance(name, str) and not (templates / name).is_file():
            yield (
                f'[message] {part} = "{name}": there is no such template in {templates}'
            )
    recipients = data.get("recipients", {})
    if not needs_list or not isinstance(recipients, dict):
        return
    source = recipients.get("source")
    if source is None:
        yield "[recipients] source is missing: the list, a path, glob or folder"
    elif isinstance(source, str):
        path = file.parent / source
        # Path.glob takes no absolute pattern, and a list may be named by one.
        found = path.exists() or glob.glob(str(path), recursive=True)  # noqa: PTH207
        if not found:
            yield f'[recipients] source = "{source}": there is no such list'
