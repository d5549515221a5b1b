"""What a template needs: the files it is made of and the columns it asks for.

Found by reading the template, not by running it, so that a misspelt column is told
before the first message leaves. Three liberties are taken, all on the side of letting
a template pass, for a row that then fails is still told by name. In a tree of templates
a name is optional if somewhere in it

* it is tested (`is defined`) or given a default,
* it is set, as by `{% set first_name = first_name|trim %}`, or
* it is Jinja's own, as `range`: a column of that name comes first, unless the name is
  only ever called.

Where a template chooses another by a variable, every column may be needed, and every
template of the folder.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from engine.render.environment import Sources

#: What templates see beside the columns, and what no column can take the place of.
CAMPAIGN = "campaign"
#: `x is defined`, `x | default("…")`: the template says itself that x may be missing.
OPTIONAL_TESTS = frozenset({"defined", "undefined"})
OPTIONAL_FILTERS = frozenset({"default", "d"})
#: `"nice" is filter`: the template says itself that there may be no such filter.
ASKING_TESTS = frozenset({"filter", "test"})

Reference = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(slots=True)
class Tree:
    """A template with all that it extends, includes and imports.

    Attributes:
        origin: where the templates are.
        names: the templates, the root first.
        asked: variable name to the first place that reads it, a template and a line.
        optional: variable names that may be missing.
        problems: what does not compile or cannot be found, each `file:line: …`.
        dynamic: whether a template is chosen by a variable.
    """

    origin: Sources
    names: list[str] = field(default_factory=list)
    asked: dict[str, tuple[str, int]] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    dynamic: bool = False

    @classmethod
    def read(cls, env: Environment, origin: Sources, root: str) -> "Tree":
        """Read a template and everything below it. Never raises: see `problems`."""
        tree = cls(origin)
        name = origin.find(root)
        if name is None:
            tree.problems.append(
                f"{origin.file(root)}: there is no such template in {origin.directory}"
            )
            return tree
        tree._add(env, name)
        tree.optional.discard(CAMPAIGN)
        for name in tree.optional:
            tree.asked.pop(name, None)
        if tree.dynamic:
            origin.read_all()
        return tree

    def missing(
        self, columns: Iterable[str], elsewhere: Mapping[str, str]
    ) -> Iterator[str]:
        """Name each variable that is no column, with the place that asks for it.

        Args:
            columns: what there is.
            elsewhere: what is to be said of names that are of something else.
        """
        known = list(columns)
        for name, (template, line) in self.asked.items():
            if name not in known and name in elsewhere:
                where = self.origin.where(template, line)
                yield f'{where}: "{name}" {elsewhere[name]}'
            elif name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f'did you mean "{near[0]}"?'
                    if near
                    else f"columns: {', '.join(known)}"
                )
                yield (
                    f'{self.origin.where(template, line)}: "{name}" is not a column '
                    f"of the list; {hint}"
                )

    def _add(self, env: Environment, name: str) -> None:
        if name in self.names:
            return
        self.names.append(name)
        file = self.origin.file(name)
        tree, problem = _parsed(env, self.origin, name)
        if tree is None:
            self.problems.append(problem)
            return
        self.problems += [
            f"{self.origin.where(name, line)}: {what}"
            for line, what in _unknown(env, tree)
        ]
        if all(_is_the_same_for_every_row(node) for node in tree.body):
            self.origin.shareable.add(file)
        self._note_names(env, name, tree)
        for kind in Reference.__args__:
            for reference in tree.find_all(kind):
                self._follow(env, name, reference)

    def _note_names(self, env: Environment, name: str, tree: nodes.Template) -> None:
        self.optional.update(_optional(tree), _set(tree), _global(env, tree))
        undeclared = meta.find_undeclared_variables(tree)
        read = (n for n in tree.find_all(nodes.Name) if n.name in undeclared)
        for node in sorted(read, key=lambda node: node.lineno):
            if node.ctx == "load":
                self.asked.setdefault(node.name, (name, node.lineno))

    def _follow(self, env: Environment, name: str, node: Reference) -> None:
        for choice in _choices(node.template):
            names = _written_out(choice)
            if names is None:
                self.dynamic = True
                continue
            found = next(filter(None, map(self.origin.find, names)), None)
            if found is not None:
                self._add(env, found)
            elif not getattr(node, "ignore_missing", False):
                self.problems.append(
                    f"{self.origin.where(name, node.lineno)}: there is no template "
                    f"{' or '.join(names)} in {self.origin.directory}"
                )


def _parsed(
    env: Environment, origin: Sources, name: str
) -> tuple[nodes.Template | None, str]:
    """Parse and compile a template; else say what keeps it from compiling."""
    file = origin.file(name)
    try:
        source = origin.read(name)
        tree = env.parse(source, name, file)
        env.compile(source, name, file)
    except UnicodeDecodeError:
        return None, f"{file}: is not UTF-8; save it as UTF-8"
    except OSError as error:
        return None, f"{file}: cannot be read: {error.strerror}"
    except TemplateSyntaxError as error:
        return None, f"{origin.where(name, error.lineno)}: {error.message}"
    # What Jinja leaves to Python to refuse: the same argument twice, brackets without
    # end, a number of thousands of digits. It knows no line of the template.
    except (SyntaxError, ValueError, ArithmeticError, RecursionError) as error:
        what = re.sub(r"\bl_\d+_", "", getattr(error, "msg", None) or str(error))
        return None, f"{file}: does not compile: {what}"
    return tree, ""


def _unknown(env: Environment, tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Name filters and tests that there are not, with their lines.

    Jinja looks for those inside an `if` only when a row comes there.
    """
    tests = list(tree.find_all(nodes.Test))
    if any(test.name in ASKING_TESTS for test in tests):
        return
    for test in tests:
        if test.name not in env.tests:
            yield test.lineno, f"No test named {test.name!r}."
    for used in tree.find_all(nodes.Filter):
        if used.name not in env.filters:
            yield used.lineno, f"No filter named {used.name!r}."


