"""A template as static text with slots, filled a whole column at a time.

Most of a mail is the same for everybody, and most of what is not depends on a column
or two with few values: a greeting, a city, a block for members. Such a template is cut
at its top into static text and *slots*; a slot is a piece of Jinja compiled alone, and
what it makes of some values is remembered, in the form that JSON takes: see
`engine.texts`. A message is then a dozen look-ups, and joined but once, with all else
that its request has. The texts are those of `Template.render` (`tests/test_render.py`
holds it).

What cannot be cut without a doubt is not cut, and says why: `Uncut`. A piece may see
what stands before it only where that is a macro or an import of nothing but macros: any
other definition may be used by what follows, or change as it is used. Where a slot
fails, the row is left to the whole template, which tells the line.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import polars as pl
from jinja2 import Environment, meta, nodes
from markupsafe import escape

from engine.render.environment import Sources
from engine.render.filler import Filler
from engine.texts import Piece, Texts, inside, insides

#: Bytes that a slot of a template may remember; then it begins anew.
REMEMBERED = 8 << 20
#: Types of columns whose equal values always print alike: 1.0 and -0.0 and 1.00 do not.
_ALIKE = (pl.String, pl.Boolean, pl.Date, pl.Null, pl.Categorical, pl.Enum)
#: What changes the meaning of what follows, in the scope in which it stands.
_DEFINITIONS = (
    nodes.Assign,
    nodes.AssignBlock,
    nodes.FromImport,
    nodes.Import,
    nodes.Macro,
)
#: Names of what a block knows of its parents.
_FAMILY = frozenset({"self", "super"})

Column = Sequence[Any]
Names = tuple[str, ...]
Escape = Callable[[str], str]
#: Given what is known of values, returns that of each row; KeyError: one is not known.
Picker = Callable[[Mapping[Any, bytes]], tuple[bytes, ...]]


class Data:
    """What templates see of many rows: columns, each a list when asked for.

    Attributes:
        height: rows.
        schema: the types of the columns.
        frame: the columns.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame
        self.height = frame.height
        self.schema = frame.schema
        self._values: dict[Names, Column] = {}
        self._printed: dict[tuple[str, Escape | None], list[bytes]] = {}
        self._pickers: dict[Names, Picker] = {}

    def values(self, names: Names) -> Column:
        """Return the values of a column, or of several as tuples."""
        if names not in self._values:
            if len(names) == 1:
                self._values[names] = self.frame[names[0]].to_list()
            else:
                columns = (self.values((name,)) for name in names)
                self._values[names] = list(zip(*columns, strict=True))
        return self._values[names]

    def printed(self, name: str, escape: Escape | None) -> list[bytes]:
        """Return a column of texts as they are printed: nothing for an empty cell."""
        asked = name, escape
        if asked not in self._printed:
            texts = [value or "" for value in self.values((name,))]
            self._printed[asked] = insides(texts, escape)
        return self._printed[asked]

    def picker(self, names: Names) -> Picker:
        """Return what looks up the values of each row: half the time of a loop."""
        if names not in self._pickers:
            values = self.values(names)
            # Of one value alone it would give no tuple.
            self._pickers[names] = (
                itemgetter(*values)
                if len(values) > 1
                else lambda known: tuple(known[value] for value in values)
            )
        return self._pickers[names]


class Uncut(Exception):
    """A template cannot be cut into slots: says why."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A node, and what it may see of the definitions before it."""

    node: nodes.Node
    seen: tuple[nodes.Node, ...]


class Slots:
    """A template, cut.

    Args:
        env: the environment, in which the template compiles.
        origin: the templates.
        name: the template's.

    Raises:
        Uncut: it cannot be cut; with the reason, a sentence for people.
    """

    def __init__(self, env: Environment, origin: Sources, name: str) -> None:
        cutter = _Cutter(env, origin)
        self._parts: list[bytes | _Slot] = [b""]
        for piece in cutter.pieces(name):
            self._add(env, origin.file(name), piece)

    def _add(self, env: Environment, file: str, piece: _Piece) -> None:
        last = self._parts[-1]
        if not isinstance(piece.node, nodes.TemplateData):
            self._parts.append(_Slot(env, file, piece))
        elif isinstance(last, bytes):
            self._parts[-1] = last + inside(piece.node.data)
        else:
            self._parts.append(inside(piece.node.data))

    def fill(self, data: "Data") -> Texts | list[str | None]:
        """Render every row.

        Args:
            data: what templates see.

        Returns:
            The text of each row; None where the whole template has to be asked.
        """
        failed: set[int] = set()
        pieces = [
            part.fill(data, failed) if isinstance(part, _Slot) else part
            for part in self._parts
        ]
        texts = Texts(data.height, pieces)
        if not failed:
            return texts
        return [None if at in failed else text for at, text in enumerate(texts)]


