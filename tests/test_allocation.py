"""Several wishes, one balance: by example, against an oracle that tries every plan where lots are coarse,
and against a ceiling where they are fine. LOTWISE_CASES sets how many (100000): a tenth of it here."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from random import Random
from typing import Any

import pytest

from lotwise import (
    Amount,
    FeeAsset,
    Liquidity,
    Market,
    Opportunity,
    Policy,
    Refused,
    Sized,
    amount,
    size_order,
)
from lotwise.domain.allocation import Candidate, Crowded, allocate
from lotwise.domain.sizing import Bound, Reason
from lotwise.domain.values import BadField
from tests.allocation_oracle import Best, Wish, best_plan, ceiling, spendable
from tests.sizing_cases import LISTED, PPM, decimal, draw_market, draw_policy
from tests.sizing_oracle import FineOracle, Oracle, Try, question_of

CASES = int(os.environ.get("LOTWISE_CASES", "100000")) // 10
Answer = Sized | Refused | Crowded

COIN = Market(
    "A/USDT",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.1"),
    min_quantity=Decimal(1),
    min_notional=Decimal("0.5"),
    quote_precision=4,
    maker_fee=Decimal(0),
    taker_fee=Decimal("0.01"),
)
"""At a price of 1.00 a lot costs 0.10 and the smallest order 1.00; as a maker without a fee."""
POLICY = Policy(cap=Decimal(10), fraction=Decimal(1))


def wish(
    name: str = "A", confidence: float = 0.5, price: str = "1.00", edge: str = "0.03", **to: Any
) -> Candidate:
    """A candidate on the pair `name`/USDT; `to` changes its market or its policy."""
    values = {key: Decimal(value) if isinstance(value, str) else value for key, value in to.items()}
    market: dict[str, Any] = {key: value for key, value in values.items() if hasattr(COIN, key)}
    policy: dict[str, Any] = {key: value for key, value in values.items() if hasattr(POLICY, key)}
    return Candidate(
        Opportunity(f"{name}/USDT", Decimal(price), confidence=confidence),
        replace(COIN, symbol=f"{name}/USDT", **market),
        replace(POLICY, **policy),
        Decimal(edge),
    )


def given(answers: Sequence[Answer]) -> list[str | None]:
    """The quantities, None where there is no order."""
    return [f"{answer.quantity:f}" if isinstance(answer, Sized) else None for answer in answers]


def shared(*wishes: Candidate, free: str, slots: int = 9) -> list[str | None]:
    return given(allocate(wishes, amount(f"{free} USDT"), slots))


# Who gets how much.


def test_when_all_fit_each_gets_the_size_it_gets_alone() -> None:
    wishes = [wish("A", cap="2"), wish("B", cap="3", price="2.00")]
    free = amount("5 USDT")
    assert allocate(wishes, free, 2) == tuple(
        size_order(w.opportunity, w.market, free, w.policy) for w in wishes
    )


def test_the_surer_wish_gets_all_and_the_other_is_told_who_took_it_and_what_it_lacks() -> None:
    both = [wish("A", 0.5, min_quantity="2"), wish("B", 0.7, cap="2")]
    answers = allocate(both, amount("2.5 USDT"), 2)
    assert given(answers) == [None, "2.0"]
    assert answers[0] == Crowded("A/USDT", by=("B/USDT",), needed=Decimal(2), short=Decimal("1.5"))


def test_the_greater_edge_counts_as_much_as_the_greater_confidence() -> None:
    assert shared(wish("A", 0.5, edge="0.03"), wish("B", 0.4, edge="0.05"), free="1") == [None, "1.0"]
    assert shared(wish("A", 0.5, edge="0.03"), wish("B", 0.4, edge="0.03"), free="1") == ["1.0", None]


def test_of_equal_wishes_the_earlier_is_served_first() -> None:
    assert shared(wish("B"), wish("A"), free="1.9") == ["1.9", None]
    assert shared(wish("A"), wish("B"), free="1.9") == ["1.9", None]


def test_a_confidence_differs_when_its_millionths_do() -> None:
    assert shared(wish("A", 0.5), wish("B", 0.500001), free="1") == [None, "1.0"]
    assert shared(wish("A", 0.5), wish("B", 0.5000009), free="1") == ["1.0", None]


def test_a_surer_wish_is_cut_when_that_lets_another_have_its_smallest_order() -> None:
    a, b = allocate([wish("A", 0.6, cap="2"), wish("B")], amount("2.5 USDT"), 2)
    assert given([a, b]) == ["1.5", "1.0"]
    assert isinstance(a, Sized) and a.bound is Bound.BALANCE
    assert isinstance(b, Sized) and b.bound is Bound.BALANCE


def test_it_is_not_cut_when_the_other_promises_less_than_what_is_cut() -> None:
    assert shared(wish("A", 0.9, cap="2"), wish("B", 0.3), free="2.5") == ["2.0", None]


def test_two_smaller_wishes_may_promise_more_than_the_surest() -> None:
    wishes = wish("A", 0.6, min_quantity="1.5", cap="1.5"), wish("B", cap="1"), wish("C", cap="1")
    assert shared(*wishes, free="2", slots=3) == [None, "1.0", "1.0"]
    assert shared(*wishes, free="2", slots=1) == ["1.5", None, None]
    assert shared(*wishes, free="1.6", slots=3) == ["1.5", None, None]


def test_more_wishes_than_slots_leave_the_rest_with_a_remedy_that_is_no_balance() -> None:
    answers = allocate([wish(name, cap="1") for name in "ABC"], amount("100 USDT"), 2)
    assert given(answers) == ["1.0", "1.0", None]
    assert answers[2] == Crowded("C/USDT", by=("A/USDT", "B/USDT"), needed=None, short=None)


def test_without_a_slot_nothing_is_ordered() -> None:
    assert allocate([wish("A")], amount("100 USDT"), 0) == (Crowded("A/USDT", (), None, None),)


def test_what_would_be_refused_alone_stays_refused_and_takes_nothing() -> None:
    dear = wish("A", 1.0, min_quantity="50")
    answers = allocate([dear, wish("B"), wish("C")], amount("1.5 USDT"), 3)
    assert answers[0] == size_order(dear.opportunity, dear.market, amount("1.5 USDT"), dear.policy)
    assert isinstance(answers[0], Refused) and answers[0].reason is Reason.CAP_BELOW_MINIMUM
    assert given(answers) == [None, "1.5", None]


def test_the_reserve_is_shared_by_nobody() -> None:
    wishes = [wish(name, reserve="3") for name in "AB"]
    answers = allocate(wishes, amount("4.5 USDT"), 2)
    assert given(answers) == ["1.5", None]
    assert answers[1] == Crowded("B/USDT", ("A/USDT",), needed=Decimal(4), short=Decimal(1))
    assert shared(*wishes, free="2") == [None, None]


def test_a_wish_without_profit_takes_only_what_no_other_can_use() -> None:
    assert shared(wish("A", edge="-0.01"), wish("B", 0.01), free="1.9") == [None, "1.9"]
    assert shared(wish("A", 0.0, cap="1"), wish("B", 0.01, cap="1"), free="2") == ["1.0", "1.0"]
    assert shared(wish("A", edge="0"), wish("B", edge="-0.01"), free="1.9") == ["1.9", None]


def test_fees_count_against_the_balance() -> None:
    both = [wish(name, taker_fee="0.01", maker_fee="0.01", cap="1") for name in "AB"]
    assert shared(*both, free="2.02") == ["1.0", "1.0"]
    assert shared(*both, free="2.0199") == ["1.0", None]


def test_markets_of_different_digits_share_one_balance_to_the_last_unit() -> None:
    fine: Any = {"tick_size": "0.00000001", "lot_step": "0.00001", "quote_precision": 10}
    fine["price"] = "0.00001319"
    wishes = [wish("A", 0.5, cap="1.83"), wish("SHIB", 0.4, min_quantity="160000", **fine)]
    answers = allocate(wishes, amount("4 USDT"), 2)
    assert given(answers) == ["1.8", "166793.02501"]
    debits = [answer.debit for answer in answers if isinstance(answer, Sized)]
    assert sum(debits) == Decimal("3.9999999999")


def test_the_original_account_places_one_order_and_says_what_the_others_lack() -> None:
    bases = ("SOL", "ADA", "DOGE", "SHIB", "MANA")
    prices = ("150.12", "0.72", "0.19", "0.01", "0.28")
    rules: Any = {
        "lot_step": "0.00000001",
        "min_quantity": "0.00000001",
        "quote_precision": 8,
        "floor": "2.50",
    }
    wishes = [
        wish(base, 0.8, price, fraction="0.95", **rules) for base, price in zip(bases, prices, strict=True)
    ]
    answers = allocate(wishes, amount("2.86 USDT"), 5)
    assert given(answers) == ["0.01809885", None, None, None, None]
    assert answers[4] == Crowded("MANA/USDT", ("SOL/USDT",), Decimal("2.50000001"), Decimal("2.35699938"))


def test_nothing_asked_nothing_answered() -> None:
    assert allocate([], amount("2.86 USDT"), 1) == ()


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ("confidence", {"confidence": float("nan")}),
        ("confidence", {"confidence": 1.01}),
        ("confidence", {"confidence": -0.01}),
        ("edge", {"edge": "NaN"}),
        ("edge", {"edge": "Infinity"}),
        ("price", {"price": "1.005"}),
    ],
)
def test_a_wish_that_cannot_be_is_told_which_field(field: str, problem: dict[str, Any]) -> None:
    with pytest.raises(BadField, match=f"^{field}: "):
        shared(wish(**problem), free="5")


def test_slots_reserves_and_assets_that_cannot_be_are_told() -> None:
    with pytest.raises(BadField, match=r"^slots: "):
        shared(wish(), free="5", slots=-1)
    with pytest.raises(BadField, match=r"^reserve: "):
        shared(wish("A", reserve="1"), wish("B", reserve="2"), free="5")
    with pytest.raises(BadField, match=r"^free: is in EUR"):
        allocate([wish()], amount("5 EUR"), 1)


# Against every plan, where lots are coarse.


@dataclass(frozen=True, slots=True)
class Case:
    """Some wishes of one moment, the balance and the slots; `wishes` are the oracle's."""

    candidates: tuple[Candidate, ...]
    wishes: tuple[Wish, ...]
    free: Fraction
    slots: int

    def ask(self, keep: Sequence[int] | None = None, slots: int | None = None) -> tuple[Answer, ...]:
        """The answers, or those to the kept candidates alone."""
        some = self.candidates if keep is None else [self.candidates[i] for i in keep]
        return allocate(some, Amount(decimal(self.free), "USDT"), self.slots if slots is None else slots)

    @property
    def best(self) -> Best:
        return best_plan(self.wishes, self.free, self.slots)

    @property
    def size(self) -> int:
        return len(str(self))

    def __str__(self) -> str:
        return f"free={decimal(self.free)} slots={self.slots}\n" + "\n".join(map(str, self.candidates))


