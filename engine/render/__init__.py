"""Jinja templates compiled once per run; rows in, messages out.

`template` knows what a template needs, before any row is rendered; `render` fills it.
"""

from engine.render.render import Failure, Rendered, Renderer

__all__ = ["Failure", "Rendered", "Renderer"]