class _Slot:
    """A piece of a template that is filled with a column, or some."""

    def __init__(self, env: Environment, file: str, piece: _Piece) -> None:
        body = [*piece.seen, _standing_alone(piece.node)]
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(env)
        self._names = sorted(meta.find_undeclared_variables(tree))
        code = env.compile(tree, filename=file)
        made = env.template_class.from_code(env, code, env.make_globals(None))
        self._filler = Filler(made)
        self._is_name = isinstance(piece.node, nodes.Name) and not piece.seen
        self._escape = escape if env.autoescape else None
        self._known: dict[Any, bytes] = {}
        self._failing: set[Any] = set()
        self._size = 0

    def fill(self, data: "Data", failed: set[int]) -> Piece:
        """Return what the slot holds in each row; add to `failed` where it fails."""
        names = tuple(name for name in self._names if name in data.schema)
        if not names:
            return self._shared(data.height, failed)
        kinds = [data.schema[name] for name in names]
        if self._is_name and kinds == [pl.String]:
            return data.printed(names[0], self._escape)
        if all(kind in _ALIKE or kind.is_integer() for kind in kinds):
            return self._looked_up(names, data, failed)
        made = [self._made(self._row(names, v)) for v in data.values(names)]
        failed.update(at for at, piece in enumerate(made) if piece is None)
        return [piece or b"" for piece in made]

    def _shared(self, height: int, failed: set[int]) -> bytes:
        """Fill the slot once for all rows: it asks for no column."""
        made = self._made({})
        if made is None:
            failed.update(range(height))
        return made or b""

    def _looked_up(
        self, names: Names, data: "Data", failed: set[int]
    ) -> tuple[bytes, ...]:
        known, failing = self._known, self._failing
        pick = data.picker(names)
        try:
            found = pick(known)
        except KeyError:  # some are new
            self._learn(names, set(data.values(names)).difference(known))
            found = pick(known)
        if failing:
            values = enumerate(data.values(names))
            failed.update(at for at, value in values if value in failing)
        if self._size > REMEMBERED:
            known.clear()
            failing.clear()
            self._size = 0
        return found

    def _learn(self, names: Names, values: Iterable[Any]) -> None:
        for value in values:
            made = self._made(self._row(names, value))
            if made is None:
                self._failing.add(value)
            self._known[value] = made or b""
            self._size += len(self._known[value]) + 100

    @staticmethod
    def _row(names: Names, value: Any) -> Mapping[str, Any]:
        if len(names) == 1:
            return {names[0]: value}
        return dict(zip(names, value, strict=True))

    def _made(self, values: Mapping[str, Any]) -> bytes | None:
        """Fill the slot for one row; None where it fails.

        Half a surrogate pair is a failure, too: it can be neither JSON nor mail.
        """
        try:
            return inside(self._filler.fill(values))
        except Exception:  # noqa: BLE001 - a template can raise anything
            return None


def _standing_alone(node: nodes.Node) -> nodes.Node:
    """Return an expression as a statement that prints it."""
    if isinstance(node, nodes.Expr):
        return nodes.Output([node], lineno=node.lineno)
    return node


