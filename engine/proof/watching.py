"""Templates compiled so that they tell which way a row takes through them.

How it works: Jinja's code generator is asked to write a line more at the head of each
branch, and an `or` behind each expression that is printed:

    if t_1(voucher):                         yield (escape(name) or blank(7))
        hit(3)
        …

Both only append a number to a list, and what is printed is the same to the byte. So
a row's way is the numbers it has left behind; rows that went the same way, which most
did, are counted together.

A loop that is reached and not entered leaves its own number without that of its body.
"""

# ruff: noqa: N802 - the methods are named by Jinja, after its nodes

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, nodes
from jinja2.compiler import Frame

from engine.proof import tags
from engine.render.counting import Counting
from engine.render.environment import Sources

#: What stands for an empty field while it is looked for: private use, then a number.
MARK, END = "\ue000", "\ue001"


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A place in a template that rows pass, or leave empty.

    Attributes:
        template: its name, or its place in the campaign file.
        line: 0 in the campaign file.
        nth: 0-based; of those alike on that line.
        kind: `if`, `elif`, `else`; `not`: an `if` without an `else`, not taken; `none`:
            likewise, and no `elif` of it; `for`; `empty`: a loop without a turn; `true`
            and `false` of an `if` inside an expression; `slot`: what is printed.
        text: the tag as it stands there.
        names: the variables it reads.
    """

    template: str
    line: int
    nth: int
    kind: str
    text: str
    names: tuple[str, ...]


class Trail:
    """What the rows of a chunk leave behind; attached to the environments."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.lines: dict[tuple[str, int], tuple[str, ...]] = {}
        self.marking = False
        self._numbers: dict[tuple[str, int, int, str], int] = {}
        self._steps: list[int] = []
        self._begun: list[tuple[int, int]] = []
        #: number of a loop that was reached: those of its body and of its emptiness
        self._loops: dict[int, tuple[int, int]] = {}

    def attach(self, env: Environment) -> None:
        """Let an environment compile templates that tell."""
        env.code_generator_class = _Telling
        for name, value in (
            ("proof_trail", self),
            ("proof_hit", self._steps.append),
            ("proof_blank", self._blank),
        ):
            setattr(env, name, value)

    def begin(self, place: int) -> None:
        """Note that a row of the chunk begins."""
        self._begun.append((place, len(self._steps)))

    def _blank(self, number: int) -> str:
        self._steps.append(number)
        return f"{MARK}{number}{END}" if self.marking else ""

    def number(self, point: Point) -> int:
        """Return the number of a point, the same however often it is compiled."""
        key = point.template, point.line, point.nth, point.kind
        if key not in self._numbers:
            self._numbers[key] = len(self.points)
            self.points.append(point)
        return self._numbers[key]

    def loop(self, body: int, empty: int, reached: int) -> None:
        """Say which numbers belong to one loop."""
        self._loops[reached] = body, empty

    def ways(self, rows: int) -> list[tuple[tuple[int, ...], ...]]:
        """Return the way of each row of a chunk, part by part, and begin anew."""
        found: list[list[tuple[int, ...]]] = [[] for _ in range(rows)]
        steps, begun = self._steps, self._begun
        ends = [*(start for _, start in begun[1:]), len(steps)]
        for (place, start), end in zip(begun, ends, strict=True):
            found[place].append(tuple(steps[start:end]))
        steps.clear()
        begun.clear()
        return [tuple(way) for way in found]

    def passed(self, way: tuple[tuple[int, ...], ...]) -> set[int]:
        """Return the numbers of the points that a way passes."""
        found: set[int] = set()
        for steps in way:
            waiting: dict[int, int] = {}
            for step in steps:
                if step in self._loops:
                    body, empty = self._loops[step]
                    if body in waiting:
                        found.add(empty)
                    waiting[body] = empty
                else:
                    waiting.pop(step, None)
                    found.add(step)
            found.update(waiting.values())
        return found


