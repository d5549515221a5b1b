"""What templates say, before any row fills them.

How it works: a template is cut into what is sent as it stands and what is filled in.
Each place to fill becomes a mark that no text holds, and the whole is read as HTML: so
it is known where each value goes. Blocks are taken out, so both sides of an `if` are
read one after the other, which is good enough to tell an attribute from a text.

Limits: an attribute that an `if` opens and another closes is not understood, and a
value that a macro gets from a variable is taken to be harmless only if all its calls
in these templates give it a text that begins harmlessly.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension

from engine.lint.rule import Finding
from engine.lint.url import is_harmless_start

#: Names that we fill ourselves, with what is safe.
OURS: Final = frozenset({"campaign", "unsubscribe_url"})
#: Attributes that hold an address, and those whose whole value is code.
_LINKS: Final = frozenset({"action", "background", "formaction", "href", "src"})
_HANDLER: Final = re.compile(r"on[a-z]+")
#: Filters after which a text begins as it did.
_KEEPING: Final = frozenset(
    {"default", "d", "e", "escape", "lower", "string", "title", "trim", "upper"}
)
#: After these no scheme can stand at the beginning: a colon is escaped.
_ESCAPING: Final = frozenset({"urlencode"})
_MARK: Final = re.compile("\ue000([0-9]+)\ue001")
_CODE: Final = frozenset({"script", "style"})
#: Secrets of the services that people have: a known beginning, and chance after it.
_SECRET: Final = re.compile(
    r"\b(?:SG\.[\w-]{16,}\.[\w-]{16,}|(?:sk|pk|rk|re|key|api|xkeysib|xsmtpsib|ghp|gho)"
    r"[-_](?:live[-_]|test[-_])?(?=[\w-]*\d)[A-Za-z0-9]{20,}|AKIA[0-9A-Z]{16}"
    r"|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|(?i:bearer)\s+[\w.~+/-]{20,}=*)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a template."""

    template: str
    line: int

    def __str__(self) -> str:
        """Return it as editors take it."""
        return f"{self.template}:{self.line}"


@dataclass(slots=True)
class Sourced:
    """What the templates say.

    Attributes:
        findings: of L33 and L40.
        printed: names that are read and never asked after.
        addresses: columns that a link begins with, and where: each row's value must be
            an address of the web.
    """

    findings: list[Finding] = field(default_factory=list)
    printed: set[str] = field(default_factory=set)
    addresses: dict[str, Place] = field(default_factory=dict)


def look(
    sources: Mapping[str, str],
    *htmls: str,
    extensions: Iterable[type[Extension]] = (),
) -> Sourced:
    """Look at templates.

    Args:
        sources: the texts by their names.
        htmls: those that the HTML part of a message is made with.
        extensions: what else the templates may use.
    """
    env = Environment(extensions=list(extensions), autoescape=True)
    trees = {name: tree for name in sources if (tree := _tree(env, sources[name]))}
    found = Sourced()
    for tree in trees.values():
        found.printed.update(_read(tree))
    for tree in trees.values():
        found.printed.difference_update(_guarded(tree))
    several = (name for html in htmls for name in _reachable(trees, html))
    escaped = list(dict.fromkeys(several))
    beginnings = _Beginnings([trees[name] for name in escaped])
    for name in escaped:
        found.findings += _unescaped(name, trees[name])
        found.findings += _misplaced(env, name, sources[name], beginnings, found)
    for name, text in sources.items():
        found.findings += secrets(name, text)
    return found


def names_of(sources: Mapping[str, str], root: str) -> set[str]:
    """Return the names that a template and all it is made of read."""
    env = Environment(autoescape=True)
    trees = {name: tree for name in sources if (tree := _tree(env, sources[name]))}
    return {
        name for template in _reachable(trees, root) for name in _read(trees[template])
    }


def _read(tree: nodes.Template) -> Iterator[str]:
    """Yield the names that a template reads."""
    yield from (n.name for n in tree.find_all(nodes.Name) if n.ctx == "load")


def secrets(place: str, text: str) -> Iterator[Finding]:
    """Find what looks like a secret in a text; it is not shown."""
    for match in _SECRET.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Finding.of("L40", f"{place}:{line}: what looks like a secret")


def _tree(env: Environment, source: str) -> nodes.Template | None:
    try:
        return env.parse(source)
    except TemplateSyntaxError:  # of a text that a row may choose and never does
        return None