class _Cutter:
    """Cuts a template, and those that it extends and includes."""

    def __init__(self, env: Environment, origin: Sources) -> None:
        self._env = env
        self._origin = origin
        self._family: set[str] = set()
        #: Templates that the present place stands in.
        self._around: list[str] = []
        self._blocks: dict[str, tuple[nodes.Block, tuple[nodes.Node, ...]]] = {}

    def pieces(self, name: str) -> list[_Piece]:
        """Return the pieces of a template in their order."""
        pieces = list(self._pieces(name))
        defined = self._family | _names_of(n for piece in pieces for n in piece.seen)
        for piece in pieces:
            known = _names_of(piece.seen)
            used = {n.name for n in _and_below(piece.node) if isinstance(n, nodes.Name)}
            if used & (defined - known):
                raise Uncut("a part may use what another one defines")
        return pieces

    def _pieces(self, name: str) -> Iterator[_Piece]:
        if name in self._around:
            raise Uncut("it extends itself")
        self._around.append(name)
        tree = self._parsed(name)
        parent = self._parent(tree)
        seen = self._seen(tree, parent)
        for block in tree.find_all(nodes.Block):
            self._blocks.setdefault(block.name, (block, seen))
        if parent is None:
            yield from self._cut(tree.body, ())
        else:
            yield from self._pieces(parent)

    def _parsed(self, name: str) -> nodes.Template:
        tree = self._env.parse(self._origin.read(name), name, self._origin.file(name))
        for used in tree.find_all(nodes.Name):
            if used.name in _FAMILY:
                raise Uncut(f"{name}:{used.lineno} asks for {used.name}")
        for node in tree.find_all((nodes.NSRef, nodes.EvalContextModifier)):
            raise Uncut(f"{name}:{node.lineno} changes something for what follows")
        return tree

    def _parent(self, tree: nodes.Template) -> str | None:
        extends = list(tree.find_all(nodes.Extends))
        if not extends:
            return None
        first = next(node for node in tree.body if not _is_blank(node))
        if first is not extends[0] or len(extends) > 1:
            raise Uncut("it extends another after something else")
        return self._named(extends[0].template)

    def _named(self, node: nodes.Expr) -> str:
        """Return the name of a template that is written out."""
        if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
            raise Uncut(f"line {node.lineno} chooses a template by a variable")
        found = self._origin.find(node.value)
        if found is None:
            raise Uncut(f"line {node.lineno} may miss a template")
        return found

    def _seen(self, tree: nodes.Template, parent: str | None) -> tuple[nodes.Node, ...]:
        """Return what the blocks of a template see of its top."""
        if parent is None:
            for node in tree.body:
                if isinstance(node, _DEFINITIONS) and any(tree.find_all(nodes.Block)):
                    raise Uncut("its blocks may use what stands at its top")
            return ()
        kinds = (nodes.Block, nodes.Extends, nodes.Output)
        seen = [self._defined(n) for n in tree.body if not isinstance(n, kinds)]
        self._family |= _names_of(seen)
        return tuple(seen)

    def _defined(self, node: nodes.Node) -> nodes.Node:
        """Return a definition that each piece may have for itself."""
        if isinstance(node, nodes.Macro):
            return node
        if isinstance(node, nodes.FromImport | nodes.Import) and not node.with_context:
            file = self._origin.file(self._named(node.template))
            if file in self._origin.shareable:
                return node
        kind = type(node).__name__.lower()
        raise Uncut(f"line {node.lineno} has a {kind} that others may depend on")

    def _cut(
        self, body: list[nodes.Node], seen: tuple[nodes.Node, ...]
    ) -> Iterator[_Piece]:
        for node in body:
            if isinstance(node, nodes.Output):
                yield from (_Piece(part, seen) for part in node.nodes)
            elif isinstance(node, nodes.Block):
                block, family = self._blocks[node.name]
                if block.required or node.required:
                    raise Uncut(f"the block {node.name} is required")
                yield from self._cut(block.body, family)
            elif isinstance(node, nodes.Include):
                yield from self._included(node, seen)
            elif isinstance(node, _DEFINITIONS):
                seen = (*seen, self._defined(node))
            else:
                yield self._whole(node, seen)

    def _included(
        self, node: nodes.Include, seen: tuple[nodes.Node, ...]
    ) -> Iterator[_Piece]:
        if seen or node.ignore_missing or not node.with_context:
            raise Uncut(f"line {node.lineno} includes what may see other things")
        name = self._named(node.template)
        if name in self._around:
            raise Uncut(f"line {node.lineno} includes what it stands in")
        tree = self._parsed(name)
        if any(tree.find_all((nodes.Extends, nodes.Block))):
            raise Uncut(f"line {node.lineno} includes a template with blocks")
        self._around.append(name)
        yield from self._cut(tree.body, ())
        self._around.pop()

    def _whole(self, node: nodes.Node, seen: tuple[nodes.Node, ...]) -> _Piece:
        """Return a statement as one piece, if it leaves nothing behind."""
        if any(node.find_all((nodes.Block, nodes.Include))):
            raise Uncut(f"line {node.lineno} has a block or an include inside")
        if isinstance(node, nodes.If) and any(node.find_all(_DEFINITIONS)):
            raise Uncut(f"line {node.lineno} may define what others depend on")
        return _Piece(node, seen)


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) and not part.data.strip()
        for part in node.nodes
    )


def _names_of(definitions: Iterable[nodes.Node]) -> set[str]:
    """Return the names that definitions define."""
    names: set[str] = set()
    for node in definitions:
        if isinstance(node, nodes.Macro):
            names.add(node.name)
        elif isinstance(node, nodes.Import):
            names.add(node.target)
        elif isinstance(node, nodes.FromImport):
            names.update(n if isinstance(n, str) else n[1] for n in node.names)
    return names


def _and_below(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    yield from node.find_all(nodes.Node)
