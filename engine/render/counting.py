"""Templates compiled so that they count what they do.

How it works: Jinja's code generator is asked for a line more at the head of each loop,
and before what pulls in another template:

    for l_1_x in t_1(many):
        environment.step()
        …

What is joined by `~` is looked at before, as what is printed is; and it is weighed, as
lists are: one may hold another twice, that one a third twice, and so on. All else that
makes much of little is a filter, an operator or a call, as of a macro: those need no
compiler, see `engine.render.environment`.
"""

# ruff: noqa: N802 - the methods are named by Jinja, after its nodes

from collections.abc import Iterable
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame


class Counting(CodeGenerator):
    """Jinja's code generator, and a count more here and there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counted: set[int] = set()
        self._wrapped: dict[int, str] = {}

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Write a node, with what was asked for around it."""
        around = self._wrapped.get(id(node))
        if around is None:
            return super().visit(node, *args, **kwargs)
        self.write(around)
        super().visit(node, *args, **kwargs)
        return self.write(")")

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """Write a block, with a count at its head where one was asked for."""
        if id(nodes) in self._counted:
            self._step()
        super().blockvisit(nodes, frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        """Count the turns of a loop, those too that its condition leaves out."""
        self._counted.add(id(node.body))
        if node.test is not None:
            self._wrapped[id(node.test)] = "(environment.step() or "
        super().visit_For(node, frame)

    def visit_Include(self, node: nodes.Include, frame: Frame) -> None:
        """Count what is pulled in."""
        self._step()
        super().visit_Include(node, frame)

    def visit_Import(self, node: nodes.Import, frame: Frame) -> None:
        """Count what is pulled in."""
        self._step()
        super().visit_Import(node, frame)

    def visit_FromImport(self, node: nodes.FromImport, frame: Frame) -> None:
        """Count what is pulled in."""
        self._step()
        super().visit_FromImport(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        """Weigh what `~` joins, and see that it can be printed."""
        for part in node.nodes:
            if not isinstance(part, nodes.Const):
                self._wrapped[id(part)] = "environment.joined("
        super().visit_Concat(node, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        """Weigh a slice: a copy of what it is a slice of."""
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.weighed(")
        super().visit_Getitem(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        """Check a list for what it holds."""
        self.write("environment.checked(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        """Check a mapping for what it holds."""
        self.write("environment.checked(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        """Check a tuple for what it holds, unless it is one of names to be set."""
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
            return
        self.write("environment.checked(")
        super().visit_Tuple(node, frame)
        self.write(")")

    def _step(self) -> None:
        self.writeline("environment.step()")
