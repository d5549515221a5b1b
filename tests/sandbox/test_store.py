"""What the sandbox remembers of a run, and what it tells."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from engine.sandbox.store import Accepted, Store

OPENED = datetime(2026, 1, 1, tzinfo=UTC)


def new_store(*, keep: int = 100) -> Store:
    """Open an empty store."""
    return Store(keep=keep, opened=OPENED)


def accept(
    store: Store,
    *messages: tuple[str, str, str | None],
    at: float = 0.0,
    dialect: str = "one",
) -> int:
    """Have a request bring messages, each an address, an id and the client's id."""
    number = store.begin(at, dialect)
    contents: list[dict[str, object]] = [
        {"to": to, "subject": f"For {to}", "tags": [key]} for to, _, key in messages
    ]
    columns = [list(column) for column in zip(*messages, strict=True)]
    store.accept(number, Accepted(*columns, contents))
    return number


def fill(store: Store, count: int, *, batch: int = 1000) -> None:
    """Have batches bring `count` messages, numbered from 0."""
    for start in range(0, count, batch):
        places = range(start, min(start + batch, count))
        accept(store, *((f"p{i}@x.example", f"id{i}", f"key{i}") for i in places))


def test_a_message_is_found_in_any_block() -> None:
    """A message is found by its id whether its part of the index is packed or not."""
    store = new_store(keep=3)
    fill(store, 10_500)
    for place in (0, 4_999, 5_000, 9_999, 10_000, 10_499):
        kept = store.find(f"id{place}")
        assert kept is not None
        assert (place, f"p{place}@x.example", f"key{place}") == (
            kept.place,
            kept.to,
            kept.key,
        )
        assert place // 1000 + 1 == kept.request
    assert store.find("id10500") is None
    assert store.find("id") is None


def test_a_message_is_found_by_its_place_in_any_block() -> None:
    """A place leads to its message, packed or not, however far they lie apart."""
    store = new_store()
    fill(store, 60_000, batch=700)
    for place in (*range(0, 60_000, 997), 59_999, 0):
        assert (place, f"id{place}", f"key{place}") == (
            store.at(place).place,
            store.at(place).message_id,
            store.at(place).key,
        )
    for beyond in (60_000, -1):
        with pytest.raises(IndexError):
            store.at(beyond)


def test_the_index_of_many_messages_lies_packed() -> None:
    """Only the newest part is held as objects: the heap does not grow with the rest."""
    store = new_store(keep=0)
    tracemalloc.start()
    try:
        fill(store, 15_000)
        on_heap, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert on_heap < 1_000_000  # 3 MB unpacked


def test_a_message_belongs_to_the_dialect_that_took_it() -> None:
    """The same id of two dialects is two messages; none is found by a third."""
    store = new_store()
    accept(store, ("a@x.example", "1", None), dialect="one")
    accept(store, ("b@x.example", "1", None), dialect="two")
    found = [store.find("1", dialect) for dialect in ("one", "two", "three")]
    assert ["a@x.example", "b@x.example", None] == [kept and kept.to for kept in found]
    assert found[0] == store.find("1")


def test_only_the_first_messages_are_kept_whole() -> None:
    """Of the first `keep` messages all fields are told, of the others the index."""
    store = new_store(keep=2)
    fill(store, 3)
    page = store.messages()
    whole = {
        "to": "p1@x.example",
        "subject": "For p1@x.example",
        "tags": ["key1"],
        "message_id": "id1",
        "key": "key1",
        "request": 1,
        "dialect": "one",
    }
    indexed = {
        "to": "p2@x.example",
        "message_id": "id2",
        "key": "key2",
        "request": 1,
        "dialect": "one",
    }
    assert page["total"] == 3
    assert [whole, indexed] == page["messages"][1:]


def test_messages_are_paged_in_order_across_blocks() -> None:
    """Offset and limit cut one continuous list, whatever the blocks beneath."""
    store = new_store(keep=0)
    fill(store, 10_500)
    page = store.messages(offset=4_998, limit=5_010)
    addresses = [message["to"] for message in page["messages"]]
    assert page["total"] == 10_500
    assert [f"p{i}@x.example" for i in range(4_998, 10_008)] == addresses


def test_messages_to_one_address_are_counted_and_paged() -> None:
    """`to` lists the messages to exactly that address."""
    store = new_store()
    accept(store, ("a@x.example", "1", None), ("aa@x.example", "2", None))
    accept(store, ("a@x.example", "3", None))
    page = store.messages(to="a@x.example", offset=1)
    assert page["total"] == 2
    assert [message["message_id"] for message in page["messages"]] == ["3"]


