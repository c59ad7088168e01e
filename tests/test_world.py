"""The live path in a simulated world: whatever the weather, at most once, and reconciled in the end.

Half of the scenarios are here, the other half in test_world_odd.py (see scenarios.py). LOTWISE_ZOO=1 puts all
historical bugs back, one at a time, and not only those that are caught at once.
"""

import os
from collections import Counter

import pytest

from tests.scenarios import EVEN, lived_through, played
from world.__main__ import lines
from world.scenario import play
from world.zoo import MOST, ZOO, Bug, caught

WHOLE_ZOO = os.environ.get("LOTWISE_ZOO") == "1"
AT_ONCE = ("timeout means failed", "sent again on timeout", "written after sending", "nonce of a second")


@pytest.mark.parametrize("seed", EVEN)
def test_no_weather_breaks_an_invariant(seed: int) -> None:
    result = played(seed)
    assert result.violation is None, result.violation


def test_the_weather_is_bad_enough_to_prove_something(say: list[str]) -> None:
    total = lived_through(EVEN)
    met = {state for state, _ in total.transitions}
    assert {"intended", "sent", "open", "unknown"} <= met
    say += [f"world: {len(EVEN)} scenarios, {total.intents} intents, {total.crashes} crashes"]
    assert any("0 violations" in line for line in lines(total, len(EVEN), 0, 1.0))


def test_a_seed_gives_the_same_journal_to_the_last_bit() -> None:
    first, again = played(0), play(0)
    assert first.hash == again.hash and first.troubles == again.troubles
    assert first.transitions == again.transitions


def test_another_seed_gives_another_journal() -> None:
    hashes = Counter(played(seed).hash for seed in EVEN)
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
    before = played(0).hash
    bug = next(bug for bug in ZOO if bug.name == "nonce of a second")
    assert caught(bug, most=1) is not None
    assert play(0).hash == before
