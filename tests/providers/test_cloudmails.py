"""CloudMails: what is sent, and what every form of its answers means."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import AccountRejected, BatchRejected, Unanswered
from engine.message import Batch, Envelope, Extras, Messages, Request, Response
from engine.outcome import Outcomes, Status
from engine.providers.answers import IDS as IDS_OF_ANSWERS
from engine.providers.cloudmails import CloudMails
from engine.providers.columns import all_accepted
from engine.providers.tolerant import _Reading

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
YES, NO, DOUBT = Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT
LIST = ["ann@a.example", "Bob@b.example", "cy@c.example"]


def envelope(**changes: object) -> Envelope:
    """Make an envelope that CloudMails can carry whole, or one with changes."""
    fields: dict[str, object] = {
        "campaign": "welcome",
        "run": "r1",
        "date": NOW,
        "kind": "marketing",
        "sender": "Harbour <hello@harbour.example>",
        "html": True,
        "text": False,
    }
    return Envelope(**(fields | changes))  # type: ignore[arg-type]


def messages(addresses: list[str], *, text: bool = False) -> Messages:
    """Make one message per address."""
    rows = list(range(len(addresses)))
    return Messages(
        rows=rows,
        addresses=addresses,
        names=["" for _ in rows],
        message_ids=[f"our-{row}" for row in rows],
        subjects=[f"Hello {row}" for row in rows],
        htmls=[f"<p>{row}</p>" for row in rows],
        texts=[f"{row}" for row in rows] if text else None,
    )


def batch_of(addresses: list[str]) -> Batch:
    """Encode a batch."""
    made = messages(addresses)
    parts = CloudMails(envelope(), batch_size=1000).encode(made)
    return Batch("b1", made.rows, made.addresses, parts)


def read(
    document: object,
    *,
    addresses: list[str] = LIST,
    status: int = 200,
    batch_size: int = 1000,
) -> Outcomes:
    """Let CloudMails read an answer to a batch."""
    body = json.dumps(document).encode()
    provider = CloudMails(envelope(), batch_size=batch_size)
    return provider.outcomes(batch_of(addresses), Response(status, {}, body, NOW))


def read_one(document: object, *, status: int = 200) -> Outcomes:
    """Let CloudMails read an answer to `POST /send`."""
    return read(document, addresses=LIST[:1], status=status, batch_size=1)


# ---- what is sent -----------------------------------------------------------------


def test_a_batch_is_sent_as_the_document_says() -> None:
    """The fields, their order and the path are those of the document's batch."""
    provider = CloudMails(
        envelope(extras=Extras(reply_to="help@harbour.example"), tags=("a", "b")),
        batch_size=1000,
    )
    made = messages(LIST[:2], text=True)
    request = provider.request(
        Batch("b1", made.rows, made.addresses, provider.encode(made))
    )
    assert (request.method, request.path) == ("POST", "/send/batch")
    assert request.headers["Content-Type"] == "application/json"
    sent = json.loads(request.body)
    assert list(sent) == ["messages"]
    assert [*sent["messages"][1].items()] == [
        ("to", "Bob@b.example"),
        ("from", "Harbour <hello@harbour.example>"),
        ("subject", "Hello 1"),
        ("html", "<p>1</p>"),
        ("text", "1"),
        ("reply_to", "help@harbour.example"),
        (
            "custom_args",
            {
                "campaign": "welcome",
                "run": "r1",
                "row": "1",
                "message_id": "our-1",
                "tags": "a,b",
            },
        ),
    ]


def test_what_a_message_does_not_have_is_not_sent() -> None:
    """Fields without a value are left out, not sent empty."""
    sent = json.loads(batch_of(LIST).parts[0])
    assert list(sent) == ["to", "from", "subject", "html", "custom_args"]
    assert list(sent["custom_args"]) == ["campaign", "run", "row", "message_id"]


