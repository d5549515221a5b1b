"""What every provider promises, whatever its API."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from handmade import SETTINGS
from hypothesis import example, given
from hypothesis import strategies as st

from engine import providers
from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
)
from engine.message import Batch, Envelope, Extras, Feature, Messages, Response
from engine.outcome import Status
from engine.providers.base import Provider
from engine.texts import Texts, inside, insides

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
TOKEN = "cm_live_0123456789abcdef"
ENVELOPE = Envelope(
    campaign="welcome",
    run="r1",
    date=NOW,
    kind="transactional",
    sender="Harbour Books <hello@harbour.example>",
    tags=("welcome", "autumn"),
    html=True,
    text=True,
    named=True,
    extras=Extras(reply_to="help@harbour.example", headers={"X-Campaign": "welcome"}),
    header_names=("X-Campaign",),
)
NAMES = sorted(providers.NAMES)


def make(name: str, batch_size: int | None = None) -> Provider:
    """Make a provider with the largest batch, or one of `batch_size`."""
    kind = providers.load(name)
    given_settings = {key: SETTINGS[key] for key in kind.settings}
    size = kind.capabilities.max_batch if batch_size is None else batch_size
    return kind(ENVELOPE, batch_size=size, **given_settings)


def messages(count: int) -> Messages:
    """Make messages whose text asks for care: quotes, breaks, other scripts."""
    return Messages(
        rows=list(range(7, 7 + count)),
        addresses=[f"u{n}@a.example" for n in range(count)],
        names=["Zoë" for _ in range(count)],
        message_ids=[f"our-{n}" for n in range(count)],
        subjects=[f'№ {n} "now"' for n in range(count)],
        htmls=[f"<p>Olá\n{n} 🐟</p>" for n in range(count)],
        texts=[f"Olá\n{n}" for n in range(count)],
    )


def batch_of(provider: Provider, count: int) -> Batch:
    """Encode a batch."""
    made = messages(count)
    return Batch("b1", made.rows, made.addresses, provider.encode(made))


def cases() -> Iterator[tuple[str, int]]:
    """Give every provider with batches of one, and with a few if it takes more."""
    for name in NAMES:
        yield name, 1
        if providers.load(name).capabilities.max_batch > 1:
            yield name, 3


CASES = list(cases())
each_case = pytest.mark.parametrize(("name", "count"), CASES)
each_name = pytest.mark.parametrize("name", NAMES)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TEXTS = st.lists(TEXT, min_size=3, max_size=3)
COLUMN = st.tuples(TEXT, TEXTS, TEXT, TEXTS)


@each_case
@given(subject=COLUMN, html=COLUMN, text=COLUMN, extras=st.none() | TEXTS)
def test_texts_in_pieces_are_encoded_as_whole_ones_are(
    name: str, count: int, extras: list[str] | None, **given_texts: tuple[Any, ...]
) -> None:
    """How a text came to be is not seen in what is sent."""
    provider = make(name, count)
    whole, pieces = {}, {}
    for part, (head, first, middle, second) in given_texts.items():
        whole[f"{part}s"] = [
            f"{head}{one}{middle}{two}"
            for one, two in zip(first[:count], second[:count], strict=True)
        ]
        columns = insides(first[:count]), insides(second[:count])
        pieces[f"{part}s"] = Texts(
            count, [inside(head), columns[0], inside(middle), columns[1]]
        )
    more = extras and [Extras(metadata={"fact": fact}) for fact in extras[:count]]
    made = replace(messages(count), extras=more)
    parts = provider.encode(replace(made, **pieces))
    assert provider.encode(replace(made, **whole)) == parts
    assert count == len([*map(json.loads, parts)])


@each_name
def test_a_provider_declares_itself(name: str) -> None:
    """Name, address and capabilities can be read without an instance."""
    kind = providers.load(name)
    assert name == kind.name
    assert kind.default_base_url.startswith("https://")
    assert not kind.default_base_url.endswith("/")
    assert kind.capabilities.max_batch >= 1
    assert kind.capabilities.max_batch_bytes > 0
    assert not {"name", "token", "base_url"} & set(kind.settings)


def test_only_the_provider_asked_for_is_imported() -> None:
    """To know the names costs no import of a provider."""
    script = (
        "import sys, engine.providers;"
        "print([m for m in sys.modules if m.startswith('engine.providers.')"
        " or m == 'orjson'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]"


@each_name
def test_a_batch_size_out_of_bounds_is_refused(name: str) -> None:
    """A provider is not made with a batch that its API does not take."""
    for size in (0, providers.load(name).capabilities.max_batch + 1):
        with pytest.raises(ValueError, match=str(size)):
            make(name, size)


@each_case
def test_a_batch_larger_than_agreed_is_refused(name: str, count: int) -> None:
    """No request is built for no message, or for more than the batch size."""
    provider = make(name, count)
    for wrong in (0, count + 1):
        with pytest.raises(ValueError, match="b1"):
            provider.request(batch_of(provider, wrong))


@each_case
def test_a_request_is_a_pure_function_of_the_batch(name: str, count: int) -> None:
    """The same batch gives the same bytes, also from another instance."""
    first, second = make(name, count), make(name, count)
    one = first.request(batch_of(first, count))
    assert one == first.request(batch_of(first, count))
    assert one == second.request(batch_of(second, count))
    assert one.path.startswith("/")


@each_case
def test_a_request_is_json_with_every_message_in_order(name: str, count: int) -> None:
    """The body can be read, and the addresses are in it in the order of the batch."""
    provider = make(name, count)
    body = provider.request(batch_of(provider, count)).body
    json.loads(body)
    assert sorted(found := [body.find(b"u%d@a" % n) for n in range(count)]) == found
    assert found[0] >= 0


@each_case
def test_no_secret_is_in_a_request_or_a_repr(name: str, count: int) -> None:
    """The token is in the credentials alone."""
    provider = make(name, count)
    assert any(TOKEN in value for value in provider.credentials(TOKEN).headers.values())
    request = provider.request(batch_of(provider, count))
    assert TOKEN not in repr(request) + repr(provider) + repr(vars(provider))
    named = {header.lower() for header in request.headers}
    assert not named & {
        header.lower() for header in provider.credentials(TOKEN).headers
    }


@each_name
def test_a_review_reports_what_the_api_cannot_carry(name: str) -> None:
    """There is a finding for each capability that this envelope asks for in vain."""
    provider = make(name)
    can = provider.capabilities
    texts = " ".join(finding.text for finding in provider.review())
    assert Feature.HEADERS in can.features or "X-Campaign" in texts
    assert Feature.TAGS in can.features or "welcome, autumn" in texts
    assert Feature.NAMES in can.features or "display names" in texts


@each_name
def test_names_of_copies_travel_or_are_told(name: str) -> None:
    """Where an API takes bare addresses the name is left out, and that is told."""
    if Feature.CC not in providers.load(name).capabilities.features:
        return
    kind = providers.load(name)
    given_settings = {key: SETTINGS[key] for key in kind.settings}
    copied = replace(ENVELOPE, extras=Extras(cc=("Ann Lee <ann@a.example>",)))
    provider = kind(copied, batch_size=1, **given_settings)
    (part,) = provider.encode(messages(1))
    texts = " ".join(finding.text for finding in provider.review())
    assert (b"Ann Lee" in part) != ("names in cc" in texts)
    assert b"ann@a.example" in part


@each_name
def test_a_plain_envelope_passes_review(name: str) -> None:
    """Nobody is warned of what the campaign does not use."""
    kind = providers.load(name)
    plain = Envelope(
        campaign="c",
        run="r",
        date=NOW,
        kind="transactional",
        sender="a@b.example",
        html=True,
        text=False,
    )
    given_settings = {key: SETTINGS[key] for key in kind.settings}
    errors = [
        finding
        for finding in kind(plain, batch_size=1, **given_settings).review()
        if finding.severity == "error"
    ]
    assert errors == []


@each_case
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, Throttled),
        (500, Unanswered),
        (503, Unanswered),
        (400, BatchRejected),
        (401, AccountRejected),
        (307, AccountRejected),
    ],
)
def test_a_refusal_is_classified(
    name: str, count: int, status: int, kind: type[ProviderError]
) -> None:
    """Outside 2xx every provider speaks with one voice."""
    provider = make(name, count)
    with pytest.raises(kind) as caught:
        provider.outcomes(batch_of(provider, count), Response(status, {}, b"", NOW))
    assert status == caught.value.http_status


@each_case
@pytest.mark.parametrize(
    "body", [b"", b"\n", b"<html>Log in</html>", b"OK", b"{", b"\xff", b"null", b"7"]
)
def test_an_answer_that_says_nothing_is_a_doubt(
    name: str, count: int, body: bytes
) -> None:
    """A 200 that cannot be read is neither a yes nor a no."""
    provider = make(name, count)
    with pytest.raises(Unanswered):
        provider.outcomes(batch_of(provider, count), Response(200, {}, body, NOW))


ODD = [*map(chr, range(256)), "№", "🐟", "\u2028", "\u202e", "İ"]
WORDS = st.sampled_from(
    [
        *("message_id", "id", "status", "error", "errors", "success", "data", "index"),
        *("messages", "results", "to", "code", "message", "custom_args", "batch_id"),
        *("queued", "rejected", "failed", "u0@a.example", "u1@a.example", "our-0"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
    | st.text(ODD, max_size=8)
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(WORDS | st.text(ODD, max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
STATUSES = st.sampled_from([200, 200, 200, 201, 202]) | st.integers(100, 599)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "location", "x-amzn-waf-action"]),
    st.text(ODD, max_size=12),
)


def settles(name: str, count: int, response: Response) -> None:
    """Check that an answer is read, or refused within the tree of errors."""
    provider = make(name, count)
    batch = batch_of(provider, count)
    try:
        outcomes = provider.outcomes(batch, response)
    except ProviderError as error:
        assert error.reason  # noqa: PT017 - the other way out is as good
        assert str(error).isprintable()  # noqa: PT017 - as above
        return
    assert {count} == {
        len(outcomes.statuses),
        len(outcomes.reasons),
        len(outcomes.details),
        len(outcomes.provider_ids),
    }
    settled = {Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT}
    assert settled.issuperset(outcomes.statuses)
    for status, reason in zip(outcomes.statuses, outcomes.reasons, strict=True):
        assert (reason is None) == (status is Status.ACCEPTED)
    named = [one for one in outcomes.provider_ids if one is not None]
    assert all(isinstance(one, str) for one in named)
    assert all(len(detail or "") <= 300 for detail in outcomes.details)


@given(st.sampled_from(CASES), STATUSES, HEADERS, DOCUMENTS)
@example(CASES[-1], 200, {}, [[]] * 3)
@example(CASES[-1], 200, {}, {"messages": [{"status": {}}, {"id": []}, None]})
@example(CASES[-1], 200, {}, {"data": {"data": {"data": []}}})
@example(CASES[-1], 200, {}, {"errors": [{"index": 10**300}]})
@example(CASES[-1], 200, {}, {"success": "x" * 100_000, "error": "y" * 100_000})
def test_any_json_is_read_or_refused(
    case: tuple[str, int], status: int, headers: dict[str, str], document: object
) -> None:
    """No JSON, in any status, breaks a promise of `outcomes`."""
    body = json.dumps(document).encode()
    settles(*case, Response(status, headers, body, NOW))


@given(st.sampled_from(CASES), STATUSES, st.binary(max_size=60))
@example(CASES[-1], 200, b"[" * 100_000)
@example(CASES[-1], 400, b'{"error":' * 900 + b"1" + b"}" * 900)
@example(CASES[-1], 200, b'{"id":"\\ud800"}')
def test_any_bytes_are_read_or_refused(
    case: tuple[str, int], status: int, body: bytes
) -> None:
    """No bytes, in any status, break a promise of `outcomes`."""
    settles(*case, Response(status, {}, body, NOW))


@each_case
def test_an_answer_of_a_million_items_holds_up_nobody(name: str, count: int) -> None:
    """A huge answer is read or refused within the tree of errors."""
    body = b'{"messages":[' + b"1," * 999_999 + b"1]}"
    settles(name, count, Response(200, {}, body, NOW))
