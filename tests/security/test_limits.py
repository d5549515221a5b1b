"""S4: what no count foresees is ended by the kernel, not waited for."""

import multiprocessing
import signal

from engine.proof import limits


def _go_round_for_ever() -> None:
    limits.SECONDS = 0.2  # type: ignore[misc]
    limits.TimedTrail().begin(0)
    while True:
        pass


def _take_all_memory() -> None:
    limits.hold_memory()
    try:
        bytearray(limits.MEMORY)
    except MemoryError:
        raise SystemExit(7) from None


def _exit_code(work: object) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=work)  # type: ignore[arg-type]
    process.start()
    process.join(30)
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def test_a_process_that_stays_in_a_row_is_ended() -> None:
    """By the kernel, whatever it is doing."""
    assert -signal.SIGPROF == _exit_code(_go_round_for_ever)


def test_a_process_gets_no_more_memory_than_is_reasonable() -> None:
    """Who asks for more is refused, and the row fails."""
    assert 7 == _exit_code(_take_all_memory)