@given(st.lists(st.text('%abdé№🐟"\\\n\r\t\u2028\x00\x1f<&'), min_size=4, max_size=4))
def test_any_text_arrives_as_it_is(texts: list[str]) -> None:
    """Quotes, breaks and other scripts are the same after JSON."""
    subject, html, sender, tag = texts
    provider = CloudMails(envelope(sender=sender, tags=(f"t{tag}",)), batch_size=1000)
    made = Messages([5], ["a@b.example"], [""], ["our"], [subject], [html], [html])
    sent = json.loads(provider.encode(made)[0])
    assert (sent["subject"], sent["html"], sent["text"]) == (subject, html, html)
    assert (sent["from"], sent["custom_args"]["tags"]) == (sender, f"t{tag}")


def test_a_batch_of_one_by_choice_goes_to_the_single_endpoint() -> None:
    """With batch_size 1 each message is a request of its own, without a list."""
    provider = CloudMails(envelope(), batch_size=1)
    batch = batch_of(LIST[:1])
    expected = Request("POST", "/send", provider.request(batch).headers, batch.parts[0])
    assert expected == provider.request(batch)


def test_the_last_batch_of_one_stays_on_the_batch_endpoint() -> None:
    """A remainder of one message is a batch, and its answer is that of a batch."""
    provider = CloudMails(envelope(), batch_size=1000)
    request = provider.request(batch_of(LIST[:1]))
    assert request.path == "/send/batch"
    assert len(json.loads(request.body)["messages"]) == 1


def test_credentials_are_a_bearer_token() -> None:
    """The header is the document's."""
    provider = CloudMails(envelope(), batch_size=1)
    assert provider.credentials("k").headers == {"Authorization": "Bearer k"}


def test_a_campaign_without_html_is_an_error() -> None:
    """CloudMails requires an HTML part."""
    (found,) = CloudMails(envelope(html=False, text=True), batch_size=1).review()
    assert found.severity == "error"
    assert "[message] html" in found.text


def test_what_is_lost_on_the_way_is_a_warning() -> None:
    """Headers, tags and display names are named; unsubscribing gets its own words."""
    asked = envelope(
        extras=Extras(headers={"List-Unsubscribe": "<u>"}),
        header_names=("List-Unsubscribe",),
        tags=("t1",),
        named=True,
    )
    found = CloudMails(asked, batch_size=1).review()
    assert {one.severity for one in found} == {"warning"}
    told = " ".join(one.text for one in found)
    assert "List-Unsubscribe" in told
    assert "one-click" in told
    assert "t1" in told
    assert "display names" in told
    assert CloudMails(envelope(), batch_size=1).review() == []


# ---- POST /send -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "name"),
    [
        # The other public page of CloudMails, docs/api-reference.php
        ({"success": True, "message_id": "msg_1", "timestamp": 1779200000}, "msg_1"),
        ({"success": True, "data": {"message_id": "msg_1"}}, "msg_1"),
        ({"message_id": None, "data": {"message_id": "msg_1"}}, "msg_1"),
        ({"id": "msg_1"}, "msg_1"),
        ({"id": 17, "status": "queued"}, "17"),
        ({"message_id": "msg_1", "id": "other"}, "msg_1"),
        ([{"message_id": "msg_1"}], "msg_1"),
        ({"success": True}, None),
        ({"success": 1}, None),
        ({"status": "queued"}, None),
        ({"success": True, "message_id": ""}, None),
        ({"success": True, "message_id": True}, None),
        ({"success": True, "message_id": "x" * 10_000}, None),
        ({"success": True, "message_id": "a\nb"}, None),
    ],
)
def test_a_single_message_is_accepted(document: object, name: str | None) -> None:
    """The id is found in each of its places, and what can be no id is none."""
    assert Outcomes([YES], [None], [None], [name]) == read_one(document)


