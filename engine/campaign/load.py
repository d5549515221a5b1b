"""Read a campaign file, lay the command line's overrides over it, and check it all."""

import glob
import json
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
    problems = list(_lay_over(data, overrides))
    context = None if catalogue is None else {"catalogue": catalogue}
    found = list(_missing_files(data, file, needs_list=needs_list))
    try:
        campaign = Campaign.model_validate(data, context=context)
    except ValidationError as error:
        found[:0] = [sentence(detail) for detail in error.errors()]
    problems += [f"{file}: {problem}" for problem in found]
    if problems:
        raise CampaignError(*problems)
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


def allowing(campaign: Campaign, rules: Iterable[str]) -> Campaign:
    """Return the same campaign, allowed to break more rules of `engine.lint`.

    Raises:
        CampaignError: one is no rule.
    """
    data = campaign.model_dump(by_alias=True)
    allowed = dict.fromkeys((*campaign.lint.allow, *rules))
    data["lint"]["allow"] = tuple(allowed)
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
        # Some editors begin a file with a byte order mark, which TOML has no place for.
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CampaignError(f"{file}: there is no such campaign file") from None
    except OSError as error:
        raise CampaignError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CampaignError(f"{file}: is not UTF-8; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:  # a number or nesting without end
        raise CampaignError(f"{file}: is not TOML: {error}") from error


def _lay_over(data: dict[str, Any], overrides: Iterable[str]) -> Iterator[str]:
    """Lay values over what was read; yield what is wrong with them.

    What stands after the = is never shown: it may be a secret.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        *sections, key = (step.strip() for step in path.split("."))
        if not equals or not all([*sections, key]):
            yield f"--set {path}: write key.path=value, as in limits.workers=16"
            continue
        table: Any = data
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                yield f"--set {path}: {section} is a value, not a section"
                break
        else:
            table[key] = _value(text)


def _value(text: str) -> Any:
    """Read a value as TOML, or as plain text where it is no TOML."""
    try:
        document = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    # A line end in the text could begin a second key.
    return document["value"] if len(document) == 1 else text


def _missing_files(
    data: dict[str, Any], file: Path, *, needs_list: bool
) -> Iterator[str]:
    """Name the files that the data asks for and that are not there.

    Works on what was read, not on what was checked, so that missing files are told
    together with every other problem.
    """
    message = data.get("message")
    templates = home_of(file) / "templates"
    if isinstance(message, dict):
        yield from _missing_templates("[message]", message, templates)
    variants = data.get("variants")
    for item, one in enumerate(variants if isinstance(variants, list) else (), 1):
        if isinstance(one, dict):
            place = f"[[variants]] item {item},"
            yield from _missing_templates(place, one, templates)
    yield from _missing_lists(data.get("audience"), file.parent)
    recipients = data.get("recipients", {})
    if not needs_list or not isinstance(recipients, dict):
        return
    source = recipients.get("source")
    if source is None:
        yield "[recipients] source is missing: the list, a path, glob or folder"
    elif isinstance(source, str) and source and not _is_there(file.parent, source):
        yield f"[recipients] source = {_quoted(source)}: there is no such list"


def _missing_lists(audience: object, folder: Path) -> Iterator[str]:
    named = audience.get("exclude") if isinstance(audience, dict) else None
    for item, one in enumerate(named if isinstance(named, list) else (), 1):
        source = one.get("source") if isinstance(one, dict) else one
        if isinstance(source, str) and source and not _is_there(folder, source):
            place = f"[audience] exclude, item {item} = {_quoted(source)}"
            yield f"{place}: there is no such list"


def _missing_templates(
    section: str, message: dict[str, Any], templates: Path
) -> Iterator[str]:
    for part in ("subject", "html", "markdown", "text"):
        name = message.get(part)
        if not isinstance(name, str) or not name:
            continue
        place = f"{section} {part} = {_quoted(name)}"
        if Path(name).is_absolute() or ".." in Path(name).parts:
            yield f"{place}: write the path of a file below {templates}"
        elif not _is_file(templates / name):
            yield f"{place}: there is no such template in {templates}"


def _is_there(folder: Path, source: str) -> bool:
    """Whether a path, glob or folder names anything."""
    try:
        # Path.glob takes no absolute pattern, and a list may be named by one.
        return (folder / source).exists() or bool(
            glob.glob(source, root_dir=folder, recursive=True)  # noqa: PTH207
        )
    except (OSError, ValueError):  # too long for a name, a NUL, a closed folder
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a name: a text stands where a path belongs
        return False


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