def test_doubles_are_told_by_the_clients_id() -> None:
    """A client's id that was accepted twice is named once, across requests."""
    store = new_store()
    accept(store, ("a@x.example", "1", "k1"), ("b@x.example", "2", "k2"))
    assert store.stats()["twice"] == []
    accept(store, ("a@x.example", "3", "k1"))
    accept(store, ("a@x.example", "4", "k1"))
    stats = store.stats()
    assert stats["twice"] == ["k1"]
    assert stats["distinct_recipients"] == 2
    assert stats["accepted"] == 4


def test_two_mails_to_one_address_are_no_double_if_their_ids_differ() -> None:
    """The address decides only where the client sent no id."""
    store = new_store()
    accept(store, ("a@x.example", "1", "k1"), ("a@x.example", "2", "k2"))
    assert store.stats()["twice"] == []
    accept(store, ("b@x.example", "3", None), ("b@x.example", "4", None))
    assert store.stats()["twice"] == ["b@x.example"]


def test_doubles_are_found_after_packing() -> None:
    """A double is found between a packed block and a later one, asked once or often."""
    asked_once, asked_often = new_store(), new_store()
    for store in (asked_once, asked_often):
        fill(store, 6_000)
        if store is asked_often:
            assert store.stats()["distinct_recipients"] == 6_000
        accept(store, ("p17@x.example", "late", "key17"))
        assert store.stats()["twice"] == ["key17"]
        assert store.stats()["distinct_recipients"] == 6_000


def test_requests_are_listed_with_their_answers() -> None:
    """A request without an answer has status None; paging keeps the numbers."""
    store = new_store()
    first = accept(store, ("a@x.example", "1", None), at=0.5)
    store.answered(first, 200)
    store.begin(1.25, "one")
    expected = [
        {"number": 1, "at": 0.5, "messages": 1, "status": 200},
        {"number": 2, "at": 1.25, "messages": 0, "status": None},
    ]
    assert expected == store.requests()
    assert expected[1:] == store.requests(offset=1, limit=5)
    assert OPENED + timedelta(seconds=1.25) == store.moment(2)


def test_stats_count_answers_to_everything() -> None:
    """Answers to lookups are counted beside those to sending requests."""
    store = new_store()
    assert (store.stats()["first_at"], store.stats()["last_at"]) == (None, None)
    store.answered(store.begin(2.0, "one"), 429)
    store.answered(store.begin(3.0, "one"), 200)
    store.answered(0, 404)
    stats = store.stats()
    assert stats["answers"] == {"200": 1, "404": 1, "429": 1}
    assert (stats["requests"], stats["first_at"], stats["last_at"]) == (2, 2.0, 3.0)


def test_all_goes_through_everything_in_order_or_what_one_dialect_took() -> None:
    """All blocks in order; of one dialect alone, its own messages from all of them."""
    store = new_store(keep=0)
    accept(store, ("a@x.example", "id-a", None), dialect="other")
    fill(store, 9_000)
    accept(store, ("c@x.example", "id-c", None), dialect="other")
    told = [kept.message_id for kept in store.all()]
    assert ["id-a", "id0", "id8999", "id-c"] == [told[i] for i in (0, 1, 9_000, 9_001)]
    assert len(told) == 9_002
    assert ["id-a", "id-c"] == [kept.message_id for kept in store.all("other")]
    assert len(list(store.all("one"))) == 9_000


def test_what_becomes_of_a_message_has_moments_at_the_stores_pace() -> None:
    """Each step of its fate comes after acceptance, sooner as the pace is smaller."""
    store = new_store(keep=1)
    accept(store, ("a@x.example", "1", None), ("open@x.example", "2", None), at=2.0)
    whole, indexed = store.all()
    assert store.content(whole) == store.happenings(whole)[0].content
    assert store.content(indexed) is None
    spans = []
    for store.pace in (1.0, 0.01):
        happenings = store.happenings(indexed)
        assert {indexed} == {happening.kept for happening in happenings}
        assert ["accepted", "sent", "delivered", "opened"] == [
            happening.kind for happening in happenings
        ]
        assert OPENED + timedelta(seconds=2) == happenings[0].at
        spans.append((happenings[-1].at - happenings[0].at).total_seconds())
    assert spans[0] > 60
    assert spans[0] == pytest.approx(100 * spans[1], rel=1e-3)
