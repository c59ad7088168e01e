"""The scenarios of the simulated world that the suite lives through, in two halves: one for each worker.

LOTWISE_SCENARIOS is how many they are (300).
"""

import os
from functools import cache

from world.__main__ import add
from world.scenario import LEAST_INTENTS, LEAST_MUTATING, Result, play

SCENARIOS = int(os.environ.get("LOTWISE_SCENARIOS", "300"))
EVEN, ODD = range(0, SCENARIOS, 2), range(1, SCENARIOS, 2)

played = cache(play)


def lived_through(seeds: range) -> Result:
    """All of these together. Each has had what a scenario must have, or money was missing: then entries
    stop, and with them the troubles of orders."""
    total = Result(seeds.start)
    for seed in seeds:
        result = played(seed)
        enough = result.intents >= LEAST_INTENTS and result.mutating >= LEAST_MUTATING
        assert result.crashes >= 2 and (enough or result.troubles["act vanish"]), result
        add(total, result)
    return total
