"""The other half of the scenarios of test_world.py, so that two workers share them."""

import pytest

from tests.scenarios import ODD, lived_through, played


@pytest.mark.parametrize("seed", ODD)
def test_no_weather_breaks_an_invariant(seed: int) -> None:
    result = played(seed)
    assert result.violation is None, result.violation


def test_the_weather_is_bad_enough_to_prove_something(say: list[str]) -> None:
    total = lived_through(ODD)
    say += [f"world: {len(ODD)} more scenarios, {total.intents} intents, {total.crashes} crashes"]