def _reachable(trees: Mapping[str, nodes.Template], root: str) -> list[str]:
    """Return a template and those that it is made of, by name."""
    found, wanted = [], [root]
    while wanted:
        name = wanted.pop()
        if name in found or name not in trees:
            continue
        found.append(name)
        for template in _references(trees[name]):
            texts = [c.value for c in template.find_all(nodes.Const)]
            if isinstance(template, nodes.Const):
                texts.append(template.value)
            wanted += [text for text in texts if isinstance(text, str)]
    return found


def _references(tree: nodes.Template) -> Iterator[nodes.Expr]:
    yield from (node.template for node in tree.find_all(nodes.Extends))
    yield from (node.template for node in tree.find_all(nodes.Include))
    yield from (node.template for node in tree.find_all(nodes.Import))
    yield from (node.template for node in tree.find_all(nodes.FromImport))


def _guarded(tree: nodes.Template) -> Iterator[str]:
    """Yield the names that a template asks after, or goes through."""
    asked: list[nodes.Node] = [node.test for node in tree.find_all(nodes.If)]
    asked += [node.test for node in tree.find_all(nodes.CondExpr)]
    asked += [node.iter for node in tree.find_all(nodes.For)]
    asked += [
        node.node
        for node in tree.find_all(nodes.Filter)
        if node.name in {"default", "d"} and node.node is not None
    ]
    asked += list(tree.find_all((nodes.Or, nodes.And)))
    for node in asked:
        if isinstance(node, nodes.Name):
            yield node.name
        yield from (name.name for name in node.find_all(nodes.Name))


def _unescaped(name: str, tree: nodes.Template) -> Iterator[Finding]:
    """Find where escaping is switched off."""
    for node in tree.find_all(nodes.Filter):
        if node.name == "safe" and not isinstance(node.node, nodes.Const):
            yield _finding(name, node.lineno, "|safe switches escaping off")
    for block in tree.find_all(nodes.EvalContextModifier):
        for option in block.options:
            is_off = isinstance(option.value, nodes.Const) and not option.value.value
            if option.key == "autoescape" and is_off:
                yield _finding(name, block.lineno, "escaping is switched off")


def _misplaced(
    env: Environment,
    name: str,
    source: str,
    beginnings: "_Beginnings",
    found: Sourced,
) -> Iterator[Finding]:
    """Find values where escaping does not protect."""
    page, values = _marked(env, source)
    reader = _Reader()
    reader.feed(page)
    reader.close()
    for number, what in reader.bad:
        yield _finding(name, values[number][0], what)
    for number in reader.beginnings:
        line, expression = values[number]
        parsed = _expression(env, expression)
        if parsed is None:
            continue
        for column in beginnings.of(parsed):
            if column is None:
                told = f"a link begins with {{{{ {expression.strip()} }}}}"
                yield _finding(name, line, told)
            else:
                found.addresses.setdefault(column, Place(name, line))


def _finding(name: str, line: int, what: str) -> Finding:
    return Finding.of("L33", f"{Place(name, line)}: {what}")


def _marked(env: Environment, source: str) -> tuple[str, list[tuple[int, str]]]:
    """Return a template with a mark for each value, and the values with their lines."""
    page: list[str] = []
    values: list[tuple[int, str]] = []
    inside: list[str] | None = None
    for line, token, text in env.lex(source):
        match token:
            case "data" | "raw_data":
                page.append(text)
            case "variable_begin":
                inside = []
            case "variable_end":
                page.append(f"\ue000{len(values)}\ue001")
                values.append((line, "".join(inside or [])))
                inside = None
            case _ if inside is not None:
                inside.append(text)
    return "".join(page), values


def _expression(env: Environment, text: str) -> nodes.Expr | None:
    try:
        body = env.parse(f"{{{{ {text} }}}}").body
    except TemplateSyntaxError:
        return None
    output = body[0] if body else None
    return output.nodes[0] if isinstance(output, nodes.Output) else None


