"""Claims about what is taken for an id, and about the common answer to one."""

from hypothesis import example, given
from hypothesis import strategies as st

from engine.outcome import Status
from engine.providers.answers import IDS, LONGEST_ID, are_identities, identity, judge
from engine.providers.columns import accepted_alone

TEXT = st.text(st.sampled_from("a1-\n \t\x00\x7f\xa0\u202eé🐟"), max_size=4)


@given(st.lists(TEXT, max_size=4))
@example(["x" * LONGEST_ID])
@example(["x" * (LONGEST_ID + 1), "y"])
@example(["a", " "])
@example(["a", ""])
def test_ids_are_judged_together_as_each_is(texts: list[str]) -> None:
    """The short way takes no id that the long way would not."""
    assert (None not in map(identity, texts)) == are_identities(texts)


@given(
    st.sampled_from(["queued", "sent", "Queued", "rejected", "", 1, None, ["sent"]]),
    st.sampled_from(["msg_1", "", " ", "a\nb", 7, None, "x" * 600]),
    st.sampled_from([{}, {"error": "no"}, {"success": False}, {"to": "a@b.example"}]),
)
def test_plain_answer_to_one_is_read_as_each_entry_is(
    status: object, name: object, more: dict[str, object]
) -> None:
    """The short way says what the long way says, or leaves the answer to it."""
    answer = {"message_id": name, "status": status, **more}
    short = accepted_alone(answer, IDS)
    if short is not None:
        verdict = judge(answer)
        assert verdict.status is Status.ACCEPTED
        assert [verdict.status] == short.statuses
        assert [verdict.provider_id] == short.provider_ids
        assert [verdict.reason] == short.reasons
        assert [verdict.detail] == short.details
    elif not more and status in ("queued", "sent"):
        assert identity(name) is None or not isinstance(name, str | int)