def _is_the_same_for_every_row(node: nodes.Node) -> bool:
    """Whether a template with nothing but such nodes can be imported once for all."""
    return isinstance(node, nodes.Macro) or (
        isinstance(node, nodes.Output)
        and all(isinstance(part, nodes.TemplateData) for part in node.nodes)
    )


def _choices(node: nodes.Expr) -> Iterator[nodes.Expr]:
    """Yield both branches of `"a" if … else "b"`, or the node itself."""
    if not isinstance(node, nodes.CondExpr):
        yield node
        return
    for branch in (node.expr1, node.expr2):
        if branch is not None:
            yield from _choices(branch)


def _written_out(node: nodes.Expr) -> list[str] | None:
    """Return the template names written out in a node; None if it has to be run."""
    try:
        value: Any = node.as_const()
    except nodes.Impossible:
        return None
    names = list(value) if isinstance(value, list | tuple) else [value]
    return names if all(isinstance(name, str) for name in names) else None


def _optional(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in OPTIONAL_TESTS and isinstance(test.node, nodes.Name):
            yield test.node.name
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in OPTIONAL_FILTERS and isinstance(filtered.node, nodes.Name):
            yield filtered.node.name


def _global(env: Environment, tree: nodes.Template) -> Iterator[str]:
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    for node in tree.find_all(nodes.Name):
        if node.name in env.globals and id(node) not in called:
            yield node.name


def _set(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all(nodes.Name):
        if node.ctx != "load":
            yield node.name
    for macro in tree.find_all(nodes.Macro):
        yield macro.name
    for imported in tree.find_all(nodes.Import):
        yield imported.target
    for wanted in tree.find_all(nodes.FromImport):
        yield from (n if isinstance(n, str) else n[1] for n in wanted.names)