def lots_of(case: Case, answers: Sequence[Answer]) -> tuple[int, ...]:
    quantities = [
        Fraction(answer.quantity) if isinstance(answer, Sized) else Fraction(0) for answer in answers
    ]
    return tuple(int(q / w.oracle.question.lot) for q, w in zip(quantities, case.wishes, strict=True))


def best_by_trying(case: Case, answers: Sequence[Answer]) -> bool:
    return lots_of(case, answers) == case.best.lots


def within_balance_and_slots(case: Case, answers: Sequence[Answer]) -> bool:
    orders = [answer for answer in answers if isinstance(answer, Sized)]
    debits = sum((Fraction(order.debit) for order in orders), Fraction(0))
    return len(orders) <= case.slots and debits <= max(Fraction(0), spendable(case.wishes, case.free))


def sound(case: Case, answers: Sequence[Answer]) -> bool:
    """Each order is one of the sizes that the rule allows, with that size's costs; what is not sized
    alone is refused as it is alone."""
    for candidate, one, answer in zip(case.candidates, case.wishes, answers, strict=True):
        sizes = {size.quantity: size for size in one.sizes(case.free)}
        alone = size_order(
            candidate.opportunity, candidate.market, Amount(decimal(case.free), "USDT"), candidate.policy
        )
        if isinstance(answer, Sized):
            size = sizes.get(Fraction(answer.quantity))
            cut = isinstance(alone, Sized) and answer.quantity < alone.quantity
            if size is None or not same_costs(answer, size):
                return False
            if answer.bound is not Bound.BALANCE if cut else answer != alone:
                return False
        elif isinstance(answer, Refused) != (not sizes) or (not sizes and answer != alone):
            return False
    return True


