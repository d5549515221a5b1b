"""A compiled template, filled again and again over one context.

`Template.render` makes a new context for every message, which costs more than filling
most templates: three templates took 40 us a message that way, and take 13 us this way
(`make bench`, November 2026). The bytes are the same; `tests/test_render.py` holds that
over templates with inheritance, includes, macros, loops and the like.

What a rendering leaves behind in a context is what it assigned, what it exported, the
blocks that a child template handed to its parent, and an autoescape state if it was
broken off. The first three are put back before each row; a context that was broken off
is thrown away.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import Template
from jinja2.runtime import Context

from engine.render.environment import Sandbox


class Filler:
    """A template that can be filled with one row after another.

    Args:
        template: compiled, in a synchronous environment.
    """

    __slots__ = (
        "_blocks",
        "_context",
        "_globals",
        "_join",
        "_renew",
        "_root",
        "_template",
    )

    def __init__(self, template: Template) -> None:
        env = template.environment
        if not isinstance(env, Sandbox):
            raise TypeError("only a sandbox has a budget")
        self._renew = env.budget.renew
        self._template = template
        self._root = template.root_render_func
        self._join = env.concat
        self._globals = dict(template.globals)
        self._blocks = template.blocks
        self._context = self._new_context()

    def fill(self, values: Mapping[str, Any]) -> str:
        """Render the template with the data of one row.

        Raises:
            Exception: whatever the template raises, with a traceback that bears the
                files and lines of the templates.
        """
        self._renew()
        context = self._context
        context.parent = {**self._globals, **values}
        context.vars = {}
        context.exported_vars = set()
        context.blocks = {name: [block] for name, block in self._blocks.items()}
        try:
            return self._join(self._root(context))
        except Exception:  # noqa: BLE001 - raised again, with the template's own lines
            self._context = self._new_context()
            return self._template.environment.handle_exception()

    def _new_context(self) -> Context:
        return self._template.new_context()