def test_a_single_message_with_an_id_can_be_rejected() -> None:
    """A status that says no is a no, with the provider's code and words."""
    outcomes = read_one(
        {
            "message_id": "msg_1",
            "status": "rejected",
            "error": {"code": "invalid_recipient", "message": "No such mailbox"},
        }
    )
    expected = Outcomes([NO], ["invalid_recipient"], ["No such mailbox"], ["msg_1"])
    assert expected == outcomes


# ---- refusals and silence in a 2xx ------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"success": False, "error": {"code": "invalid_recipient", "message": "m"}},
            "invalid_recipient",
        ),
        ({"success": False}, "refused"),
        ({"success": 0}, "refused"),
        ({"success": "false", "message": "m"}, "refused"),
        ({"success": False, "messages": [], "error": "m"}, "refused"),
        ({"success": False, "errors": [{"code": "bad_from"}]}, "bad_from"),
        ({"success": False, "errors": {"from": ["m"]}}, "refused"),
        ({"error": "m"}, "refused"),
        ({"status": "error", "message": "m"}, "refused"),
        ({"status": 400, "message": "m"}, "refused"),
        ({"errors": [{"message": "m"}]}, "refused"),
        ({"data": {"success": False}}, "refused"),
    ],
)
def test_a_refusal_in_a_success_is_a_refusal(
    document: object, reason: str, size: int
) -> None:
    """A 2xx that says no to all rejects the batch; nothing of it was accepted."""
    with pytest.raises(BatchRejected) as caught:
        read(document, addresses=LIST[:size], batch_size=1 if size == 1 else 1000)
    assert reason == caught.value.reason
    assert caught.value.http_status == 200


@pytest.mark.parametrize(
    "document", [{}, [[]], {"ok": "?"}, "queued", 7, None, True, {"message": "Hi"}]
)
def test_an_answer_without_a_word_is_unanswered(document: object) -> None:
    """JSON that does not say what became of the messages leaves them in doubt."""
    if document == [[]]:
        assert read(document).statuses == [DOUBT] * 3
        return
    with pytest.raises(Unanswered):
        read(document)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b'{"message":"thanks"}'])
def test_202_and_nothing_is_accepted(body: bytes, size: int) -> None:
    """The status alone says that all were taken; there are no ids."""
    provider = CloudMails(envelope(), batch_size=1 if size == 1 else 1000)
    answer = Response(202, {}, body, NOW)
    expected = Outcomes.uniform(size, YES)
    assert expected == provider.outcomes(batch_of(LIST[:size]), answer)


def test_202_of_a_firewall_is_no_acceptance() -> None:
    """Amazon's firewall stops a request with an empty 202."""
    provider = CloudMails(envelope(), batch_size=1000)
    answer = Response(202, {"x-amzn-waf-action": "challenge"}, b"", NOW)
    with pytest.raises(AccountRejected) as caught:
        provider.outcomes(batch_of(LIST), answer)
    assert caught.value.reason == "blocked_by_firewall"


@pytest.mark.parametrize("body", [b"<html>Checking your browser</html>", b"Accepted"])
def test_202_and_a_page_is_unanswered(body: bytes) -> None:
    """A page with status 202 comes from something else than the API."""
    provider = CloudMails(envelope(), batch_size=1000)
    with pytest.raises(Unanswered):
        provider.outcomes(batch_of(LIST), Response(202, {}, body, NOW))


# ---- POST /send/batch: forms 1 to 5 -----------------------------------------------

IDS = ["msg_1", "msg_2", "msg_3"]
FORMS_OF_ALL = [
    *(
        wrap
        for items in (
            IDS,
            [{"message_id": name} for name in IDS],
            [{"id": name, "status": "queued"} for name in IDS],
            [{"message_id": name, "status": "Sent"} for name in IDS],
            [{"id": n, "to": to} for n, to in zip(IDS, LIST, strict=True)],
            [{"id": n, "to": to.upper()} for n, to in zip(IDS, LIST, strict=True)],
            [{"id": n, "to": f"X <{to}>"} for n, to in zip(IDS, LIST, strict=True)],
            [{"id": name, "index": at} for at, name in enumerate(IDS)],
            [{"id": name, "index": at + 1} for at, name in enumerate(IDS)],
            [{"id": n, "success": True, "error": None} for n in IDS],
        )
        for wrap in (
            items,
            {"messages": items},
            {"success": True, "results": items},
            {"data": items},
            {"emails": items, "errors": []},
            {"success": True, "data": {"messages": items}},
            {"messages": ["queued"], "results": items},
        )
    ),
    {"message_ids": IDS},
    {"success": True, "batch_id": "b", "message_ids": IDS},
]


