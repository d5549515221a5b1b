"""Who looks on while templates are filled.

`Renderer` has one place for somebody who wants to know what a row does inside a
template: which branch it takes, which field it leaves empty. Such a watch changes how
the templates are compiled; what they print stays the same to the byte.
"""

from typing import Protocol

from jinja2 import Environment


class Watch(Protocol):
    """Looks on while rows are rendered."""

    def attach(self, env: Environment) -> None:
        """Prepare an environment, before anything is compiled in it."""
        ...

    def begin(self, place: int) -> None:
        """Take notice that a row begins, by its 0-based place in the chunk.

        A row begins several times: once for each part of its message, at least.
        """
        ...