def same_costs(order: Sized, size: Try) -> bool:
    costs = (order.notional, order.fee, order.debit, order.received, order.exit_notional)
    return costs == (size.notional, size.fee, size.debit, size.received, size.exit_notional)


def alone_as_sized(case: Case, answers: Sequence[Answer]) -> bool:
    """A single candidate gets exactly what size_order gives."""
    free = Amount(decimal(case.free), "USDT")
    return all(
        case.ask([i], slots=1) == (size_order(c.opportunity, c.market, free, c.policy),)
        for i, c in enumerate(case.candidates)
    )


def equals_in_order(case: Case, answers: Sequence[Answer]) -> bool:
    """Of candidates that differ in name only, the earlier gets at least as much."""
    kinds = [(replace(c.market, symbol="A/USDT"), c.policy, c.edge, c.opportunity) for c in case.candidates]
    alike = [(m, p, e, o.price, o.liquidity, o.confidence) for m, p, e, o in kinds]
    lots = lots_of(case, answers)
    return all(lots[i] >= lots[j] for j in range(len(lots)) for i in range(j) if alike[i] == alike[j])


def the_empty_change_nothing(case: Case, answers: Sequence[Answer]) -> bool:
    """Dropping candidates that got nothing, one of them or all, leaves the other answers' orders."""
    orders = [i for i, answer in enumerate(answers) if isinstance(answer, Sized)]
    empty = [i for i in range(len(answers)) if i not in orders]
    for dropped in (empty, empty[:1], empty[-1:]):
        keep = [i for i in range(len(answers)) if i not in dropped]
        again = dict(zip(keep, case.ask(keep), strict=True))
        if any(again[i] != answers[i] for i in orders):
            return False
    return True


