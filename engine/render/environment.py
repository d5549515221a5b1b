"""The Jinja environment that every template runs in.

Sandboxed and strict: a template sees the data of its row and nothing else, cannot
change it, and fails on a name that is not there. Rendering the same row gives the same
bytes on every run, whatever was rendered before it: what draws lots, reads a clock or
the time zone, prints the address of an object or is carried from row to row is taken
out. And a template is read from the disk once: what was checked is what is sent.

A row costs no more than its budget, in memory and in time, whatever its template says:
what makes much of little is counted here before it is made. See `engine.render.budget`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateRuntimeError,
    Undefined,
)
from jinja2.environment import TemplateModule
from jinja2.ext import Extension
from jinja2.loaders import split_template_path
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import _PassArg
from markupsafe import Markup

from engine.render import costs
from engine.render.budget import WORK, Budget, Overspent, size, weight
from engine.render.counting import Counting

#: Jinja's own names that give something else each time.
UNSTEADY_FILTERS = ("random",)
UNSTEADY_GLOBALS = ("lipsum",)
#: Methods of dates that read the clock or this machine's time zone.
UNSTEADY_METHODS = frozenset(
    {"astimezone", "fromtimestamp", "now", "timestamp", "today", "utcnow"}
)
#: Types that are printed as they are: nearly every value that a template prints.
PLAIN = frozenset({bool, float, int, str, Markup})
#: Filters that make text of whatever they are given, as to print it does.
_OF_TEXT = frozenset(
    {"capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower"}
    | {"pprint", "replace", "safe", "string", "striptags", "title", "trim", "upper"}
    | {"urlize", "wordcount", "wordwrap"}
)


class Sources(BaseLoader):
    """The templates of a folder, each read from the disk once.

    Beside them those of the campaign file itself, under names that are no paths.

    Attributes:
        directory: the folder; nothing outside it can be read.
        texts: template name to text, of those that were read.
        shareable: files of templates that are the same for every row when imported.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.texts: dict[str, str] = {}
        self.shareable: set[str] = set()
        self._inline: dict[str, tuple[str, str, str]] = {}

    def add_inline(self, place: str, text: str, file: Path) -> str:
        """Take a template that stands in the campaign file; return its name.

        Args:
            place: where it stands there, as people write it: `[message] cc, item 2`.
            text: the template.
            file: the campaign file.
        """
        name = f"//{len(self._inline)}"
        self._inline[name] = (text, f"{file}: {place}", place)
        return name

    def file(self, name: str) -> str:
        """Return the file of a template, or its place in the campaign file."""
        return self._inline[name][1] if self.is_inline(name) else self._path(name)

    @property
    def labels(self) -> dict[str, tuple[str, bool]]:
        """What a failure calls a template, by its file, and whether it is inline."""
        inline = {where: (place, True) for _, where, place in self._inline.values()}
        return {self._path(name): (name, False) for name in self.texts} | inline

    def is_inline(self, name: str) -> bool:
        """Whether a template stands in the campaign file."""
        return name in self._inline

    def where(self, name: str, line: int) -> str:
        """Name a line of a template; those in the campaign file have but one."""
        return self.file(name) if self.is_inline(name) else f"{self.file(name)}:{line}"

    def _path(self, name: str) -> str:
        return str(self.directory / name)

    def find(self, name: str) -> str | None:
        """Return the plain form of a template's name; None if there is none.

        Jinja takes `/a` and `./a` for `a`, and `..` for nothing.
        """
        if self.is_inline(name):
            return name
        try:
            plain = "/".join(split_template_path(name))
            there = plain in self.texts or (plain and Path(self._path(plain)).is_file())
        except (OSError, TemplateNotFound):
            return None
        return plain if there else None

    def read(self, name: str) -> str:
        """Return the text of a template, from the disk the first time.

        Raises:
            OSError: it cannot be read.
            UnicodeDecodeError: it is not UTF-8.
        """
        if self.is_inline(name):
            return self._inline[name][0]
        if name not in self.texts:
            # Some editors begin a file with a byte order mark; nobody wants to send it.
            text = Path(self._path(name)).read_text(encoding="utf-8-sig")
            self.texts[name] = text
        return self.texts[name]

    def read_all(self) -> None:
        """Read every text of the folder: a row may choose any of them."""
        for file in sorted(self.directory.rglob("*")):
            try:
                self.read(file.relative_to(self.directory).as_posix())
            except (OSError, UnicodeDecodeError):
                continue  # a folder or a picture

    def get_source(
        self,
        environment: Environment,  # noqa: ARG002 - Jinja's signature
        template: str,
    ) -> tuple[str, str, Callable[[], bool] | None]:
        """Give Jinja a template that was read; the disk is not looked at again."""
        if self.is_inline(template):
            return self.read(template), self.file(template), None
        name = "/".join(split_template_path(template))
        if name not in self.texts:
            raise TemplateNotFound(template)
        return self.texts[name], self.file(name), None


