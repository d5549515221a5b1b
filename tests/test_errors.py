"""Errors that a nursery has grouped come out alone, with all that they had."""

import pytest
import trio

from engine.errors import EngineError, RunError, ungrouped


async def test_what_failed_first_comes_out_alone() -> None:
    """With its cause, and without the group: whoever follows causes comes to an end."""

    async def fail() -> None:
        raise RunError("the run") from OSError("the disk")

    async def work() -> None:
        with ungrouped(EngineError):
            async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                outer.start_soon(trio.sleep_forever)

    with pytest.raises(RunError) as found:
        await work()
    assert str(found.value.__cause__) == "the disk"
    assert found.value.__context__ is None


async def test_a_group_of_several_kinds_stays_one() -> None:
    """Nothing is lost of it."""
    group = BaseExceptionGroup("", [RunError("ours"), KeyboardInterrupt()])
    with pytest.raises(BaseExceptionGroup) as found, ungrouped(EngineError):
        raise group
    assert found.value is group


def test_an_error_that_is_alone_stays_as_it_is() -> None:
    """Of whatever kind."""
    with pytest.raises(KeyError), ungrouped(EngineError):
        raise KeyError
