"""The four properties of the sizing rule, over cases that aim at its edges, against an oracle that
tries every quantity. LOTWISE_CASES sets how many (100000)."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lotwise import Bound, FeeAsset, Reason, Refused, Sized
from lotwise.domain.sizing import (
    CEILING_64,
    MINIMUM,
    OVERFLOW,
    UNBOUNDED,
    Purse,
    Terms,
    choose_lots,
)
from tests.sizing_cases import (
    LISTED,
    PPM,
    Case,
    draw_cases,
    draw_extreme_case,
    draw_listed_case,
)
from tests.sizing_oracle import told

CASES = int(os.environ.get("LOTWISE_CASES", "100000"))
BATCH = 50
WIDEST_64 = 2**63 - 1

# The properties, each of one case and its answer.


def agrees(case: Case, answer: Sized | Refused) -> bool:
    """Every field is the oracle's."""
    return told(answer) == case.oracle.answer(case.free) and answer.symbol == "COIN/USDT"


def sound(case: Case, answer: Sized | Refused) -> bool:
    """What is sized is allowed, affordable, within the hard limit, and on the grid of lots."""
    if isinstance(answer, Refused):
        return True
    q = case.oracle.question
    one = case.oracle.attempt(int(Fraction(answer.quantity) / q.lot))
    limit = q.hard_limit
    if answer.bound is not Bound.MINIMUM:
        limit = min(limit, q.fraction * case.spendable)
    return (
        one.allowed
        and one.quantity == answer.quantity
        and one.debit == answer.debit <= case.spendable
        and one.notional == answer.notional <= limit
    )


def complete(case: Case, answer: Sized | Refused) -> bool:
    """Where it is refused, each quantity is forbidden, too dear, or beyond the policy."""
    if isinstance(answer, Sized):
        return True
    q = case.oracle.question
    limit = q.hard_limit if q.raise_to_minimum else min(q.hard_limit, q.fraction * case.spendable)
    return not any(one.notional <= limit for one in case.oracle.possible(case.spendable))


def optimal(case: Case, answer: Sized | Refused) -> bool:
    """No larger quantity would do within the share; where it was raised, no smaller one."""
    if isinstance(answer, Refused):
        return True
    q = case.oracle.question
    target = min(q.hard_limit, q.fraction * case.spendable)
    possible = case.oracle.possible(case.spendable)
    within = [one.quantity for one in possible if one.notional <= target]
    if answer.bound is Bound.MINIMUM:
        return not within and possible[0].quantity == answer.quantity
    return max(within) == answer.quantity


def needed_is_exact(case: Case, answer: Sized | Refused) -> bool:
    """Asked again: `needed` is sized, one unit less is refused with the same `needed`."""
    if isinstance(answer, Sized) or answer.needed is None:
        return True
    needed = Fraction(answer.needed)
    less = case.ask(needed - case.oracle.question.unit)
    return (
        isinstance(case.ask(needed), Sized)
        and isinstance(less, Refused)
        and less.needed == needed
        and less.short == case.oracle.question.unit
        and answer.short == needed - case.free > 0
    )


def monotone(case: Case, answer: Sized | Refused) -> bool:
    """More balance never turns an order into a refusal and never shrinks it."""
    if isinstance(answer, Refused):
        return True
    q = case.oracle.question
    extra = (q.unit / 10, q.unit, q.price * q.lot, 7 * q.price * q.lot)[case.free.numerator % 4]
    more = case.ask(case.free + extra)
    return isinstance(more, Sized) and more.quantity >= answer.quantity


def dust_does_not_decide(case: Case, answer: Sized | Refused) -> bool:
    """A balance finer than the quote unit is answered as without that dust, and never with more than
    the next whole unit would be. (A share of it may be finer than a unit: then it may decide.)"""
    q = case.oracle.question
    whole = case.free // q.unit * q.unit
    if case.free == whole or q.reserve % q.unit or not q.raise_to_minimum:
        return True
    match answer, case.ask(whole), case.ask(whole + q.unit):
        case Sized() as dusty, Sized() as less, Sized() as more:
            return less.quantity <= dusty.quantity <= more.quantity
        case Refused() as dusty, Refused() as less, _:
            return dusty.needed == less.needed
    return False


PROPERTIES = {
    law.__name__: law
    for law in (agrees, sound, complete, optimal, needed_is_exact, monotone, dust_does_not_decide)
}


