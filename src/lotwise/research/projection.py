"""What a plan of like trades would leave, before and after fees, in exact numbers.

Laws: each trade is sized by the rule itself; every rounding is against us; a refused trade ends the
plan, because nothing that comes after it would change the balance.

The market is an abstract one, so that only the plan and the fees speak: the price is 1 at entry, a
lot is 10^-8, costs are booked in 10^-8 of the quote asset, the plan's minimum is the one floor.
"""

from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import PPM, Market, ppm
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import Reason, Refused, size_order
from lotwise.domain.values import EXACT, Amount, is_multiple, ratio_up, require, steps_down

DIGITS = 8
UNIT = Decimal(1).scaleb(-DIGITS)
"""One quote unit, and one lot."""

MAX_TRADES = 10_000
MAX_PATHS = 10_000_000
MAX_GAIN = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Plan:
    """So many trades, one after the other, each of which gains the same on what it puts to work.

    Money in the quote asset; gain is a fraction of a trade's cost, before fees; fraction, cap and
    minimum as in the sizing policy (its floor). Fractions are in whole ppm. Raises BadField.
    """

    balance: Decimal
    trades: int
    gain: Decimal
    fraction: Decimal = Decimal("0.95")
    cap: Decimal = Decimal(10)
    minimum: Decimal = Decimal("2.50")

    def __post_init__(self) -> None:
        require(self.balance > 0, "balance", "must be above 0")
        require(is_multiple(self.balance, UNIT), "balance", f"must have at most {DIGITS} decimals")
        require(0 < self.trades <= MAX_TRADES, "trades", f"must be from 1 to {MAX_TRADES}")
        require(-1 < self.gain <= MAX_GAIN, "gain", f"must be a fraction above -1, at most {MAX_GAIN}")
        require(0 < self.fraction <= 1, "fraction", "must be above 0 and at most 1")
        require(self.cap > 0, "cap", "must be above 0")
        require(self.minimum >= 0, "minimum", "must not be below 0")
        for name in ("gain", "fraction"):
            ppm(getattr(self, name), name)


@dataclass(frozen=True, slots=True)
class Odds:
    """How often a trade wins the plan's gain, and the fraction of its cost that it loses otherwise;
    how many paths to draw, and from which seed. Raises BadField."""

    win_rate: Decimal
    loss: Decimal
    paths: int = 100_000
    seed: int = 1

    def __post_init__(self) -> None:
        require(0 <= self.win_rate <= 1, "win_rate", "must be a fraction from 0 to 1")
        require(0 <= self.loss < 1, "loss", "must be a fraction from 0 to below 1")
        ppm(self.loss, "loss")
        require(0 < self.paths <= MAX_PATHS, "paths", f"must be from 1 to {MAX_PATHS}")
        require(0 <= self.seed < 1 << 64, "seed", "must be from 0 to below 2^64")


@dataclass(frozen=True, slots=True)
class LockOut:
    """The first trade that is refused, why, and the smallest balance that would do (None: none)."""

    trade: int
    reason: Reason
    needed: Decimal | None


@dataclass(frozen=True, slots=True)
class Course:
    """What the plan leaves when every trade gains: growth is profit / balance, rounded down to a ppm."""

    final: Decimal
    profit: Decimal
    growth: Decimal
    lock_out: LockOut | None


def money(units: int) -> Decimal:
    """So many quote units as an amount of the quote asset."""
    return EXACT.scaleb(Decimal(units), -DIGITS)


def settle(lots: int, kept_ppm: int, fee_ppm: int) -> tuple[int, int]:
    """(what a round trip adds to the balance, the fees in that), all in units; 64 bits are enough
    where they hold the proceeds.

    kept_ppm: what the sale fetches of each million paid. The proceeds are rounded down and both
    fees up, against us.
    """
    proceeds = lots // 1000000 * kept_ppm + lots % 1000000 * kept_ppm // 1000000
    buy_fee = lots // 1000000 * fee_ppm - (-(lots % 1000000 * fee_ppm) // 1000000)
    sell_fee = proceeds // 1000000 * fee_ppm - (-(proceeds % 1000000 * fee_ppm) // 1000000)
    return proceeds - lots - buy_fee - sell_fee, buy_fee + sell_fee


def fee_ppm(fee_rate: Decimal) -> int:
    """A fee rate in parts per million; BadField when it is none."""
    require(0 <= fee_rate < 1, "fee_rate", "must be a fraction from 0 to below 1")
    return ppm(fee_rate, "fee_rate")


def project(plan: Plan, fee_rate: Decimal) -> Course:
    """The course of a plan under one fee rate for both sides, in whole ppm. Raises BadField."""
    kept_ppm, fee = PPM + ppm(plan.gain, "gain"), fee_ppm(fee_rate)
    market = Market("BASE/QUOTE", Decimal(1), UNIT, UNIT, Decimal(0), DIGITS, fee_rate, fee_rate)
    policy = Policy(cap=plan.cap, fraction=plan.fraction, floor=plan.minimum)
    wish = Opportunity(market.symbol, price=Decimal(1))
    free, lock_out = plan.balance, None
    for trade in range(1, plan.trades + 1):
        size = size_order(wish, market, Amount(free, market.quote), policy)
        if isinstance(size, Refused):
            lock_out = LockOut(trade, size.reason, size.needed)
            break
        change, _ = settle(steps_down(size.quantity, UNIT), kept_ppm, fee)
        free = EXACT.add(free, money(change))
    profit = EXACT.subtract(free, plan.balance)
    return Course(free, profit, -ratio_up(-profit, plan.balance), lock_out)
