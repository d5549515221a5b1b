"""What operators, filters and methods are about to make, in characters.

Only those are here that can make more than they are given: `"a" * 5e7`, a width, a
separator, a replacement. Each cost is of the same arguments as what it is the cost of;
what such arguments are of the wrong kind costs nothing, and fails by itself.
"""

import re
from collections.abc import Callable, Collection, Mapping
from types import BuiltinMethodType, MethodType
from typing import Any, Final

from engine.render.budget import BIT, ITEM, WORK, size, weight

Cost = Callable[..., int]

#: Digits of a width that nothing has room for.
_MOST_DIGITS: Final = len(str(WORK))
#: `%-9.3f`: its width and its precision.
_PERCENT: Final = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(\*|\d+)?(?:\.(\*|\d+))?")
#: What stands behind the colon of `{x:>9.3f}`.
_BRACES: Final = re.compile(r"\{[^{}]*?:([^{}]*)(\{?)")


def _number(value: Any) -> int:
    """Return a number as an amount; 0 for what is none."""
    return int(min(abs(value), WORK + 1)) if isinstance(value, int | float) else 0


def _product(left: Any, right: Any) -> int:
    if isinstance(left, int) and isinstance(right, int):
        return size(left) + size(right)
    if isinstance(left, int):
        left, right = right, left
    if isinstance(right, int) and isinstance(left, Collection):
        return weight(left) * max(right, 0)
    return 0


def _power(base: Any, exponent: Any) -> int:
    if not isinstance(base, int) or not isinstance(exponent, int) or abs(base) < 2:  # noqa: PLR2004
        return 0
    return base.bit_length() * max(exponent, 0) * BIT


def _plus(left: Any, right: Any) -> int:
    return size(left) + size(right)


def _remainder(left: Any, right: Any) -> int:
    return _percent(left, right) if isinstance(left, str | bytes) else 0


#: By the operator that is intercepted.
OPERATORS: Final[Mapping[str, Cost]] = {
    "+": _plus,
    "*": _product,
    "**": _power,
    "%": _remainder,
}


def _percent(value: Any, /, *args: Any, **kwargs: Any) -> int:
    """Cost of `value % args`."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    widths = [width for spec in _PERCENT.findall(text) for width in spec]
    return _filled(text, widths, text.count("%"), (args, kwargs))


def _braced(value: Any, /, *args: Any, **kwargs: Any) -> int:
    """Cost of `value.format(…)`; a width that is a field itself may be anything."""
    text = str(value)
    specs = _BRACES.findall(text)
    widths = [width for spec, _ in specs for width in re.findall(r"\d+", spec)]
    widths += ["*" for _, nested in specs if nested]
    return _filled(text, widths, text.count("{"), (args, kwargs))


def _filled(text: str, widths: list[str], fields: int, values: Any) -> int:
    if "*" in widths or any(len(width) > _MOST_DIGITS for width in widths):
        return WORK + 1
    return (
        len(text) + sum(int(width or 0) for width in widths) + fields * weight(values)
    )


def _width(value: Any, width: Any = 80, *_: Any) -> int:
    return size(value) + _number(width)


def _replace(s: Any, old: Any, new: Any, *_: Any, **__: Any) -> int:
    text, old = str(s), str(old)
    return len(text) + text.count(old) * len(str(new))


def _join(value: Any, d: Any = "", *_: Any, **__: Any) -> int:
    return weight(value) + size(value) * len(str(d))


def _expandtabs(value: Any, tabsize: Any = 8) -> int:
    tabs: int = value.count("\t") if isinstance(value, str) else value.count(b"\t")
    return size(value) + tabs * _number(tabsize)


def _translate(value: Any, table: Any) -> int:
    longest = max(map(size, table.values()), default=0) if table else 0
    return size(value) * (1 + longest)


def _pieces(value: Any, *_: Any, **__: Any) -> int:
    """Cost of taking a text apart."""
    return ITEM * len(value) if isinstance(value, str | bytes) else 0


def _to_bytes(_: Any, length: Any = 1, *__: Any, **___: Any) -> int:
    return _number(length)


#: By the name of a method of a text or number; its own value is the first argument.
METHODS: Final[Mapping[str, Cost]] = {
    "center": _width,
    "expandtabs": _expandtabs,
    "format": _braced,
    "format_map": _braced,
    "join": lambda d, value: _join(value, d),
    "ljust": _width,
    "replace": _replace,
    "rjust": _width,
    "rsplit": _pieces,
    "split": _pieces,
    "splitlines": _pieces,
    "to_bytes": _to_bytes,
    "translate": _translate,
    "zfill": _width,
}


def of_filter(name: str) -> Cost:
    """Return the cost of a filter; it is of the same arguments."""
    return FILTERS.get(name, _pieces if name in ITERATING else _written)


def _written(*args: Any, **kwargs: Any) -> int:
    """Cost of writing arguments down; texts are there already."""
    found = (arg for arg in (*args, *kwargs.values()) if not isinstance(arg, str))
    return sum(map(weight, found))


def of_call(called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the cost of a call, beside what it makes of its own."""
    method = getattr(called, "__wrapped__", called)  # the sandbox wraps `format`
    if not isinstance(method, BuiltinMethodType | MethodType):
        return 0
    cost = METHODS.get(method.__name__)
    if cost is None or not isinstance(method.__self__, str | bytes | int):
        return 0
    return cost(method.__self__, *args, **kwargs)