@dataclass
class Tally:
    """What a campaign saw: outcomes by fee asset, cases on a bound, and the simplest failures."""

    cases: int = 0
    on_a_bound: int = 0
    finer_than_a_unit: int = 0
    outcomes: Counter[tuple[FeeAsset, str]] = field(default_factory=Counter)
    failures: dict[str, Case] = field(default_factory=dict)

    def judge(self, case: Case) -> None:
        answer = case.ask(case.free)
        self.cases += 1
        self.finer_than_a_unit += case.free % case.oracle.question.unit != 0
        outcome = answer.bound.value if isinstance(answer, Sized) else answer.reason.value
        self.outcomes[case.market.fee_asset, outcome] += 1
        if isinstance(answer, Sized):
            lots = int(Fraction(answer.quantity) / case.oracle.question.lot)
            self.on_a_bound += case.oracle.on_a_bound(case.oracle.attempt(lots), case.free)
        for name, law in PROPERTIES.items():
            known = self.failures.get(name)
            if not law(case, answer) and (known is None or case.size < known.size):
                self.failures[name] = case

    def share_on_a_bound(self) -> float:
        return self.on_a_bound / self.cases


@pytest.fixture(scope="module")
def tally(say: list[str]) -> Tally:
    """All cases, once, for all properties."""
    seen = Tally()

    @settings(
        max_examples=max(1, CASES // BATCH),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
    )
    @given(seed=st.integers(0, 2**64 - 1))
    def campaign(seed: int) -> None:
        for case in islice(draw_cases(Random(seed)), BATCH):
            seen.judge(case)

    campaign()
    say.append(f"sizing: {seen.cases} cases, {seen.share_on_a_bound():.1%} sized exactly on a bound")
    return seen


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_property_holds_in_every_case(tally: Tally, name: str) -> None:
    case = tally.failures.get(name)
    assert case is None, f"{case}\n{case.ask(case.free)}\noracle: {case.oracle.answer(case.free)}"


def test_all_the_cases_were_judged_and_enough_sit_exactly_on_a_bound(tally: Tally) -> None:
    assert tally.cases >= CASES // BATCH * BATCH
    assert tally.share_on_a_bound() > 0.10
    assert tally.finer_than_a_unit > 0.05 * tally.cases


@pytest.mark.parametrize("asset", FeeAsset)
def test_every_bound_and_reason_is_met_with_fees_in_either_asset(tally: Tally, asset: FeeAsset) -> None:
    met = {outcome for fee_asset, outcome in tally.outcomes if fee_asset is asset}
    assert met == {*map(str, Bound), *map(str, Reason)}


@pytest.mark.parametrize("name", LISTED)
def test_agrees_with_the_oracle_at_the_steps_of_listed_markets(name: str) -> None:
    random = Random(name)
    for _ in range(120):
        case = draw_listed_case(random, name)
        answer = case.ask(case.free)
        assert agrees(case, answer) and needed_is_exact(case, answer), str(case)


def test_the_public_call_answers_at_every_magnitude() -> None:
    random = Random(30)
    outcomes = set()
    for _ in range(150):
        case = draw_extreme_case(random)
        answer = case.ask(case.free)
        outcomes.add(type(answer))
        assert agrees(case, answer) and needed_is_exact(case, answer), str(case)
    assert outcomes == {Sized, Refused}


# The same function for Python's integers and for a compiler's.


def in_integers(case: Case) -> tuple[Purse, Terms]:
    """The case in quanta and lots, as the public call would put it: its balance is on the unit's grid."""
    q = case.oracle.question
    digits = max(case.market.quote_precision, 0)
    while (q.tick * q.lot * 10**digits).denominator > 1:
        digits += 1
    quanta = 10**digits
    purse = Purse(
        free=int(case.spendable * quanta),
        fraction_top=q.fraction.numerator,
        fraction_bottom=q.fraction.denominator,
        cap=q.cap * quanta // 1,
        risk=-1 if q.risk is None else q.risk * quanta // 1,
        raise_to_minimum=int(q.raise_to_minimum),
    )
    terms = Terms(
        lot_cost=int(q.price * q.lot * quanta),
        stop_lot_cost=int(q.stop_price * q.lot * quanta),
        unit=int(q.unit * quanta),
        min_lots=-(-q.min_quantity // q.lot),
        max_lots=-1 if q.max_quantity is None else q.max_quantity // q.lot,
        min_cost=-(-q.min_notional * quanta // 1),
        floor_cost=-(-q.floor * quanta // 1),
        exit_min_lots=-(-q.headroom * q.min_quantity // q.lot),
        exit_min_cost=-(-q.headroom * q.min_notional * quanta // 1),
        fee_ppm=int(q.fee_rate * PPM),
        fee_in_base=int(q.fee_in_base),
    )
    return purse, terms


class In64(int):
    """An integer whose every result must stay within the ceiling for 64 bits."""

    @classmethod
    def held(cls, name: str) -> Callable[..., "In64"]:
        def operate(*operands: int) -> "In64":
            result = getattr(int, name)(*operands)
            assert abs(result) <= CEILING_64, f"{name}{operands} passes the ceiling"
            return cls(result)

        return operate


for _operator in ("add", "sub", "mul", "floordiv", "mod"):
    setattr(In64, f"__{_operator}__", In64.held(f"__{_operator}__"))
    setattr(In64, f"__r{_operator}__", In64.held(f"__r{_operator}__"))
setattr(In64, "__neg__", In64.held("__neg__"))  # noqa: B010


def draw_wide(random: Random) -> tuple[Purse, Terms]:
    """Any legal input of 64 bits, each number of its own magnitude."""

    def up_to(most: int, least: int = 0) -> int:
        return max(least, int(2 ** random.uniform(0, most.bit_length() - 1)) - 1)

    def limit() -> int:
        return -1 if random.random() < 0.5 else up_to(WIDEST_64)

    bottom = random.choice([20, 100, up_to(2**34, 1)])
    lot_cost = up_to(2**40, 1)
    purse = Purse(
        -up_to(2**60) if random.random() < 0.1 else up_to(WIDEST_64),
        random.randint(1, bottom),
        bottom,
        up_to(WIDEST_64),
        limit(),
        random.randint(0, 1),
    )
    terms = Terms(
        lot_cost=lot_cost,
        stop_lot_cost=lot_cost * random.randint(0, 10) // 10,
        unit=10 ** random.randint(0, 10),
        min_lots=up_to(2**50, 1),
        max_lots=limit(),
        min_cost=up_to(2**61),
        floor_cost=up_to(2**61),
        exit_min_lots=up_to(WIDEST_64, 1),
        exit_min_cost=up_to(2**61),
        fee_ppm=random.choice([0, 1, 4000, random.randrange(PPM), PPM - 1]),
        fee_in_base=random.randint(0, 1),
    )
    return purse, terms


def agree_under_the_ceiling(answer: tuple[int, int, int], purse: Purse, terms: Terms) -> bool:
    """Whether it is the unbounded answer or none at all; lots are told only where there is an order."""
    if answer[0] == OVERFLOW:
        return answer == (OVERFLOW, 0, -1)
    told_lots = (answer[1] > 0) == (answer[0] <= MINIMUM)
    return told_lots and answer == choose_lots(purse, terms, UNBOUNDED)


def test_no_step_of_the_rule_passes_its_ceiling() -> None:
    random = Random(64)
    outcomes: Counter[int] = Counter()
    for _ in range(10_000):
        purse, terms = draw_wide(random)
        held = choose_lots(Purse._make(map(In64, purse)), Terms._make(map(In64, terms)), In64(CEILING_64))
        outcomes[held[0]] += 1
        assert agree_under_the_ceiling(held, purse, terms), (purse, terms)
    assert 1000 < outcomes[OVERFLOW] < 9000, outcomes


@pytest.fixture(scope="module")
def compiled() -> Callable[[Purse, Terms, int], tuple[int, int, int]]:
    numba: Any = pytest.importorskip("numba", reason="numba (the research extra) is not installed")
    rule: Callable[[Purse, Terms, int], tuple[int, int, int]] = numba.njit(choose_lots)
    return rule


def test_plain_and_compiled_agree_on_any_numbers_of_64_bits(
    compiled: Callable[[Purse, Terms, int], tuple[int, int, int]],
) -> None:
    random = Random(63)
    for _ in range(10_000):
        purse, terms = draw_wide(random)
        assert compiled(purse, terms, CEILING_64) == choose_lots(purse, terms, CEILING_64), (purse, terms)


@pytest.mark.parametrize("name", LISTED)
def test_plain_and_compiled_agree_overflow_included(
    name: str, compiled: Callable[[Purse, Terms, int], tuple[int, int, int]]
) -> None:
    random = Random(name)
    outcomes: Counter[int] = Counter()
    for number in range(3000):
        if number % 20 == 0:
            purse, terms = in_integers(draw_listed_case(random, name))
            money = terms.unit * 10**8
        else:
            purse = purse._replace(free=int(money * 10 ** random.uniform(-8, 7)))
        plain = choose_lots(purse, terms, CEILING_64)
        outcomes[plain[0]] += 1
        assert agree_under_the_ceiling(plain, purse, terms), (purse, terms)
        if max(*purse, *terms) <= WIDEST_64:
            assert compiled(purse, terms, CEILING_64) == plain, (purse, terms)
        else:
            assert plain[0] == OVERFLOW, "what no 64-bit integer holds cannot be answered in 64 bits"
    assert outcomes.total() - outcomes[OVERFLOW] > 1000 and len(outcomes) > 10, outcomes
    assert outcomes[OVERFLOW] > 100 or name == "SOL", "only SOL's steps are coarse enough for 10^7 USDT"
