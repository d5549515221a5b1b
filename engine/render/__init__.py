"""Jinja templates compiled once per run; rows in, messages out.

environment.py   what every template runs in: sandboxed, strict, steady
template.py      what a template needs, found without running it
filler.py        one template, filled with row after row
render.py        the parts of a message together; one bad row fails alone
"""

from engine.render.render import Failure, Rendered, Renderer

__all__ = ["Failure", "Rendered", "Renderer"]
