"""The sizing rule at scale: the compiled `choose_lots` beside an exhaustive walk over every lot.

`python -m benchmarks.sizing_check [CASES] [SEED]` judges 10,000,000 cases of small integers, drawn from
the seed so that limits and balances lie on and one quantum beside each other; exit code 1 and the first
failing case when any fails. The walk shares no code with the rule: it tries each number of lots by
itself, literally as docs/sizing.md tells it. Its products stay below 2^50, so 64 bits are exact.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numba
import numpy as np

from lotwise.domain.sizing import (
    ABOVE_MAX_QUANTITY,
    BALANCE,
    BELOW_FLOOR,
    BELOW_MIN_NOTIONAL,
    BELOW_MIN_QUANTITY,
    BOUNDS,
    CAP,
    CAP_BELOW_MINIMUM,
    CEILING_64,
    FEES_EXCEED_FREE,
    FRACTION,
    FRACTION_BELOW_MINIMUM,
    MAX_QUANTITY,
    MINIMUM,
    NO_FREE_BALANCE,
    REASONS,
    RISK,
    RISK_BELOW_MINIMUM,
    UNSELLABLE_AT_STOP,
    Purse,
    Terms,
    choose_lots,
)

CASES = 10_000_000
SEED = 1
FURTHEST = 64
"""The walk ends here; a case that it has not decided by then is not counted and another is drawn."""
UNDECIDED = -2
PPM = 10**6
OUTCOMES = (*BOUNDS, *REASONS)


Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(plain: Function) -> Function:
    """The function as machine code, of the same type."""
    njit: Any = numba.njit
    return cast(Function, njit(plain))


rule = compiled(choose_lots)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check saw. `on_a_bound`: sized cases where a rule holds with nothing to spare."""

    cases: int
    failures: int
    on_a_bound: int
    seconds: float
    outcomes: dict[str, int]
    first_failure: str | None

    @property
    def share_on_a_bound(self) -> float:
        return self.on_a_bound / max(1, self.cases)


# One number of lots, judged by itself.