class _Reader(HTMLParser):
    """Reads a marked template.

    Attributes:
        bad: marks where nothing protects, and what is wrong there.
        beginnings: marks that a link begins with.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.bad: list[tuple[int, str]] = []
        self.beginnings: list[int] = []
        self._code = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _CODE:
            self._code = tag
        raw = self.get_starttag_text() or ""
        bare = {int(m[1]) for m in _MARK.finditer(_without_quoted(raw))}
        self.bad += [
            (number, "a value stands outside of quotation marks, in a tag")
            for number in sorted(bare)
        ]
        for name, value in attrs:
            marks = [int(m[1]) for m in _MARK.finditer(value or "")]
            marks = [number for number in marks if number not in bare]
            if _HANDLER.fullmatch(name):
                self.bad += [(number, f"a value in {name}=") for number in marks]
            elif name in _LINKS and marks and (value or "").startswith("\ue000"):
                self.beginnings.append(marks[0])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._code = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == self._code:
            self._code = ""

    def handle_data(self, data: str) -> None:
        if self._code:
            self.bad += [
                (int(m[1]), f"a value in <{self._code}>") for m in _MARK.finditer(data)
            ]


def _without_quoted(tag: str) -> str:
    """Return a tag without the values that stand between quotation marks."""
    return re.sub(r"=\s*(?:\"[^\"]*\"|'[^']*')", "=", tag)


class _Beginnings:
    """Tells what a value begins with, over the templates of a part."""

    def __init__(self, trees: list[nodes.Template]) -> None:
        #: What a name that is no column stands for; None: nobody knows.
        self._stands_for: dict[str, list[nodes.Node | None]] = {}
        calls = [call for tree in trees for call in tree.find_all(nodes.Call)]
        aliases = dict(_aliases(trees))
        for tree in trees:
            for node in tree.find_all(nodes.Assign):
                self._note(node.target, node.node)
            for loop in tree.find_all(nodes.For):
                self._note(loop.target, None)
            for macro in tree.find_all(nodes.Macro):
                self._note_macro(macro, calls, aliases)

    def _note(self, target: nodes.Node, value: nodes.Node | None) -> None:
        if isinstance(target, nodes.Name):
            self._stands_for.setdefault(target.name, []).append(value)
            return
        for name in target.find_all(nodes.Name):
            self._stands_for.setdefault(name.name, []).append(None)

    def _note_macro(
        self, macro: nodes.Macro, calls: list[nodes.Call], aliases: Mapping[str, str]
    ) -> None:
        """Note what the parameters of a macro are, in all its calls."""
        given = [call for call in calls if _called(call, aliases) == macro.name]
        defaults = dict(
            zip([a.name for a in macro.args][::-1], macro.defaults[::-1], strict=False)
        )
        for place, parameter in enumerate(macro.args):
            name = parameter.name
            known = self._stands_for.setdefault(name, [])
            if name in defaults:
                known.append(defaults[name])
            for call in given:
                named = {keyword.key: keyword.value for keyword in call.kwargs}
                if place < len(call.args):
                    known.append(call.args[place])
                elif name in named:
                    known.append(named[name])
                elif call.dyn_args or call.dyn_kwargs:
                    known.append(None)

    def of(
        self, node: nodes.Node | None, within: frozenset[str] = frozenset()
    ) -> Iterator[str | None]:
        """Yield the columns that a value may begin with; None: nobody knows."""
        if isinstance(node, nodes.Name):
            yield from self._named(node.name, within)
            return
        inner = _beginning(node)
        if inner is None:
            yield None
            return
        for part in inner:
            yield from self.of(part, within)

    def _named(self, name: str, within: frozenset[str]) -> Iterator[str | None]:
        if name in OURS:
            return
        if name not in self._stands_for or name in within:
            yield name
            return
        for value in self._stands_for[name]:
            if value is None:
                yield None
            else:
                yield from self.of(value, within | {name})


def _beginning(node: nodes.Node | None) -> list[nodes.Expr] | None:
    """Return what an expression may begin with; None: nobody knows."""
    found: list[nodes.Expr] | None = None
    match node:
        case nodes.Const(value=str(text)) if not text or is_harmless_start(text):
            found = []
        case nodes.Getattr(node=nodes.Name(name=name)) if name in OURS:
            found = []
        case nodes.Filter(name=name) if name in _ESCAPING:
            found = []
        case nodes.Filter(name=name, node=nodes.Expr() as inner, args=args) if (
            name in _KEEPING
        ):
            found = [inner, *(args[:1] if name in {"default", "d"} else [])]
        case nodes.Concat(nodes=[first, *_]) | nodes.Add(left=first):
            found = [first]
        case nodes.CondExpr(expr1=one, expr2=other):
            found = [one, *([] if other is None else [other])]
        case nodes.Or(left=one, right=other) | nodes.And(left=one, right=other):
            found = [one, other]
        case nodes.Call(node=nodes.Getattr(node=inner, attr=("strip" | "lower"))):
            found = [inner]
    return found


def _aliases(trees: list[nodes.Template]) -> Iterator[tuple[str, str]]:
    """Yield the names under which macros are imported, with their own."""
    for tree in trees:
        for node in tree.find_all(nodes.FromImport):
            for name in node.names:
                if not isinstance(name, str):
                    yield name[1], name[0]


def _called(call: nodes.Call, aliases: Mapping[str, str]) -> str:
    match call.node:
        case nodes.Name(name=name):
            return aliases.get(name, name)
        case nodes.Getattr(attr=name):
            return str(name)
        case _:
            return ""
