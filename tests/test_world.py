"""The live path in a simulated world: whatever the weather, at most once, and reconciled in the end.

LOTWISE_SCENARIOS is how many scenarios are lived through (12); LOTWISE_ZOO=1 puts all historical bugs back,
one at a time, and not only those that are caught at once.
"""

import os
from collections import Counter
from functools import cache

import pytest

from world.__main__ import add, lines
from world.scenario import LEAST_INTENTS, LEAST_MUTATING, Result, play
from world.zoo import MOST, ZOO, Bug, caught

SCENARIOS = int(os.environ.get("LOTWISE_SCENARIOS", "12"))
WHOLE_ZOO = os.environ.get("LOTWISE_ZOO") == "1"
AT_ONCE = ("timeout means failed", "sent again on timeout", "written after sending", "nonce of a second")

played = cache(play)


@pytest.mark.parametrize("seed", range(SCENARIOS))
def test_no_weather_breaks_an_invariant(seed: int) -> None:
    result = played(seed)
    assert result.violation is None, result.violation


def test_the_weather_is_bad_enough_to_prove_something(say: list[str]) -> None:
    total = Result(0)
    for seed in range(SCENARIOS):
        result = played(seed)
        stopped = result.troubles["act vanish"] > 0  # entries stop: fewer orders, fewer troubles with them
        enough = result.intents >= LEAST_INTENTS and result.mutating >= LEAST_MUTATING
        assert result.crashes >= 2 and (stopped or enough)
        add(total, result)
    met = {state for state, _ in total.transitions}
    assert {"intended", "sent", "open", "unknown"} <= met
    say += [f"world: {SCENARIOS} scenarios, {total.intents} intents, {total.crashes} crashes"]
    assert any("0 violations" in line for line in lines(total, SCENARIOS, 0, 1.0))


def test_a_seed_gives_the_same_journal_to_the_last_bit() -> None:
    first, again = played(0), play(0)
    assert first.hash == again.hash and first.troubles == again.troubles
    assert first.transitions == again.transitions


def test_another_seed_gives_another_journal() -> None:
    hashes = Counter(played(seed).hash for seed in range(SCENARIOS))
    assert max(hashes.values()) == 1


@pytest.mark.parametrize("bug", ZOO, ids=lambda bug: bug.name)
def test_a_bug_that_is_put_back_is_caught_by_an_invariant(bug: Bug) -> None:
    if not WHOLE_ZOO and bug.name not in AT_ONCE:
        pytest.skip("takes minutes: LOTWISE_ZOO=1 runs it")
    found = caught(bug)
    assert found is not None, f"{bug.name} gets through {MOST} scenarios"
    _, result = found
    assert result.violation is not None
    assert int(result.violation.name.partition(" ")[0]) in bug.caught_by, result.violation


def test_the_zoo_leaves_the_program_as_it_was() -> None:
    before = played(1).hash
    bug = next(bug for bug in ZOO if bug.name == "nonce of a second")
    assert caught(bug, most=1) is not None
    assert play(1).hash == before
