"""Requests that aim at the edges of the sizing rule: a few dozen lots, limits on and beside multiples
of one lot's cost, balances on and beside the ones where the answer should turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from random import Random

from lotwise import (
    Amount,
    FeeAsset,
    Liquidity,
    Market,
    Opportunity,
    Policy,
    Refused,
    Sized,
    size_order,
)
from tests.sizing_oracle import FineOracle, Oracle, question_of

PPM = 10**6
BALANCES = 5
"""How many balances each market, price and policy is asked with."""
WIDE = Context(prec=400, Emin=-10000, Emax=10000, traps=[Inexact])


@dataclass(frozen=True, slots=True)
class Case:
    """One request; `oracle` answers its question for any balance."""

    opportunity: Opportunity
    market: Market
    policy: Policy
    free: Fraction
    oracle: Oracle

    def ask(self, free: Fraction) -> Sized | Refused:
        return size_order(self.opportunity, self.market, Amount(decimal(free), "USDT"), self.policy)

    @property
    def spendable(self) -> Fraction:
        return self.free - self.oracle.question.reserve

    @property
    def size(self) -> int:
        """Smaller is easier to read."""
        return len(str(self))

    def __str__(self) -> str:
        return f"free={decimal(self.free)} {self.opportunity} {self.market} {self.policy}"


def decimal(number: Fraction) -> Decimal:
    """The fraction as a Decimal; raises Inexact when its digits do not end."""
    return WIDE.divide(Decimal(number.numerator), Decimal(number.denominator))


def ends(number: Fraction) -> bool:
    return 10**100 % number.denominator == 0


def draw_market(random: Random, tick: Decimal, lot: Decimal, lot_cost: Decimal) -> Market:
    fees = [0, 0, 1, 1600, 2500, 4000, 8000, 100_000, 333_333, random.randrange(PPM // 2)]
    least = max(1, random.randint(-3, 12)) + Decimal(random.choice(["0", "0", "0", "0.5", "0.999"]))
    most = None
    if random.random() < 0.25:
        most = least + Decimal(random.choice(["-0.5", "0", "0.5", "1", "5", "20", "40"]))
    precision = min(18, max(0, random.randint(-1, 3) - lot_cost.adjusted()))
    return Market(
        "COIN/USDT",
        tick_size=tick,
        lot_step=lot,
        min_quantity=least * lot,
        min_notional=near(random, lot_cost, precision, (0, 12)) if random.random() < 0.5 else Decimal(0),
        quote_precision=precision,
        maker_fee=Decimal(random.choice(fees)) / PPM,
        taker_fee=Decimal(random.choice(fees)) / PPM,
        max_quantity=None if most is None else most * lot,
        fee_asset=random.choice(list(FeeAsset)),
    )


def near(random: Random, lot_cost: Decimal, precision: int, lots: tuple[int, int]) -> Decimal:
    """An amount of quote on, just above or just below what some lots cost."""
    beside = Decimal(random.choice(["0", "0", "0", "1", "-1", "0.4", "-0.4"])).scaleb(-precision)
    return max(Decimal(0), lot_cost * random.randint(*lots) + beside)


def draw_policy(random: Random, lot_cost: Decimal, precision: int) -> Policy:
    stop = random.choice([0, 0, 20_000, 30_000, 100_000, 250_000, random.randrange(600_000)])
    if random.random() < 0.01:
        stop = PPM
    fractions = ["0.95", "0.95", "1", "0.5", "0.8", "0.4", "0.3333", "0.123456789", "0.05"]
    reserves = ["0", "0", "0", str(random.randint(1, 50)), "0.3", "2.7"]
    return Policy(
        cap=near(random, lot_cost, precision, (4, 60)) + lot_cost,
        fraction=Decimal(random.choice(fractions)),
        risk_target=near(random, lot_cost, precision, (5, 60)) + lot_cost if random.random() < 0.25 else None,
        floor=near(random, lot_cost, precision, (0, 12)) if random.random() < 0.5 else Decimal(0),
        reserve=Decimal(random.choice(reserves)).scaleb(-precision),
        stop=Decimal(stop) / PPM,
        exit_headroom=Decimal(random.choice(["1", "1", "1", "1.1", "1.5", "2", "0.5"])),
        raise_to_minimum=random.random() < 0.6,
    )


def draw_balances(random: Random, oracle: Oracle) -> list[Fraction]:
    """Balances on, a unit and less than a unit beside the ones where the answer should turn."""
    q = oracle.question
    least = oracle.least
    spots = [q.price * q.lot * random.randint(1, 6000) / 100]
    if least is not None:
        spots += [least.notional, least.debit, least.notional / 2, least.notional - q.unit]
    if oracle.needed is not None:
        spots += [needed := oracle.needed - q.reserve, needed - q.unit, needed + q.unit]
    for _ in range(6):
        some = oracle.attempt((least.k if least else 0) + random.randint(1, 40))
        spots += [some.debit, some.debit - q.unit, some.notional / q.fraction]
    apart = sorted({q.reserve + spot for spot in spots if ends(spot)})
    chosen = random.sample(apart, min(BALANCES, len(apart)))
    if random.random() < 0.15:
        chosen[0] = random.choice([q.reserve, Fraction(0)])
    dust = q.unit * Fraction(random.randint(1, 9), 10)
    return [max(Fraction(0), free + dust if random.random() < 0.15 else free) for free in chosen]


def draw_cases(random: Random) -> Iterator[Case]:
    """Endless; each market, price and policy is asked with a few balances."""
    while True:
        tick = Decimal(random.choice(["0.01", "0.05", "1", "0.1", "0.25", "0.00000001", "3"]))
        lot = Decimal(random.choice(["1", "0.1", "0.01", "0.5", "0.00001", "0.00000001", "25"]))
        price = tick * random.randint(1, random.choice([40, 2000]))
        market = draw_market(random, tick, lot, price * lot)
        policy = draw_policy(random, price * lot, market.quote_precision)
        opportunity = Opportunity("COIN/USDT", price, random.choice(list(Liquidity)))
        oracle = Oracle(question_of(opportunity, market, policy))
        for free in draw_balances(random, oracle):
            yield Case(opportunity, market, policy, free, oracle)


SHIB = ("0.00000001", "0.00001", "160000", "0.00001319")
SHIB_FINE = ("0.000000001", "0.00001", "160000", "0.000013187")
DOGE_USD = ("0.0000001", "0.00000001", "13", "0.1977123")
SOL = ("0.01", "0.00000001", "0.02", "150.12")
LISTED = {"SHIB": SHIB, "SHIB_FINE": SHIB_FINE, "DOGE_USD": DOGE_USD, "SOL": SOL}
"""Kraken's tick_size, lot_step and min_quantity of 2025 (SHIB's finer tick: 2026), and a price of then."""


def draw_listed_case(random: Random, name: str, digits: int = 8) -> Case:
    """A listed market with a balance from 10^-digits to 10^7, on a grid too fine to walk."""
    tick, lot, min_quantity, price = map(Decimal, LISTED[name])
    market = Market(
        "COIN/USDT",
        tick_size=tick,
        lot_step=lot,
        min_quantity=min_quantity * random.choice([1, 1, 3]),
        min_notional=Decimal(random.choice(["0", "0.5", "5"])),
        quote_precision=digits,
        maker_fee=Decimal(random.choice([0, 1600, 2500, 4000, 999])) / PPM,
        taker_fee=Decimal(random.choice([2600, 4000, 8000])) / PPM,
        max_quantity=random.choice([None, None, min_quantity * 1000]),
        fee_asset=random.choice(list(FeeAsset)),
    )
    policy = Policy(
        cap=Decimal(random.choice(["10", "25", "10000000", "10000000", "2.5"])),
        fraction=Decimal(random.choice(["0.95", "1", "1", "0.333333"])),
        risk_target=random.choice([None, None, Decimal("4.44444444"), Decimal("999")]),
        floor=Decimal(random.choice(["0", "2.5", "2.718"])),
        reserve=Decimal(random.choice(["0", "0", "0.1"])),
        stop=Decimal(random.choice([0, 20_000, 30_000, 123_457])) / PPM,
        exit_headroom=Decimal(random.choice(["1", "1.1"])),
        raise_to_minimum=random.random() < 0.6,
    )
    price += tick * random.randint(-500, 500)
    opportunity = Opportunity("COIN/USDT", price, random.choice(list(Liquidity)))
    oracle = FineOracle(question_of(opportunity, market, policy))
    free = Fraction(int(10 ** random.uniform(0, 7 + digits)), 10**digits)
    aim, short = random.random(), random.choice([0, 1]) * oracle.question.unit
    if aim < 0.3 and oracle.needed is not None:
        free = oracle.needed - short
    elif aim < 0.7:
        lots = max(1, free // (oracle.question.price * oracle.question.lot))
        free = oracle.question.reserve + oracle.attempt(lots).debit - short
    return Case(opportunity, market, policy, free, oracle)


def draw_extreme_case(random: Random) -> Case:
    """Every number anywhere between 10^-30 and 10^30."""

    def any_number(low: int = -30, high: int = 29) -> Decimal:
        power = random.randint(low, high)
        digits = str(random.randint(1, 10 ** random.randint(1, min(29, power + 30) + 1) - 1))
        return Decimal(f"{digits[0]}.{digits[1:]}e{power}")

    tick = any_number(-30, 10)
    most = 10 ** random.randint(1, 28 - tick.adjusted())
    price = WIDE.multiply(tick, Decimal(random.randint(1, most)))
    market = Market(
        "COIN/USDT",
        tick_size=tick,
        lot_step=any_number(-30, 10),
        min_quantity=any_number(),
        min_notional=any_number(),
        quote_precision=random.randint(0, 18),
        maker_fee=Decimal(random.randrange(PPM)) / PPM,
        taker_fee=Decimal(random.randrange(PPM)) / PPM,
        max_quantity=random.choice([None, any_number(10)]),
        fee_asset=random.choice(list(FeeAsset)),
    )
    policy = Policy(
        cap=any_number(0),
        fraction=any_number(-30, -1),
        risk_target=random.choice([None, any_number(10)]),
        floor=any_number(),
        reserve=any_number(-30, 20),
        stop=Decimal(random.randrange(PPM)) / PPM,
        exit_headroom=any_number(-3, 3),
        raise_to_minimum=random.random() < 0.6,
    )
    opportunity = Opportunity("COIN/USDT", price)
    oracle = FineOracle(question_of(opportunity, market, policy))
    free = Fraction(any_number(0))
    if oracle.needed is not None and random.random() < 0.5:
        free = oracle.needed - random.choice([0, 1]) * oracle.question.unit
    return Case(opportunity, market, policy, free, oracle)
