"""The plot: CPU per message of every sender at every job, as SVG written by hand.

Bars on a logarithmic scale, for the ceiling and the slowest are a thousandfold apart.
Ours is in colour; the ceiling is a line across the bars that it limits.
"""

import math
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.job import NAMES
from benchmarks.table import number

JOBS = {
    "batches": "batches of 1000",
    "hundreds": "batches of 100",
    "single": "one per request",
    "tls": "one per request, TLS",
    "raw": "one per request, raw MIME",
}
COLOURS = {
    "ours": "#1f5f8b",
    "obvious": "#9aa5ad",
    "aiohttp": "#b3a48a",
    "anymail": "#8d9b84",
    "mailmerge": "#a78d95",
}
WIDTH, LEFT, RIGHT = 860, 190, 90
BAR, GAP, GROUP_GAP, TOP, BOTTOM = 17, 4, 30, 64, 44
REMARK = (
    "user and system time of the whole process; logarithmic; the dark line is the "
    "ceiling: posting what was made beforehand"
)
LEAST, MOST = 1.0, 10_000.0
STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;"
    "fill:#22303c}.title{font-size:17px;font-weight:600}.small{font-size:12px;"
    "fill:#5b6770}.job{font-weight:600}.ours{font-weight:600}"
)


def build_plot(results: Mapping[str, Any]) -> str:
    """Draw the jobs that were measured."""
    parts: list[str] = []
    y = TOP
    for name, title in JOBS.items():
        if name not in results["jobs"]:
            continue
        figures = results["jobs"][name]["figures"]
        drawn, y = _group(title, figures, y)
        parts += drawn
    height = y - GROUP_GAP + BOTTOM
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    )
    title = _text("CPU per message, µs (less is better)", 16, 28, kind="title")
    remark = _text(REMARK, 16, 47, kind="small")
    return "\n".join([head, title, remark, *_axis(height), *parts, "</svg>", ""])


def _group(
    title: str, figures: Mapping[str, Mapping[str, float]], y: int
) -> tuple[list[str], int]:
    """Draw one job, from `y` down. Returns its parts, and where the next begins."""
    y += 18
    parts = [_text(title, 16, y, kind="job")]
    y += 8
    top = y
    for sender, colour in COLOURS.items():
        if sender not in figures:
            continue
        cpu, middle = figures[sender]["cpu"], y + BAR - 4
        x, kind = _x(cpu), "ours" if sender == "ours" else ""
        parts += [
            _text(NAMES[sender], LEFT - 10, middle, kind=kind, anchor="end"),
            _bar(LEFT, y, x - LEFT, colour),
            _text(number(cpu), x + 6, middle, kind=kind),
        ]
        y += BAR + GAP
    if "ceiling" in figures:
        x = _x(figures["ceiling"]["cpu"])
        parts.append(_line(x, top - 3, y - 1, "#22303c", 2.5))
    return parts, y + GROUP_GAP - 18


def _axis(height: int) -> list[str]:
    parts = []
    for power in range(round(math.log10(LEAST)), round(math.log10(MOST)) + 1):
        x = _x(10.0**power)
        figure = number(10.0**power)
        parts += [
            _line(x, TOP, height - 28, "#e3e7ea", 1),
            _text(figure, x, height - 12, kind="small", anchor="middle"),
        ]
    return parts


def _text(text: str, x: float, y: float, *, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )


def _bar(x: float, y: float, width: float, colour: str) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" '
        f'fill="{colour}"/>'
    )


def _line(x: float, top: float, bottom: float, colour: str, width: float) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


def _x(value: float) -> float:
    """Return where a value stands on the scale."""
    share = math.log10(max(value, LEAST) / LEAST) / math.log10(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)
