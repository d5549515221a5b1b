"""A simulation is worth what it finds: each of these mistakes, and soon."""

import pytest
from simulation.many import command, replay
from simulation.mutants import MUTANTS
from simulation.play import play
from simulation.scenario import draw

#: Seeds in which a mistake has to show. Most show in the first thirty.
ENOUGH = 100
#: From where to look for one that takes a rare kill to show.
FROM = {"half_a_volley": 300}
#: The promises by which each mistake is to be seen, one of them at least.
BREAKS = {
    "checkpoint_at_fetch": {"I1", "I7"},
    "no_intent": {"I2", "I3"},
    "unsynced_intent": {"I2", "I3"},
    "half_a_volley": {"I2", "I3"},
    "unsynced_journal": {"I2", "I3"},
    "new_key_per_attempt": {"I2", "I3"},
    "resend_after_key_expiry": {"I2", "I3"},
    "blind_retry_of_timeouts": {"I2", "I3"},
    "timeout_recorded_as_failed": {"I3"},
    "doubt_forgotten": {"I3"},
    "limiter_full_after_restart": {"I5"},
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mistake_of_protocol_is_found(mutant: str) -> None:
    """Within a hundred seeds the mistake breaks a promise, and the seed shows it."""
    first = FROM.get(mutant, 0)
    for seed in range(first, first + ENOUGH):
        violations = play(draw(seed), MUTANTS[mutant]).violations
        if BREAKS[mutant] & {violation.split()[0] for violation in violations}:
            break
    else:
        pytest.fail(f"{mutant}: not seen in {ENOUGH} seeds")
    world = ["--seed", str(seed), "--mutant", mutant]
    assert violations == replay(world).violations, command(world)
