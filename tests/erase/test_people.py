"""Where a text or a column names somebody."""

import json
from urllib.parse import quote

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from engine.erase import People

ANN = People.of([" Ann.Lee+x@Bücher.example"])

_NAMED = [
    "ann.lee+x@bücher.example",
    "ANN.LEE+X@BÜCHER.EXAMPLE",
    "ann.lee+x@xn--bcher-kva.example",
    "ann.lee+x@XN--BCHER-KVA.example",
    "ann.lee+x@bu\u0308cher.example",
    "ann.lee+x%40bücher.example",
    quote("ann.lee+x@xn--bcher-kva.example"),
    quote("ann.lee+x@bücher.example"),
    "ann.lee+x\\u0040xn--bcher-kva.example",
    "ann.lee+x&#64;bücher.example",
]
_AROUND = [
    "{}",
    "<{}>",
    "Ann Lee <{}>: refused",
    "'{}'",
    "mailto:{}?subject=x",
    "https://x.example/?to={}&by=y",
    "550 no such user {}.",
    '{{"email":"{}"}}',
    "rfc822;{}, {}",
    "{}\r\n",
]
_OTHERS = [
    "",
    "@",
    "joann.lee+x@bücher.example",
    "lee+x@bücher.example",
    "news-ann.lee+x@bücher.example",
    "d'ann.lee+x@bücher.example",
    "ann.lee+x@bücher.example.com",
    "ann.lee+x@bücher.examples",
    "ann.lee+x@my.bücher.example",
    "ann.lee+x at bücher.example",
    "ann.lee@bücher.example",
]


@pytest.mark.parametrize("around", _AROUND)
@pytest.mark.parametrize("written", _NAMED)
def test_an_address_is_found_however_it_is_written(written: str, around: str) -> None:
    """Only it goes; what stands around it stays."""
    text = around.format(*[written] * around.count("{}"))
    expected = around.format(*["erased"] * around.count("{}"))
    assert expected == ANN.cleaned(text)
    column = pl.Series("c", ["x", text, None])
    assert ANN.column(column).to_list() == ["x", expected, None]
    assert ANN.named(column).to_list() == [False, True, False]
    assert column.to_list() == ["x", text, None]


@pytest.mark.parametrize("text", _OTHERS)
def test_nobody_else_is_touched(text: str) -> None:
    """Longer and shorter names, other domains, and what is no address."""
    assert text == ANN.cleaned(text)
    assert text == ANN.cleaned(f"x {text} y")[2:-2]


_names = st.text("abz019._+-'=/%&\u00e9\u4f8b", min_size=1, max_size=6)
_texts = st.lists(
    st.one_of(_names, st.sampled_from(["@", "%40", " ", "<", ">", ":", ".", *_NAMED]))
).map("".join)


@given(_texts)
def test_a_cleaned_text_names_nobody(text: str) -> None:
    """Once is enough, and a column is cleaned as its texts are, one by one."""
    clean = ANN.cleaned(text)
    assert ANN.cleaned(clean) == clean
    assert ANN.column(pl.Series([text])).to_list() == [clean]


@given(_texts)
def test_json_stays_json(text: str) -> None:
    """A cleaned object has the same shape: it can be read as before."""
    told = {"to": text, "list": [text]}
    read = json.loads(ANN.cleaned(json.dumps(told, ensure_ascii=False)))
    assert read.keys() == told.keys()


def test_nested_columns_are_cleaned_and_others_stay() -> None:
    """Texts in lists and structs; numbers and moments are as they were."""
    who = _NAMED[0]
    columns = [
        pl.Series("list", [[who, "x"], None, []]),
        pl.Series("deep", [{"a": [{"b": who, "n": 1}]}, None, None]),
        pl.Series("kind", [who, "x", None], dtype=pl.Categorical),
        pl.Series("number", [1, 2, None]),
        pl.Series("nested", [[1.5], None, []]),
    ]
    clean = [ANN.column(column) for column in columns]
    assert clean[0].to_list() == [["erased", "x"], None, []]
    assert clean[1].to_list()[0] == {"a": [{"b": "erased", "n": 1}]}
    assert clean[2].to_list() == ["erased", "x", None]
    for before, after in zip(columns, clean, strict=True):
        assert before.dtype == after.dtype
    for before, after in zip(columns[3:], clean[3:], strict=True):
        assert_series_equal(before, after)


def test_many_are_found_at_once() -> None:
    """A file of people costs about as much as one of them."""
    people = People.of(f"p{n}@x.example" for n in range(2000))
    column = pl.Series(["p77@x.example", "p2000@x.example", "P1999@X.example"])
    assert people.column(column).to_list() == ["erased", "p2000@x.example", "erased"]
