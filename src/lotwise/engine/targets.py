"""How much one entry may be besides the policy's share and cap: targets of risk, and the bar's volume.

Each is a hard limit on the notional in quote, rounded down; the sizing rule takes the smallest.
"""

from collections.abc import Iterator
from decimal import Decimal

from lotwise.domain.market import Liquidity, Market
from lotwise.domain.values import EXACT, exact, round_down, steps_down
from lotwise.engine.checks import Wish, tradable


def risk_target(wish: Wish) -> Decimal | None:
    """The smallest of all limits that apply to a wish, in quote; None: none does. May be 0."""
    return min(_limits(wish), default=None)


def _limits(wish: Wish) -> Iterator[Decimal]:
    plan, market = wish.plan, wish.rules
    assert isinstance(market, Market), f"{wish.opportunity.symbol} has no rules"
    policy = plan.policies[wish.opportunity.symbol]
    if policy.risk_target is not None:
        yield policy.risk_target
    if plan.risks.loss is not None:
        yield _share(wish, plan.risks.loss, loss_fraction(wish, market))
    if plan.risks.swing is not None and wish.swing > 0:
        yield _share(wish, plan.risks.swing, exact(repr(wish.swing)))
    if plan.limits.volume is not None:
        yield round_down(tradable(wish), market.quote_unit)


def _share(wish: Wish, fraction: Decimal, loss: Decimal) -> Decimal:
    """The notional of which `loss` (a fraction) is this fraction of the equity, rounded down."""
    market = wish.rules
    assert isinstance(market, Market)
    budget = EXACT.multiply(wish.equity, fraction)
    units = steps_down(budget, EXACT.multiply(loss, market.quote_unit))
    return EXACT.multiply(Decimal(max(units, 0)), market.quote_unit)


def loss_fraction(wish: Wish, market: Market) -> Decimal:
    """What a stopped-out entry loses of its notional: the fall to the stop and the assumed slippage
    below it, the fee on the entry, and the taker's fee on what the stop fetches."""
    plan = wish.plan
    kept = EXACT.multiply(EXACT.subtract(Decimal(1), plan.stop), EXACT.subtract(Decimal(1), plan.slippage))
    entry_fee, exit_fee = market.fee_rate(wish.opportunity.liquidity), market.fee_rate(Liquidity.TAKER)
    return EXACT.add(EXACT.subtract(Decimal(1), kept), EXACT.add(entry_fee, EXACT.multiply(kept, exit_fee)))