class _Template(Template):
    """A template that carries nothing from one row to the next."""

    environment: "Sandbox"

    def render(self, *args: Any, **kwargs: Any) -> str:
        """Render the template with a budget of its own."""
        self.environment.budget.renew()
        return super().render(*args, **kwargs)

    def _get_default_module(self, ctx: Context | None = None) -> TemplateModule:
        """Give what `{% import %}` imports.

        Jinja makes it once, and with it any counter, cycler or half-used iterator that
        the imported template sets. It may be kept only where nothing but macros is
        set; making it costs some 10 us a row (2 macros, November 2026).
        """
        origin = self.environment.loader
        if isinstance(origin, Sources) and self.filename in origin.shareable:
            return super()._get_default_module(ctx)
        return self.make_module()


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, steady and bounded.

    Attributes:
        budget: what is left to the template that is being filled.
        step: counts a turn of a loop; what templates are compiled to calls it.
    """

    template_class = _Template
    code_generator_class = Counting
    intercepted_binops = frozenset(costs.OPERATORS)

    def __init__(self, **options: Any) -> None:
        self.budget = Budget()
        self.step = self.budget.step
        super().__init__(finalize=self._printed, **options)
        for name in UNSTEADY_FILTERS:
            del self.filters[name]
        for name in UNSTEADY_GLOBALS:
            del self.globals[name]
        for name, function in self.filters.items():
            self.filters[name] = self._bounded(name, function)
        self.tests["in"] = self._is_in

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may see an attribute."""
        if attr in UNSTEADY_METHODS and isinstance(obj, date):
            # The moment of a time with its zone is the same everywhere.
            aware = isinstance(obj, datetime) and obj.tzinfo is not None
            return aware and attr == "timestamp"
        return super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do a sum, once it is known to be small enough."""
        self.budget.spend(costs.OPERATORS[operator](left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, once that is known to be small enough."""
        if costs.takes_pieces(obj):
            args = tuple(_whole(arg) for arg in args)
        for arg in (*args, *kwargs.values()):
            if isinstance(arg, list | tuple | dict):
                self.budget.check(arg)
        self.budget.spend(costs.of_call(obj, args, kwargs))
        made = super().call(context, obj, *args, **kwargs)
        self.budget.spend(size(made))
        return made

    def checked(self, value: Any) -> Any:
        """Return a list that a template has written, if it is small enough."""
        self.budget.check(value)
        return value

    def weighed(self, value: Any) -> Any:
        """Return a value that is to be copied, if it is small enough."""
        self.budget.spend(weight(value))
        return value

    def joined(self, value: Any) -> Any:
        """Return a value that `~` joins, if it can be printed and is small enough."""
        _expect_printable(value)
        return self.weighed(value)

    def concat(self, pieces: Iterable[str]) -> str:
        """Join what a template has printed, if it is not too much."""
        texts = [*pieces]
        if sum(map(len, texts)) > WORK:
            raise Overspent(f"this prints more than {WORK:,} characters for one row")
        return "".join(texts)

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a filter that counts what it makes."""
        first = 0 if _PassArg.from_obj(function) is None else 1
        cost = costs.of_filter(name)
        spend = self.budget.spend
        makes_text = name in _OF_TEXT

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            if name in costs.AT_ONCE:
                args = *args[:first], _whole(args[first]), *args[first + 1 :]
            if makes_text:
                for arg in args[first:]:
                    _expect_printable(arg)
            spend(cost(*args[first:], **kwargs))
            made = function(*args, **kwargs)
            spend(size(made))
            return made

        return bounded

    def _is_in(self, value: Any, seq: Any) -> bool:
        """Look for a value in a list: `select` and `reject` do so many times."""
        self.budget.spend(size(seq))
        return value in seq

    def _printed(self, value: Any) -> Any:
        """Say what `{{ value }}` prints, and count it.

        Nothing for an empty cell: nobody wants to read "Dear None". And no
        "<generator object at 0x7f…>": that is a slip of the template's author.
        """
        kind: Any = type(value)
        if kind is str or kind is Markup:
            self.budget.spend(len(value))
            return value
        if kind in PLAIN or isinstance(value, Undefined):
            return value
        if value is None:
            return ""
        _refuse_slips(value, kind)
        return self.weighed(value)


def environment(
    origin: Sources, *, escape: bool, extensions: Sequence[type[Extension]] = ()
) -> Sandbox:
    """Make the environment of one kind of part.

    Args:
        origin: the templates.
        escape: whether values are escaped for HTML.
        extensions: what else is done with a template.
    """
    return Sandbox(
        loader=origin,
        extensions=extensions,
        undefined=StrictUndefined,
        # Not select_autoescape: it takes `.html.j2` for plain text.
        autoescape=escape,
        auto_reload=False,
    )


def _whole(value: Any) -> Any:
    """Return a list of what comes piece by piece: else nobody knows how much it is."""
    return value if isinstance(value, Collection) else [*value]


def _expect_printable(value: Any) -> None:
    """Refuse what would be made a text that nobody wants to read."""
    kind: Any = type(value)
    if not (kind in PLAIN or value is None or isinstance(value, str | Undefined)):
        _refuse_slips(value, kind)


def _refuse_slips(value: Any, kind: Any) -> None:
    """Refuse to print what nobody wants to read."""
    name = getattr(value, "__name__", None) or getattr(value, "name", None)
    if callable(value) and name:
        raise TemplateRuntimeError(f"{name} has to be called: write {name}()")
    if callable(value) or kind.__repr__ is object.__repr__:
        raise TemplateRuntimeError(f"{kind.__name__} cannot be printed")
    if hasattr(value, "__next__"):
        raise TemplateRuntimeError(
            "a sequence cannot be printed as it is: add |join or |list"
        )
