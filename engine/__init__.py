"""mailvolley: a high-throughput batch campaign sender.

    report = engine.send("list.parquet", "campaigns/welcome.toml")

The house, from the doors down; a file imports only from floors below its own:

    doors      cli/  api
    machine    job lookup │ run report receiver/ track/ fetch │ worker │
               deliver overtaken preview/ trial │ crew/ proof/ │
               planning/ online guard reconcile verify/ intake erase/ │
               stop history cloudmailin/
    edges      recipients/  journal/  wire  pace/  results  events/  secret
               suppression  unsubscribe  asked  fetched  resolver
    files      manifest  snapshot  │  duplicates  members  exchange  export  │
               rundir  parquet  piecewise  spool  database  memory
    decisions  tracking/  lint/  │  campaign/  address  render/  batch  bucket  retry
               providers/  webhooks/  │  mime/
    words      message  texts  listed  outcome  record  event  stages  moment  errors

    sandbox/   the other side of the wire; it knows the words at most

Importing the package loads nothing until a name is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.api import asend, load, plan, send
    from engine.campaign import Campaign
    from engine.errors import EngineError
    from engine.planning import Plan
    from engine.report import Report

__version__ = "0.1.0"

_HOMES = {
    "Campaign": "engine.campaign",
    "EngineError": "engine.errors",
    "Plan": "engine.planning",
    "Report": "engine.report",
    "asend": "engine.api",
    "load": "engine.api",
    "plan": "engine.api",
    "send": "engine.api",
}
__all__ = [
    "Campaign",
    "EngineError",
    "Plan",
    "Report",
    "asend",
    "load",
    "plan",
    "send",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