@pytest.mark.parametrize("document", FORMS_OF_ALL)
def test_a_list_of_all_messages_is_read_in_order(document: object) -> None:
    """Forms 1 and 2: one item per message, in each place and spelling."""
    assert Outcomes([YES] * 3, [None] * 3, [None] * 3, IDS) == read(document)


@pytest.mark.parametrize(
    "items",
    [
        [{"id": "C", "index": 2}, {"id": "A", "index": 0}, {"id": "B", "index": 1}],
        [{"id": "C", "index": 3}, {"id": "A", "index": 1}, {"id": "B", "index": 2}],
        [{"id": "C", "index": "2"}, {"id": "A", "index": "0"}, {"id": "B", "index": 1}],
        [
            {"id": "C", "custom_args": {"message_id": "our-2"}},
            {"id": "A", "custom_args": {"message_id": "our-0"}},
            {"id": "B", "custom_args": {"message_id": "our-1"}},
        ],
        [
            {"id": "C", "to": "CY@c.example"},
            {"id": "A", "to": "ann@a.example"},
            {"id": "B", "to": "bob@b.example"},
        ],
        [
            {"id": "C", "recipient": "cy@c.example"},
            {"id": "A", "index": 0, "to": "ann@a.example"},
            {"id": "B", "custom_args": {"message_id": "our-1"}},
        ],
    ],
)
def test_an_answer_in_another_order_is_read_by_its_keys(items: object) -> None:
    """Form 3: index, our id or address say whose an item is, whatever its position."""
    outcomes = read({"results": items})
    assert Outcomes([YES] * 3, [None] * 3, [None] * 3, ["A", "B", "C"]) == outcomes


@pytest.mark.parametrize(
    ("items", "statuses", "names"),
    [
        # fewer
        ([{"id": "C", "index": 2}, {"id": "A", "index": 0}], "yny", ["A", None, "C"]),
        ([{"id": "B", "to": "bob@b.example"}], "nyn", [None, "B", None]),
        # a stranger in the place of one
        (
            [
                {"id": "A", "to": "ann@a.example"},
                {"id": "X", "to": "x@x.example"},
                {"id": "C", "to": "cy@c.example"},
            ],
            "yny",
            ["A", None, "C"],
        ),
        # one twice
        (
            [{"id": "A", "index": 0}, {"id": "B", "index": 0}, {"id": "C", "index": 2}],
            "nny",
            [None, None, "C"],
        ),
        # keys that disagree
        (
            [
                {"id": "A", "index": 0, "to": "ann@a.example"},
                {"id": "B", "index": 2, "to": "bob@b.example"},
                {"id": "C", "index": 2},
            ],
            "ynn",
            ["A", None, None],
        ),
        # an index that may count from 0 or from 1
        ([{"id": "B", "index": 2}, {"id": "C", "index": 3}], "nnn", [None] * 3),
        (
            [{"id": n, "index": i} for n, i in zip(IDS, (3, 1, 1), strict=True)],
            "nnn",
            [None] * 3,
        ),
        # an index of no message
        ([{"id": "A", "index": -1}, {"id": "B", "index": 9**99}], "nnn", [None] * 3),
        # nothing to go by
        (IDS[:2], "nnn", [None] * 3),
        ([*IDS, "msg_4"], "nnn", [None] * 3),
        ([{"id": name} for name in IDS[:2]], "nnn", [None] * 3),
        ([], "nnn", [None] * 3),
        # more, with keys
        (
            [{"id": n, "to": to} for n, to in zip("ABC", LIST, strict=True)]
            + [{"id": "D", "to": "dee@d.example"}],
            "yyy",
            ["A", "B", "C"],
        ),
        # a hole in the list
        (["msg_1", None, "msg_3"], "yny", ["msg_1", None, "msg_3"]),
        # one id for two
        (["msg_1", "msg_1", "msg_3"], "nny", [None, None, "msg_3"]),
        ([{"id": "m", "status": "sent"}] * 3, "nnn", [None] * 3),
    ],
)
def test_only_what_is_told_apart_is_settled(
    items: object, statuses: str, names: list[str | None]
) -> None:
    """A list that does not fit is never zipped: the rest is in doubt, and says why."""
    outcomes = read({"messages": items})
    expected = [YES if one == "y" else DOUBT for one in statuses]
    assert expected == outcomes.statuses
    assert names == outcomes.provider_ids
    for status, reason in zip(outcomes.statuses, outcomes.reasons, strict=True):
        assert (None if status is YES else "answer_incomplete") == reason


