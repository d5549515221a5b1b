"""The Jinja environment that every template runs in.

Sandboxed and strict: a template sees the data of its row and nothing else, cannot
change it, and fails on a name that is not there. Rendering the same row gives the same
bytes on every run, so whatever draws lots or reads a clock is taken out.
"""

from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

#: Jinja's own names that give something else each time.
UNSTEADY_FILTERS = ("random",)
UNSTEADY_GLOBALS = ("lipsum",)


def environment(directory: Path, *, escape: bool) -> ImmutableSandboxedEnvironment:
    """Make the environment of one kind of part.

    Args:
        directory: the folder of the templates; nothing outside it can be loaded.
        escape: whether values are escaped for HTML.
    """
    made = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(directory),
        undefined=StrictUndefined,
        # Not select_autoescape: it takes `.html.j2` for plain text.
        autoescape=escape,
        finalize=_blank_if_none,
        auto_reload=False,
    )
    for name in UNSTEADY_FILTERS:
        del made.filters[name]
    for name in UNSTEADY_GLOBALS:
        del made.globals[name]
    return made


def _blank_if_none(value: Any) -> Any:
    """Print nothing for an empty cell: nobody wants to read "Dear None"."""
    return "" if value is None else value