class _Telling(Counting):
    """The code generator of templates, and a line more at each branch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trail: Trail = self.environment.proof_trail  # type: ignore[attr-defined]
        self._tags: tags.Tags = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._heads: dict[int, int] = {}
        self._label = ""
        self._inline = False

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        origin = self.environment.loader
        if self.name is not None and isinstance(origin, Sources):
            self._tags = tags.read(self.environment, origin.read(self.name))
            file = origin.file(self.name)
            self._label, self._inline = origin.labels[file]
            for statement in node.find_all(nodes.Name):
                if statement.ctx == "load":
                    place = self._label, 0 if self._inline else statement.lineno
                    known = self._trail.lines.get(place, ())
                    if statement.name not in known:
                        self._trail.lines[place] = (*known, statement.name)
        super().visit_Template(node, frame)

    def visit_If(self, node: nodes.If, frame: Frame) -> None:
        nth, text = self._tag("if", node.lineno)
        read = tags.names(node.test)
        taken = self._point(node.lineno, nth, "if", text, read)
        self._heads[id(node.body)] = taken
        for branch in node.elif_:
            number, told = self._tag("elif", branch.lineno)
            self._heads[id(branch.body)] = self._point(
                branch.lineno, number, "elif", told, tags.names(branch.test)
            )
        kind = "else" if node.else_ else "none" if node.elif_ else "not"
        other = self._point(node.lineno, nth, kind, text, read)
        if node.else_:
            self._heads[id(node.else_)] = other
        super().visit_If(node, frame)
        if not node.else_:
            self.writeline("else:")
            self.indent()
            self._hit(other)
            self.outdent()

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        nth, text = self._tag("for", node.lineno)
        read = tags.names(node.iter)
        body, empty, reached = (
            self._point(node.lineno, nth, kind, text, read)
            for kind in ("for", "empty", "reached")
        )
        self._trail.loop(body, empty, reached)
        self._heads[id(node.body)] = body
        self._hit(reached)
        super().visit_For(node, frame)

    def visit_CondExpr(self, node: nodes.CondExpr, frame: Frame) -> None:
        if node.expr2 is None or isinstance(node.test, nodes.Const):
            super().visit_CondExpr(node, frame)
            return
        frame = frame.soft()
        nth = self._count("true", node.lineno)
        text = self._expression(node.lineno)
        true, false = (
            self._point(node.lineno, nth, kind, text, tags.names(node.test))
            for kind in ("true", "false")
        )
        self.write(f"((environment.proof_hit({true}) or ")
        self.visit(node.expr1, frame)
        self.write(") if ")
        self.visit(node.test, frame)
        self.write(f" else (environment.proof_hit({false}) or ")
        self.visit(node.expr2, frame)
        self.write("))")

    def blockvisit(self, nodes: Any, frame: Frame) -> None:
        number = self._heads.pop(id(nodes), None)
        if number is not None:
            self._hit(number)
        super().blockvisit(nodes, frame)

    def _output_child_pre(self, node: Any, frame: Frame, finalize: Any) -> None:
        if tags.may_be_empty(node):
            self.write("(")
        super()._output_child_pre(node, frame, finalize)

    def _output_child_post(self, node: Any, frame: Frame, finalize: Any) -> None:
        super()._output_child_post(node, frame, finalize)
        if tags.may_be_empty(node):
            nth = self._count("slot", node.lineno)
            text = self._expression(node.lineno)
            number = self._point(node.lineno, nth, "slot", text, tags.names(node))
            self.write(f" or environment.proof_blank({number}))")

    def _hit(self, number: int) -> None:
        self.writeline(f"environment.proof_hit({number})")

    def _count(self, kind: str, line: int) -> int:
        nth = self._seen.get((kind, line), 0)
        self._seen[kind, line] = nth + 1
        return nth

    def _tag(self, word: str, line: int) -> tuple[int, str]:
        """Return which tag of that word on its line it is, and its text."""
        nth = self._count(word, line)
        there = self._tags.get((word, line), [])
        return nth, there[nth] if nth < len(there) else f"{{% {word} … %}}"

    def _expression(self, line: int) -> str:
        """Return the expression of a line; empty if there are several."""
        there = self._tags.get((tags.PRINT, line), [])
        return there[0] if len(there) == 1 else ""

    def _point(
        self, line: int, nth: int, kind: str, text: str, names: tuple[str, ...]
    ) -> int:
        shown = 0 if self._inline else line
        return self._trail.number(Point(self._label, shown, nth, kind, text, names))