def test_a_doubt_says_how_many_were_listed() -> None:
    """The detail has the honest numbers."""
    addresses = [f"u{n}@a.example" for n in range(1000)]
    outcomes = read([f"msg_{n}" for n in range(998)], addresses=addresses)
    assert set(outcomes.statuses) == {DOUBT}
    assert set(outcomes.details) == {"the answer lists 998 of 1000 messages"}


def test_an_address_that_occurs_twice_is_no_key() -> None:
    """By address alone two cannot be told apart; in order, or by index, they can."""
    twins = ["ann@a.example", "ANN@a.example", "cy@c.example"]
    ann, cy = {"to": "ann@a.example"}, {"to": "cy@c.example", "id": "C"}
    apart = read([cy, {**ann, "id": "A"}, {**ann, "id": "B"}], addresses=twins)
    assert apart.statuses == [DOUBT, DOUBT, YES]
    in_order = read([{**ann, "id": "A"}, {**ann, "id": "B"}, cy], addresses=twins)
    assert in_order.provider_ids == ["A", "B", "C"]
    by_index = read(
        [{**ann, "id": "B", "index": 1}, {**ann, "id": "A", "index": 0}],
        addresses=twins,
    )
    assert by_index.provider_ids == ["A", "B", None]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        *(
            ({"id": "m", "status": said}, (YES, None, None))
            for said in ("queued", "sent", "accepted", "ok", "delivered", "deferred")
        ),
        *(
            ({"id": "m", "status": said}, (NO, said, None))
            for said in ("rejected", "failed", "error", "invalid", "bounced")
        ),
        ({"id": "m", "status": " REJECTED "}, (NO, "rejected", None)),
        ({"id": "m", "status": True}, (YES, None, None)),
        ({"id": "m", "status": None}, (YES, None, None)),
        ({"id": "m", "status": 202}, (YES, None, None)),
        ({"id": "m", "status": 422}, (NO, "error", None)),
        ({"id": "m", "success": False, "message": "Full"}, (NO, "rejected", "Full")),
        ({"id": "m", "error": "Full"}, (NO, "rejected", "Full")),
        (
            {"id": "m", "status": "failed", "code": "E1", "message": "No\x00 mailbox"},
            (NO, "e1", "No mailbox"),
        ),
        (
            {"id": "m", "status": "bounced", "bounce_reason": "5.1"},
            (NO, "bounced", "5.1"),
        ),
        ({"id": "m", "status": "resting"}, (YES, None, "resting")),
        ({"status": "resting"}, (DOUBT, "unknown_status", "resting")),
        ({"id": "m", "status": {"x": 1}}, (DOUBT, "unknown_status", None)),
        (
            {"id": "m", "status": "sent", "error": "E"},
            (DOUBT, "answer_contradictory", "E"),
        ),
        ({"id": "m", "status": "failed", "success": True}, None),
    ],
)
def test_the_word_on_one_message(
    item: dict[str, object], expected: tuple[Status, str | None, str | None] | None
) -> None:
    """Yes, no, and doubt when it is both, or a word that nobody knows."""
    outcomes = read([item, "msg_2", "msg_3"])
    found = (outcomes.statuses[0], outcomes.reasons[0], outcomes.details[0])
    assert (expected or (DOUBT, "answer_contradictory", None)) == found
    assert outcomes.statuses[1:] == [YES, YES]


