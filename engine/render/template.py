"""What a template needs: the files it is made of and the columns it asks for.

Found by reading the template, not by running it, so that a misspelt column is told
before the first message leaves. Three liberties are taken, all on the side of letting
a template pass, for a row that then fails is still told by name:

* a name that a template tests (`is defined`) or gives a default is optional in it;
* a name set anywhere in a tree of templates counts as set in the whole tree;
* where a template chooses another by a variable, every column may be needed.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

#: `x is defined`, `x | default("…")`: the template says itself that x may be missing.
OPTIONAL_TESTS = frozenset({"defined", "undefined"})
OPTIONAL_FILTERS = frozenset({"default", "d"})

Reference = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(slots=True)
class Tree:
    """A template with all that it extends, includes and imports.

    Attributes:
        sources: template name to text, the root first.
        asked: variable name to the places that read it, each a template and a line.
        optional: variable names that may be missing.
        problems: what does not compile or cannot be found, each `file:line: …`.
        dynamic: whether a template is chosen by a variable.
    """

    directory: Path
    sources: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    dynamic: bool = False
    _set: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, env: Environment, directory: Path, root: str) -> "Tree":
        """Read a template and everything below it. Never raises: see `problems`."""
        tree = cls(directory)
        tree._add(env, root)
        for name in tree._set | env.globals.keys():
            tree.asked.pop(name, None)
        return tree

    def missing(self, columns: Iterable[str]) -> Iterator[str]:
        """Name each variable that is no column, with the place that asks for it."""
        known = list(columns)
        for name, places in self.asked.items():
            if name not in known:
                template, line = places[0]
                near = difflib.get_close_matches(name, known, n=1)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                yield (
                    f'{self.directory / template}:{line}: "{name}" is not a column of '
                    f"the list{hint} (columns: {', '.join(known)})"
                )

    def _add(self, env: Environment, name: str) -> None:
        if name in self.sources:
            return
        file = self.directory / name
        try:
            source = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            self.problems.append(f"{file}: is not UTF-8; save it as UTF-8")
            return
        self.sources[name] = source
        try:
            tree = env.parse(source, name, str(file))
            env.compile(source, name, str(file))
        except TemplateSyntaxError as error:
            self.problems.append(f"{file}:{error.lineno}: {error.message}")
            return
        self._note_names(name, tree)
        for kind in Reference.__args__:
            for reference in tree.find_all(kind):
                self._follow(env, file, reference)

    def _note_names(self, name: str, tree: nodes.Template) -> None:
        optional = set(_optional(tree))
        self.optional |= optional
        undeclared = meta.find_undeclared_variables(tree) - optional
        for node in tree.find_all(nodes.Name):
            if node.ctx != "load":
                self._set.add(node.name)
            elif node.name in undeclared:
                self.asked.setdefault(node.name, []).append((name, node.lineno))
        self._set.update(node.name for node in tree.find_all(nodes.Macro))
        self._set.update(node.target for node in tree.find_all(nodes.Import))
        for wanted in tree.find_all(nodes.FromImport):
            self._set.update(n if isinstance(n, str) else n[1] for n in wanted.names)

    def _follow(self, env: Environment, file: Path, node: Reference) -> None:
        names = _named(node.template)
        if names is None:
            self.dynamic = True
            return
        there = [name for name in names if (self.directory / name).is_file()]
        for name in there[:1]:
            self._add(env, name)
        if not there and not getattr(node, "ignore_missing", False):
            self.problems.append(
                f"{file}:{node.lineno}: there is no template "
                f"{' or '.join(f'{n}' for n in names)} in {self.directory}"
            )


def _named(node: nodes.Expr) -> list[str] | None:
    """Return the template names written out in a node; None if it has to be run."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, nodes.List | nodes.Tuple):
        names = [_named(item) for item in node.items]
        return None if None in names else [n for each in names if each for n in each]
    return None


def _optional(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in OPTIONAL_TESTS and isinstance(test.node, nodes.Name):
            yield test.node.name
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in OPTIONAL_FILTERS and isinstance(filtered.node, nodes.Name):
            yield filtered.node.name
