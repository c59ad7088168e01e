"""`python -m world [SEEDS] [--from N]`: live through scenarios, and say what was covered and what broke."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable

from world.scenario import Result, play

SHOWN = 20
"""Violations that are shown in full."""

EVERY = 50
"""Scenarios between two lines of progress."""


def main(arguments: list[str]) -> int:
    """1 when a scenario broke an invariant, else 0."""
    asked = argparse.ArgumentParser(prog="python -m world", description=__doc__)
    asked.add_argument("seeds", type=int, nargs="?", default=300, help="how many scenarios (default 300)")
    asked.add_argument("--from", type=int, default=0, dest="first", help="the first seed (default 0)")
    told = asked.parse_args(arguments)
    total, broken, began = Result(told.first), 0, time.monotonic()
    for number in range(told.seeds):
        result = play(told.first + number)
        add(total, result)
        if result.violation is not None:
            broken += 1
            if broken <= SHOWN:
                print(f"VIOLATION {result.violation}", flush=True)
        if (number + 1) % EVERY == 0:
            print(f"{number + 1} scenarios, {broken} with a violation", flush=True)
    seconds = time.monotonic() - began
    print("\n".join(lines(total, told.seeds, broken, seconds)))
    return 1 if broken else 0


def add(total: Result, result: Result) -> None:
    """Sum up."""
    total.troubles += result.troubles
    total.transitions += result.transitions
    total.intents += result.intents
    total.fills += result.fills
    total.crashes += result.crashes
    total.mutating += result.mutating


def lines(total: Result, scenarios: int, broken: int, seconds: float) -> Iterable[str]:
    """The report."""
    speed = f"{seconds:.0f} s ({scenarios / seconds:.2f} a second)"
    yield f"{scenarios} scenarios in {speed}, {broken} violations"
    yield f"{total.intents} intents, {total.fills} fills, {total.crashes} crashes"
    yield f"{total.mutating} troubles with orders and cancels, {total.troubles.total()} in all:"
    yield from _table(total.troubles)
    yield "reports by the state that they met:"
    yield from _table(Counter({f"{state} + {report}": n for (state, report), n in total.transitions.items()}))


def _table(counts: Counter[str]) -> Iterable[str]:
    return (f"  {count:>9}  {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