@pytest.mark.parametrize(
    ("document", "statuses", "names"),
    [
        # ids of all, and an error for one of them
        (
            {"message_ids": ["a", None, "c"], "errors": [{"index": 1, "code": "bad"}]},
            [YES, NO, YES],
            ["a", None, "c"],
        ),
        (
            {"messages": IDS, "errors": [{"to": "bob@b.example", "code": "bad"}]},
            [YES, NO, YES],
            IDS,
        ),
        # ids of the others: they are accepted, but whose is whose is not said
        (
            {"message_ids": ["a", "c"], "errors": [{"index": 1, "code": "bad"}]},
            [YES, NO, YES],
            [None] * 3,
        ),
        # one id is missing
        (
            {"message_ids": ["a"], "errors": [{"index": 1, "code": "bad"}]},
            [DOUBT, NO, DOUBT],
            [None] * 3,
        ),
        # beside one word on the whole
        (
            {"success": True, "errors": [{"to": "BOB@b.example", "code": "bad"}]},
            [YES, NO, YES],
            [None] * 3,
        ),
        (
            {"batch_id": "b", "errors": [{"index": 1, "error": {"code": "bad"}}]},
            [YES, NO, YES],
            [None] * 3,
        ),
        (
            {"success": True, "accepted": [LIST[0], LIST[2]], "rejected": [LIST[1]]},
            [YES, NO, YES],
            [None] * 3,
        ),
        # alone: nobody said yes to the others
        ({"errors": [{"index": 1, "code": "bad"}]}, [DOUBT, NO, DOUBT], [None] * 3),
        (
            {"success": False, "errors": [{"index": 1, "code": "bad"}]},
            [DOUBT, NO, DOUBT],
            [None] * 3,
        ),
        # of nobody: it may be anybody's
        ({"messages": IDS, "errors": [{"index": 7}]}, [DOUBT] * 3, IDS),
        ({"success": True, "errors": [{"message": "one failed"}]}, [DOUBT] * 3, None),
        # of two at once
        (
            {"success": True, "errors": [{"index": 0, "to": LIST[1]}]},
            [DOUBT] * 3,
            None,
        ),
        # and of one that is said to be sent
        (
            {"messages": [{"id": n, "status": "sent"} for n in IDS]}
            | {"errors": [{"index": 1, "code": "bad"}]},
            [YES, DOUBT, YES],
            IDS,
        ),
    ],
)
def test_errors_beside_other_forms(
    document: object, statuses: list[Status], names: list[str | None] | None
) -> None:
    """Form 4: an error rejects the message it names, and no other."""
    outcomes = read(document)
    assert statuses == outcomes.statuses
    assert (names or [None] * 3) == outcomes.provider_ids
    for status, reason in zip(outcomes.statuses, outcomes.reasons, strict=True):
        assert status is not NO or reason in {"bad", "rejected"}