def takes_pieces(called: Any) -> bool:
    """Whether a call goes through something whose length nobody knows before."""
    return isinstance(called, BuiltinMethodType | MethodType) and (
        called.__name__ == "join" and isinstance(called.__self__, str | bytes)
    )


def _batch(value: Any, linecount: Any, fill_with: Any = None) -> int:  # noqa: ARG001
    return size(value) + ITEM * _number(linecount)


def _slice(value: Any, slices: Any, fill_with: Any = None) -> int:  # noqa: ARG001
    return size(value) + ITEM * _number(slices)


def _indent(s: Any, width: Any = 4, *_: Any, **__: Any) -> int:
    each = len(width) if isinstance(width, str) else _number(width)
    return size(s) + (str(s).count("\n") + 1) * each


def _wordwrap(
    s: Any,
    width: Any = 79,
    break_long_words: Any = True,  # noqa: ARG001, FBT002 - Jinja's signature
    wrapstring: Any = None,
    *_: Any,
    **__: Any,
) -> int:
    lines = size(s) // max(1, _number(width)) + str(s).count("\n") + 1
    return size(s) + lines * max(1, size(wrapstring))


def _urlize(value: Any, *args: Any, **kwargs: Any) -> int:
    """Cost of `|urlize`: each word is tried as a link, and may become one."""
    each = 100 + weight((args, kwargs))
    return size(value) + (str(value).count(" ") + 1) * each


def _striptags(value: Any) -> int:
    """Cost of `|striptags`: the text is copied for each tag."""
    return size(value) * (1 + str(value).count("<") // 1000)


def _sum(iterable: Any, attribute: Any = None, start: Any = 0) -> int:  # noqa: ARG001
    """Cost of `|sum`: of lists, all that is there is copied for each that is added."""
    if isinstance(start, int | float):
        return size(iterable)
    return sum(map(size, iterable)) * size(iterable) // 2


def _round(value: Any, precision: Any = 0, method: Any = "common") -> int:  # noqa: ARG001
    return 4 * BIT * _number(precision)


def _tojson(value: Any, indent: Any = 0) -> int:
    return weight(value) * (1 + _number(indent))


#: By the name of a filter; its parameters have the names that Jinja gives them.
FILTERS: Final[Mapping[str, Cost]] = {
    "batch": _batch,
    "center": _width,
    "format": _percent,
    "indent": _indent,
    "join": _join,
    "list": lambda value: ITEM * size(value),
    "pprint": lambda value: 10 * weight(value),
    "replace": _replace,
    "round": _round,
    "slice": _slice,
    "striptags": _striptags,
    "sum": _sum,
    "title": _pieces,
    "tojson": _tojson,
    "urlize": _urlize,
    "wordcount": _pieces,
    "wordwrap": _wordwrap,
}
#: Filters that write nothing of a list down, and take a text apart.
ITERATING: Final = frozenset(
    {
        *("attr", "count", "d", "default", "dictsort", "first", "groupby", "items"),
        *("last", "length", "map", "max", "min", "reject", "rejectattr", "reverse"),
        *("select", "selectattr", "sort", "unique"),
    }
)
#: Filters that are given all at once what they would have taken piece by piece: else
#: nobody knows beforehand how much it is.
AT_ONCE: Final = frozenset({"join", "sum"})
