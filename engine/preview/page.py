"""The page: one file that needs no network, and in which nothing of a mail can run.

Each message is shown in a frame of its own with an empty sandbox (no scripts, no forms,
no way to the page around it) and a content policy that loads nothing from anywhere. The
page's own policy names the hash of its one script; frames inherit it.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from importlib.resources import files as resources
from typing import Any, Final

from engine.planning import Plan
from engine.preview import shown
from engine.preview.choose import Sample
from engine.proof import Prover, read

_FRAME: Final = "page.html"


def write(
    plan: Plan,
    prover: Prover,
    sample: Sample,
    findings: Iterable[shown.Finding] = (),
) -> str:
    """Return the page.

    Args:
        plan: the plan.
        prover: of that plan.
        sample: which rows it shows, and why.
        findings: what the rules found.
    """
    wanted = read(plan, list(sample.labels))
    messages = list(shown.Forms(plan, prover).of(wanted))
    for message, labels in zip(messages, sample.labels.values(), strict=True):
        message["labels"] = [label._asdict() for label in labels]
    places = {row: place for place, row in enumerate(sample.labels)}
    facts = {
        "campaign": plan.manifest.campaign,
        "files": shown.files(messages),
        "messages": messages,
        "findings": shown.of_findings(findings),
        "branches": [_branch(branch, places) for branch in sample.proof.branches],
        "looked": sample.looked,
        "whole": sample.looked >= plan.manifest.rows,
    }
    return _page(_title(plan), _told(plan), facts)


def _branch(branch: Any, places: dict[int, int]) -> dict[str, Any]:
    point = branch.point
    example = branch.example
    return {
        "template": point.template,
        "line": point.line or None,
        "told": branch.told,
        "rows": branch.rows,
        "place": None if example is None else places.get(example.row),
    }


def _title(plan: Plan) -> str:
    return f"{plan.manifest.campaign}, preview"


def _told(plan: Plan) -> str:
    rows, mailable = plan.manifest.rows, plan.manifest.mailable
    return (
        f"{plan.campaign.kind} by {plan.provider.title}: {mailable:,} of {rows:,} "
        f"row{'' if rows == 1 else 's'} to be mailed"
    )


def _page(title: str, told: str, facts: dict[str, Any]) -> str:
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _asset(_FRAME)
    for name, value in (
        ("title", html.escape(title)),
        ("campaign", html.escape(str(facts["campaign"]))),
        ("told", html.escape(told)),
        ("digest", digest),
        ("style", style),
        ("script", script),
        # Last: what stands in the facts is not looked at again. A "<" could end the
        # element, or begin a comment that never ends.
        ("facts", json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")),
    ):
        page = page.replace(f"@@{name}@@", value, 1)
    return page


def _asset(name: str) -> str:
    return (resources("engine.preview") / name).read_text(encoding="utf-8")