@pytest.mark.parametrize(
    ("document", "status", "detail"),
    [
        ({"success": True}, YES, None),
        ({"success": True, "batch_id": "b_9"}, YES, "batch b_9"),
        ({"data": {"batch_id": "b_9", "status": "processing"}}, YES, "batch b_9"),
        ({"batch_id": "b_9", "status": "resting"}, YES, "batch b_9"),
        ({"status": "queued", "total": 3, "errors": 0}, YES, None),
        ({"queued": 3, "failed": 0}, YES, None),
        ({"queued": 2}, DOUBT, "the answer counts 2 of 3 messages"),
        ({"success": True, "total": 2}, DOUBT, "the answer counts 2 of 3 messages"),
        *(
            (
                {"success": success, "queued": 2, "failed": 1},
                DOUBT,
                "the answer counts 1 of 3 messages as failed",
            )
            for success in (True, False)
        ),
        (
            {"queued": 2, "errors": [{"code": "bad"}]},
            DOUBT,
            "the answer names 0 of 3 messages",
        ),
        ({"success": True, "error": "Oh"}, DOUBT, "Oh"),
        ({"success": True, "results": {"0": {"status": "failed"}}}, DOUBT, None),
        ({"batch_id": "b_9", "status": "partial"}, DOUBT, "partial"),
        ({"status": "resting"}, DOUBT, "resting"),
    ],
)
def test_one_word_on_the_whole(
    document: object, status: Status, detail: str | None
) -> None:
    """Forms 5 and 6: all accepted, without ids; but not if something says otherwise."""
    outcomes = read(document)
    assert [status] * 3 == outcomes.statuses
    assert [detail] * 3 == outcomes.details
    assert outcomes.provider_ids == [None] * 3


@pytest.mark.parametrize(
    "document",
    [
        {"success": False, "messages": IDS},
        {"error": "Oh", "message_ids": IDS},
        {"messages": IDS, "failed": 1},
    ],
)
def test_ids_are_no_yes_when_the_answer_says_no(document: object) -> None:
    """A list without words beside a complaint leaves its messages in doubt."""
    outcomes = read(document)
    assert outcomes.statuses == [DOUBT] * 3
    assert outcomes.reasons == ["answer_contradictory"] * 3


def test_a_word_on_a_message_outweighs_a_complaint() -> None:
    """A batch that "failed" because of one message still says yes to the others."""
    items = [{"id": "A", "status": "queued"}, {"id": "B", "status": "failed"}, "C"]
    outcomes = read({"success": False, "results": items})
    assert outcomes.statuses == [YES, NO, DOUBT]


def test_403_is_a_sender_that_is_not_verified() -> None:
    """The document gives 403 this one meaning; the user learns what to do."""
    with pytest.raises(AccountRejected) as caught:
        read({"error": "Forbidden"}, status=403)
    assert caught.value.reason == "sender_not_verified"
    assert "verify" in caught.value.hint


ITEMS = st.one_of(
    st.sampled_from([*IDS, "queued", "REJECTED", LIST[0], "", " ", "a@b"]),
    st.fixed_dictionaries(
        {"message_id": st.sampled_from([*IDS, "", 3, None])},
        optional={
            "status": st.sampled_from(["queued", "sent", "SENT", "failed", None, True]),
            "to": st.sampled_from(LIST),
            "id": st.sampled_from(IDS),
            "error": st.sampled_from([None, "x"]),
        },
    ),
)


@given(st.lists(ITEMS, max_size=4) | ITEMS.map(lambda one: [one] * 3))
def test_the_fast_way_says_what_the_long_way_says(items: list[object]) -> None:
    """The common answer is read by columns, and to the same end."""
    batch = batch_of(LIST)
    fast = all_accepted(batch, items, IDS_OF_ANSWERS)
    answer = {"messages": items}
    response = Response(200, {}, b"", NOW)
    if fast is not None:
        long = _Reading(batch, response, answer, "cloudmails", "custom_args")
        assert long.each(items, []) == fast


def test_the_common_answers_take_the_fast_way() -> None:
    """Ids, or objects with an id and a word, in order, are not looked at one by one."""
    objects = [
        {"message_id": n, "status": "queued", "to": to}
        for n, to in zip(IDS, LIST, strict=True)
    ]
    for items in (IDS, objects):
        fast = all_accepted(batch_of(LIST), [*items], IDS_OF_ANSWERS)
        assert Outcomes([YES] * 3, [None] * 3, [None] * 3, IDS) == fast
