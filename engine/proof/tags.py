"""A template's tags as they stand in its text, by what they begin with and their line.

Jinja's tree knows the line of a tag and not its words; its lexer knows both.
"""

import re
from collections import defaultdict

from jinja2 import Environment, nodes

#: Characters of a tag that are shown.
_LONGEST = 100
_SPACE = re.compile(r"\s+")
#: The word by which the tag of an expression is found.
PRINT = "print"

Tags = dict[tuple[str, int], list[str]]


def read(env: Environment, source: str) -> Tags:
    """Return the tags of a template: word and line to their texts, in order.

    `{{ … }}` stands under `PRINT`. The line is that of the first word inside.
    """
    found: Tags = defaultdict(list)
    inside: list[tuple[int, str, str]] = []
    for line, kind, value in env.lex(source):
        if kind in ("block_begin", "variable_begin"):
            inside = []
        elif kind in ("block_end", "variable_end"):
            words = [part for part in inside if part[1] != "whitespace"]
            if not words:
                continue
            text = _SPACE.sub(" ", "".join(part[2] for part in inside)).strip()
            shown = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
            first = words[0]
            if kind == "block_end":
                found[first[2], first[0]].append(f"{{% {shown} %}}")
            else:
                found[PRINT, first[0]].append(f"{{{{ {shown} }}}}")
        else:
            inside.append((line, kind, value))
    return found


def names(node: nodes.Node) -> tuple[str, ...]:
    """Return the variables that a node reads, in order."""
    found = [node] if isinstance(node, nodes.Name) else []
    found += node.find_all(nodes.Name)
    return tuple(dict.fromkeys(name.name for name in found if name.ctx == "load"))


def may_be_empty(node: nodes.Expr) -> bool:
    """Whether an expression that prints nothing has a gap where a value belongs.

    Not so where the template says itself that there may be nothing, as in
    `{{ "" if one else "s" }}` or `|default("")`; and what a macro prints is looked at
    in the macro.
    """
    if not names(node):
        return False
    inside = [node, *node.find_all(nodes.Expr)]
    for part in inside:
        if isinstance(part, nodes.Call) and isinstance(part.node, nodes.Name):
            return False
        if isinstance(part, nodes.Const) and part.value == "":
            return False
    return True
