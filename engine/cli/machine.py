"""The machine behind the commands, each part loaded when a command first asks for it.

    machine.api.load(…)    engine.api, imported here and now

What a command takes is known without what it does: `send --help` and a slip of the pen
need no polars, trio or pydantic, and a command none of the parts that it leaves alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine import api, campaign, job, lint, preview, proof, sandbox, trial
    from engine.cli import looking, proving, sending

#: Parts that are the command line's own, but heavy.
_OURS: Final = frozenset({"looking", "proving", "sending"})
__all__ = [
    "api",
    "campaign",
    "job",
    "lint",
    "looking",
    "preview",
    "proof",
    "proving",
    "sandbox",
    "sending",
    "trial",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "engine.cli" if name in _OURS else "engine"
        return import_module(f"{home}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