@compiled
def up(number: int, step: int) -> int:
    return -(-number // step) * step


@compiled
def debit(terms: Terms, k: int) -> int:
    cost = terms.lot_cost * k
    paid = up(cost, terms.unit)
    if terms.fee_in_base == 0:
        # cost x fee rounded up to the unit, kept exact by rounding in millionths.
        paid += up(cost * terms.fee_ppm, PPM * terms.unit) // PPM
    return paid


@compiled
def sell(terms: Terms, k: int) -> int:
    if terms.fee_in_base == 0:
        return k
    return k - up(k * terms.fee_ppm, PPM) // PPM


@compiled
def sellable(terms: Terms, k: int) -> bool:
    lots = sell(terms, k)
    worth = terms.stop_lot_cost * lots
    return terms.stop_lot_cost > 0 and lots >= terms.exit_min_lots and worth >= terms.exit_min_cost


# The walk over all of them.


@compiled
def first_lots(terms: Terms) -> tuple[int, int, int, int, int]:
    """The first k that meets each of: minimum quantity, minimum notional, floor, sellable; and all
    of them at once. 0: none up to the furthest."""
    quantity = notional = floor = at_stop = together = 0
    for k in range(1, FURTHEST + 1):
        cost = terms.lot_cost * k
        enough, dear, high = k >= terms.min_lots, cost >= terms.min_cost, cost >= terms.floor_cost
        sold = sellable(terms, k)
        if enough and quantity == 0:
            quantity = k
        if dear and notional == 0:
            notional = k
        if high and floor == 0:
            floor = k
        if sold and at_stop == 0:
            at_stop = k
        if enough and dear and high and sold and together == 0:
            together = k
    return quantity, notional, floor, at_stop, together


@compiled
def reason(purse: Purse, terms: Terms) -> tuple[int, int]:
    """(why nothing can be ordered, the smallest allowed k or -1)."""
    quantity, notional, floor, _, least = first_lots(terms)
    if terms.stop_lot_cost == 0:
        return (NO_FREE_BALANCE if purse.free <= 0 else UNSELLABLE_AT_STOP), -1
    if least == 0:
        return UNDECIDED, -1
    if terms.max_lots >= 0 and least > terms.max_lots:
        return (NO_FREE_BALANCE if purse.free <= 0 else ABOVE_MAX_QUANTITY), -1
    cost = terms.lot_cost * least
    if purse.free <= 0:
        why = NO_FREE_BALANCE
    elif cost > purse.cap:
        why = CAP_BELOW_MINIMUM
    elif purse.risk >= 0 and cost > purse.risk:
        why = RISK_BELOW_MINIMUM
    elif cost <= purse.free and debit(terms, least) > purse.free:
        why = FEES_EXCEED_FREE
    elif debit(terms, least) <= purse.free:
        why = FRACTION_BELOW_MINIMUM
    elif quantity == least:
        why = BELOW_MIN_QUANTITY
    elif notional == least:
        why = BELOW_MIN_NOTIONAL
    elif floor == least:
        why = BELOW_FLOOR
    else:
        why = UNSELLABLE_AT_STOP
    return why, least


@compiled
def bound(purse: Purse, terms: Terms, more: int) -> int:
    """The first rule that this one lot more breaks."""
    cost = terms.lot_cost * more
    if terms.max_lots >= 0 and more > terms.max_lots:
        return MAX_QUANTITY
    if debit(terms, more) > purse.free:
        return BALANCE
    if cost > purse.cap:
        return CAP
    if purse.risk >= 0 and cost > purse.risk:
        return RISK
    return FRACTION


@compiled
def walk(purse: Purse, terms: Terms) -> tuple[int, int, int]:
    """(outcome, lots, smallest allowed lots or -1), by trying every k; UNDECIDED when 64 are too few."""
    why, least = reason(purse, terms)
    if why == UNDECIDED:
        return UNDECIDED, 0, -1
    hard = purse.cap if purse.risk < 0 else min(purse.cap, purse.risk)
    best = raised = 0
    for k in range(1, FURTHEST + 1):
        cost = terms.lot_cost * k
        allowed = (
            k >= terms.min_lots
            and cost >= max(terms.floor_cost, terms.min_cost)
            and (terms.max_lots < 0 or k <= terms.max_lots)
            and sellable(terms, k)
        )
        if purse.free <= 0 or not allowed or debit(terms, k) > purse.free or cost > hard:
            continue
        if raised == 0:
            raised = k
        if cost * purse.fraction_bottom <= purse.fraction_top * purse.free:
            best = k
    if best == FURTHEST:
        return UNDECIDED, 0, -1
    if best > 0:
        return bound(purse, terms, best + 1), best, least
    if raised > 0 and purse.raise_to_minimum == 1:
        return MINIMUM, raised, least
    return why, 0, least


@compiled
def needed(purse: Purse, terms: Terms, least: int) -> int:
    """The smallest balance in whole units that pays for so many lots; 0 when a hard limit forbids them."""
    cost = terms.lot_cost * least
    if least < 0 or cost > purse.cap or (purse.risk >= 0 and cost > purse.risk):
        return 0
    enough = debit(terms, least)
    if purse.raise_to_minimum == 0:
        share = up(cost * purse.fraction_bottom, purse.fraction_top) // purse.fraction_top
        enough = max(enough, share)
    return up(enough, terms.unit)


@compiled
def on_a_bound(purse: Purse, terms: Terms, k: int) -> bool:
    cost, sold = terms.lot_cost * k, sell(terms, k)
    return (
        debit(terms, k) == purse.free
        or cost in (purse.cap, purse.risk, max(terms.min_cost, terms.floor_cost))
        or cost * purse.fraction_bottom == purse.fraction_top * purse.free
        or k in (terms.min_lots, terms.max_lots)
        or sold == terms.exit_min_lots
        or terms.stop_lot_cost * sold == terms.exit_min_cost
    )


# Cases, and the loop over them.


@compiled
def draw_terms() -> Terms:
    dice = np.random.randint
    lot_cost = dice(1, 41)
    stop_lot_cost = 0 if dice(0, 60) == 0 else lot_cost - dice(0, max(1, lot_cost // 3))
    min_lots = max(1, dice(-4, 13))
    return Terms(
        lot_cost,
        stop_lot_cost,
        1 if dice(0, 3) == 0 else dice(1, 2 * lot_cost + 2),
        min_lots,
        dice(min_lots - 1, 45) if dice(0, 4) == 0 else -1,
        max(0, lot_cost * dice(0, 13) + dice(-1, 2)) if dice(0, 2) == 0 else 0,
        max(0, lot_cost * dice(0, 13) + dice(-1, 2)) if dice(0, 2) == 0 else 0,
        max(1, min_lots + dice(-2, 4)) if dice(0, 3) == 0 else min_lots,
        max(0, stop_lot_cost * dice(0, 13) + dice(-1, 2)) if dice(0, 2) == 0 else 0,
        0 if dice(0, 4) == 0 else dice(1, 500_000) // (1 if dice(0, 2) == 0 else 100),
        dice(0, 2),
    )


@compiled
def draw_purse(terms: Terms) -> Purse:
    dice = np.random.randint
    bottom = 20 if dice(0, 2) == 0 else dice(1, 41)
    top = 19 if bottom == 20 else dice(max(1, bottom // 3), bottom + 1)
    k = dice(1, 41)
    free = dice(-2, terms.lot_cost * 60)
    aim = dice(0, 6)
    if aim <= 1:
        free = debit(terms, k) + dice(-1, 2)
    elif aim == 2:
        free = terms.lot_cost * k * bottom // top + dice(-1, 2)
    purse = Purse(
        free,
        top,
        bottom,
        max(0, terms.lot_cost * dice(3, 61) + dice(-1, 2)),
        max(0, terms.lot_cost * dice(3, 61) + dice(-1, 2)) if dice(0, 4) == 0 else -1,
        dice(0, 2),
    )
    turn = needed(purse, terms, reason(purse, terms)[1])
    if aim == 3 and turn > 0:
        free = turn + dice(-1, 2) * (1 if dice(0, 2) == 0 else terms.unit)
    return Purse(free, top, bottom, purse.cap, purse.risk, purse.raise_to_minimum)


@compiled
def with_free(purse: Purse, free: int) -> Purse:
    return Purse(
        free, purse.fraction_top, purse.fraction_bottom, purse.cap, purse.risk, purse.raise_to_minimum
    )


@compiled
def holds(purse: Purse, terms: Terms, told: tuple[int, int, int]) -> bool:
    """Whether the rule answers as the walk told, and turns exactly at the balance it says is needed."""
    if rule(purse, terms, CEILING_64) != told:
        return False
    turn = needed(purse, terms, told[2])
    if turn == 0:
        return True
    enough = rule(with_free(purse, turn), terms, CEILING_64)[0]
    short = rule(with_free(purse, turn - terms.unit), terms, CEILING_64)[0]
    return 0 <= enough <= MINIMUM < short


@compiled
def campaign(cases: int, seed: int, outcomes: Any) -> tuple[int, int, Purse, Terms]:
    """(failures, cases on a bound, the first failing case or the last one); counts into `outcomes`."""
    np.random.seed(seed)
    failures = bounds = judged = 0
    terms = draw_terms()
    purse = draw_purse(terms)
    failed_purse, failed_terms = purse, terms
    for _ in range(2 * cases):
        told = walk(purse, terms)
        if told[0] != UNDECIDED:
            judged += 1
            outcomes[told[0]] += 1
            if told[0] <= MINIMUM and on_a_bound(purse, terms, told[1]):
                bounds += 1
            if not holds(purse, terms, told):
                failures += 1
                if failures == 1:
                    failed_purse, failed_terms = purse, terms
        if judged == cases:
            break
        terms = draw_terms()
        purse = draw_purse(terms)
    return failures, bounds, failed_purse, failed_terms


def check(cases: int, seed: int) -> CheckResult:
    """Judge that many cases (compiling first, about half a minute, not counted in the seconds)."""
    campaign(1, seed, np.zeros(len(OUTCOMES), np.int64))
    outcomes = np.zeros(len(OUTCOMES), np.int64)
    start = time.perf_counter()
    failures, bounds, purse, terms = campaign(cases, seed, outcomes)
    seconds = time.perf_counter() - start
    counts = dict(zip(map(str, OUTCOMES), map(int, outcomes), strict=True))
    failing = None
    if failures:
        told, said = walk(purse, terms), rule(purse, terms, CEILING_64)
        failing = f"{purse}\n{terms}\nthe walk: {told}\nthe rule: {said}"
    return CheckResult(sum(counts.values()), failures, bounds, seconds, counts, failing)


def main(arguments: list[str]) -> int:
    cases, seed = (*map(int, arguments), *(CASES, SEED)[len(arguments) :])
    result = check(cases, seed)
    print(
        f"sizing rule: {result.cases} cases, {result.failures} failures, "
        f"{result.share_on_a_bound:.1%} sized exactly on a bound, {result.seconds:.1f} s"
    )
    print(", ".join(f"{name} {count}" for name, count in result.outcomes.items()))
    if result.first_failure is not None:
        print(result.first_failure)
        return 1
    return 0 if result.cases == cases else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
