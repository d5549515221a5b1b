"""The machine behind the commands, each part loaded when a command first asks for it.

    machine.api.load(…)    engine.api, imported here and now

What a command takes is known without what it does: `send --help` and a slip of the pen
need no polars, trio or pydantic, and a command none of the parts that it leaves alone.
"""

import gc
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from engine.cli.interrupt import at_once

if TYPE_CHECKING:
    from engine import api, campaign, job, planning, preview, proof, sandbox, trial
    from engine.cli import looking, proving, sending

#: Parts that are the command line's own, but heavy.
_OURS: Final = frozenset({"looking", "proving", "sending"})
__all__ = [
    "api",
    "campaign",
    "job",
    "looking",
    "planning",
    "preview",
    "proof",
    "proving",
    "sandbox",
    "sending",
    "trial",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    part = _load(f"{'engine.cli' if name in _OURS else 'engine'}.{name}")
    globals()[name] = part
    return part


def _load(name: str) -> Any:
    """Import a part, and keep the garbage collector off it, now and later.

    Nothing of it is ever garbage; to look for some there took a tenth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    # With the first part nothing has begun that an interrupt could leave half done.
    begun = any(part in globals() for part in __all__)
    try:
        with nullcontext() if begun else at_once():
            return import_module(name)
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