def the_remedy_is_exact(case: Case, answers: Sequence[Answer]) -> bool:
    """With the orders placed, a crowded wish is sized from `needed` on, and not with a unit less."""
    orders = [answer for answer in answers if isinstance(answer, Sized)]
    left = case.free - sum((Fraction(order.debit) for order in orders), Fraction(0))
    for candidate, answer in zip(case.candidates, answers, strict=True):
        if not isinstance(answer, Crowded):
            continue
        if answer.by != tuple(order.symbol for order in orders) or answer.symbol != candidate.market.symbol:
            return False
        if len(orders) == case.slots:
            if (answer.needed, answer.short) != (None, None):
                return False
            continue
        if answer.needed is None or answer.short is None or answer.needed - answer.short != left:
            return False
        market, policy, unit = candidate.market, candidate.policy, candidate.market.quote_unit
        enough = size_order(candidate.opportunity, market, Amount(answer.needed, "USDT"), policy)
        less = size_order(candidate.opportunity, market, Amount(answer.needed - unit, "USDT"), policy)
        if not (isinstance(enough, Sized) and isinstance(less, Refused) and answer.short > 0):
            return False
    return True


PROPERTIES = {
    law.__name__: law
    for law in (
        best_by_trying,
        within_balance_and_slots,
        sound,
        alone_as_sized,
        equals_in_order,
        the_empty_change_nothing,
        the_remedy_is_exact,
    )
}

FEW = {1: 20, 2: 20, 3: 15, 4: 12, 5: 8, 6: 6, 7: 5, 8: 4}
"""How many sizes a wish may have in a case of so many wishes; more wishes: two."""
MOST_PLANS = 30_000
CONFIDENCES = [0.0, 0.3, 0.5, 0.5, 0.8, 0.8, 0.800001, 1.0]
EDGES = ["0.03", "0.03", "0.03", "0.0421", "0.05", "0.0000015", "0", "-0.01"]


def draw_candidate(random: Random, name: str, reserve: Decimal, sizes: int) -> Candidate:
    """Any rules and policy of the sizing cases, one lot for about the same money, a few sizes."""
    tick = Decimal(random.choice(["0.01", "0.05", "1", "0.00000001"]))
    lot = Decimal(random.choice(["1", "0.1", "0.01", "0.5", "0.00001"]))
    price = max(1, int(Decimal(random.randint(30, 120)) / 100 / lot / tick)) * tick
    market = draw_market(random, tick, lot, price * lot)
    policy = draw_policy(random, price * lot, market.quote_precision)
    least = Oracle(question_of(Opportunity("COIN/USDT", price), market, policy)).least
    smallest = 1 if least is None else least.k
    cap = (
        price
        * lot
        * (smallest + random.randint(sizes // 2, sizes - 1) + Decimal(random.choice(["0", "0.3"])))
    )
    return Candidate(
        Opportunity(name, price, random.choice(list(Liquidity)), confidence=random.choice(CONFIDENCES)),
        replace(market, symbol=name, quote_precision=min(market.quote_precision, 6)),
        replace(policy, reserve=reserve, cap=cap),
        Decimal(random.choice(EDGES)),
    )


def draw_candidates(random: Random) -> tuple[Candidate, ...]:
    """One to twelve, some of them alike but for the name."""
    count = random.choice([1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12])
    reserve = Decimal(random.choice(["0", "0", "0.5", "0.37"]))
    some: list[Candidate] = []
    for number in range(count):
        name = f"C{number}/USDT"
        if some and random.random() < 0.3:
            twin = random.choice(some)
            some.append(
                replace(
                    twin,
                    opportunity=replace(twin.opportunity, symbol=name),
                    market=replace(twin.market, symbol=name),
                )
            )
        else:
            some.append(draw_candidate(random, name, reserve, FEW.get(count, 2)))
    return tuple(some)


def draw_cases(random: Random) -> Iterator[Case]:
    """Endless; each set of candidates with a few balances: such as some of them would just take."""
    while True:
        candidates = draw_candidates(random)
        count = len(candidates)
        oracles = [Oracle(question_of(c.opportunity, c.market, c.policy)) for c in candidates]
        wishes = tuple(
            Wish(oracle, c.opportunity.confidence, Fraction(c.edge))
            for oracle, c in zip(oracles, candidates, strict=True)
        )
        possible = [oracle for oracle in oracles if oracle.needed is not None]
        most = max(len(possible) - 1, min(len(possible), 1))
        for _ in range(5):
            some = random.sample(possible, min(most, random.choice([1, 2, 3, 4])))
            sizes = [
                one.attempt(one.least.k + random.choice([0, 0, 1, 2, 3, 5, 8])) for one in some if one.least
            ]
            unit = max(oracle.question.unit for oracle in oracles)
            free = sum((one.debit for one in sizes), oracles[0].question.reserve)
            free += unit * Fraction(random.choice([0, 0, 0, -2, 2, 1]), 2)
            case = Case(
                candidates, wishes, max(Fraction(0), free), random.choice([1, 2, 3, count, count, count])
            )
            if plans_at_most(case) <= MOST_PLANS:
                yield case


def plans_at_most(case: Case) -> int:
    """How many plans the smallest orders leave room for."""
    plans = [Fraction(0)]
    for one in case.wishes:
        sizes = one.sizes(case.free)
        if sizes:
            room = spendable(case.wishes, case.free) - sizes[0].debit
            plans += [debit + sizes[0].debit for debit in plans if debit <= room] * len(sizes)
        if len(plans) > MOST_PLANS:
            break
    return len(plans)


@dataclass
class Tally:
    """What a campaign saw, and the simplest failure of each property."""

    cases: int = 0
    crowded: int = 0
    cut: int = 0
    failures: dict[str, Case] = field(default_factory=dict)

    def judge(self, case: Case) -> None:
        answers = case.ask()
        self.cases += 1
        self.crowded += any(isinstance(answer, Crowded) for answer in answers)
        self.cut += any(isinstance(a, Sized) and a.bound is Bound.BALANCE for a in answers)
        for name, law in PROPERTIES.items():
            known = self.failures.get(name)
            if not law(case, answers) and (known is None or case.size < known.size):
                self.failures[name] = case


@pytest.fixture(scope="module")
def tally(say: list[str]) -> Tally:
    """All cases, once, for all properties."""
    seen = Tally()
    for case in islice(draw_cases(Random(3)), CASES):
        seen.judge(case)
    say.append(f"allocation: {seen.cases} cases, {seen.crowded} of them crowded, all plans tried")
    return seen


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_property_holds_in_every_coarse_case(tally: Tally, name: str) -> None:
    case = tally.failures.get(name)
    assert case is None, f"{case}\n{case.ask()}\noracle: {case.best}"


def test_most_cases_have_too_little_for_all_and_many_cut_an_order(tally: Tally) -> None:
    assert tally.cases == CASES
    assert tally.crowded > 0.5 * tally.cases
    assert tally.cut > 0.1 * tally.cases


# Against a ceiling, where lots are fine.


def draw_listed(random: Random, number: int) -> Candidate:
    """A listed market, at a price of then or one a hundred times as high."""
    tick, lot, least, price = map(Decimal, LISTED[random.choice(list(LISTED))])
    times = random.choice([1, 1, 1, 100])
    name = f"C{number}/USDT"
    market = Market(
        name,
        tick_size=tick,
        lot_step=lot,
        min_quantity=least * random.choice([1, 1, 2]) / times,
        min_notional=Decimal("0.5"),
        quote_precision=random.choice([5, 8, 8]),
        maker_fee=Decimal(random.choice([0, 2500, 4000])) / PPM,
        taker_fee=Decimal("0.004"),
        fee_asset=random.choice(list(FeeAsset)),
    )
    policy = Policy(
        cap=Decimal(random.choice(["10", "25", "1000"])),
        fraction=Decimal(random.choice(["0.95", "0.95", "0.3"])),
        floor=Decimal("2.5"),
    )
    opportunity = Opportunity(name, price * times, confidence=random.choice([0.5, 0.8, random.random()]))
    return Candidate(opportunity, market, policy, Decimal(random.choice(["0.03", "0.0421"])))


def draw_listed_case(random: Random, wishes: int) -> Case:
    """Some listed markets and a balance of a few of their minimums."""
    some = tuple(draw_listed(random, number) for number in range(wishes))
    oracles = [FineOracle(question_of(c.opportunity, c.market, c.policy)) for c in some]
    asked = tuple(
        Wish(oracle, c.opportunity.confidence, Fraction(c.edge))
        for oracle, c in zip(oracles, some, strict=True)
    )
    free = Fraction(int(10 ** random.uniform(8.4, 10)), 10**8)
    return Case(some, asked, free, random.choice([2, wishes, wishes]))


def worth_of(case: Case, answers: Sequence[Answer]) -> Fraction:
    orders = zip(case.wishes, answers, strict=True)
    return sum((one.promise * Fraction(a.notional) for one, a in orders if isinstance(a, Sized)), Fraction(0))


def may_miss(case: Case) -> Fraction:
    """What one lot of one wish, and two quote units for each wish, promise."""
    rules = [one.oracle.question for one in case.wishes]
    units = 2 * len(rules) * max(rule.unit for rule in rules)
    return max(
        w.promise * (rule.price * rule.lot + units) for w, rule in zip(case.wishes, rules, strict=True)
    )


def test_with_fine_lots_no_plan_at_all_is_worth_noticeably_more() -> None:
    random = Random(4)
    crowded = 0
    for _ in range(60):
        case = draw_listed_case(random, random.choice([2, 3, 4, 5, 6]))
        answers = case.ask()
        crowded += any(isinstance(answer, Crowded) for answer in answers)
        assert within_balance_and_slots(case, answers), str(case)
        assert alone_as_sized(case, answers) and the_remedy_is_exact(case, answers), str(case)
        for one, answer in zip(case.wishes, answers, strict=True):
            sizes = one.sizes(case.free)
            if isinstance(answer, Sized):
                assert sizes[0].quantity <= answer.quantity <= sizes[-1].quantity, str(case)
                size = one.oracle.attempt(int(Fraction(answer.quantity) / one.oracle.question.lot))
                assert same_costs(answer, size), str(case)
        best = ceiling(case.wishes, case.free, case.slots)
        assert worth_of(case, answers) >= best * Fraction(PPM - 1, PPM) - may_miss(case), str(case)
    assert crowded > 30


def test_a_crumb_of_a_lot_does_not_decide_between_equals() -> None:
    """Either lot is far below a millionth of the order; SHIB's would fill the share more closely."""
    share: Any = {"fraction": "0.95", "min_quantity": "1", "floor": "2.50", "quote_precision": 10}
    doge = wish("DOGE", price="0.19771", tick_size="0.00001", lot_step="0.00000001", **share)
    shib = wish("SHIB", price="0.00001319", tick_size="0.00000001", lot_step="0.00001", **share)
    assert shared(doge, shib, free="2.86") == ["13.74234990", None]
    assert shared(shib, doge, free="2.86") == ["205989.38589", None]


def test_with_fine_lots_too_what_is_worth_next_to_nothing_gets_what_nobody_else_can_use() -> None:
    fine: Any = {"lot_step": "0.00000001", "quote_precision": 8, "cap": "1.1"}
    wishes = wish("A", edge="0", **fine), wish("B", edge="0", **fine), wish("C", **fine)
    assert shared(*wishes, free="2.5") == ["1.10000000", None, "1.10000000"]
    assert shared(*wishes, free="2.15") == ["1.05000000", None, "1.10000000"]


def test_of_many_wishes_that_cannot_be_cut_a_good_plan_is_found_in_bounded_steps() -> None:
    """Forty orders of 4 or 6 and 51 to spend: no plan takes more than 50, and no search proves it soon."""
    fine: Any = {"lot_step": "0.00000001", "quote_precision": 8}
    sizes = ["4", "6"] * 20
    wishes = [wish(f"C{i}", min_quantity=size, cap=size, **fine) for i, size in enumerate(sizes)]
    answers = allocate(wishes, amount("51 USDT"), 40)
    assert sum(answer.debit for answer in answers if isinstance(answer, Sized)) == 50
