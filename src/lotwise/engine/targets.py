"""How much one entry may be besides the policy's share and cap: targets of risk, and the bar's volume.

Each is a hard limit on the notional in quote, rounded down; the sizing rule takes the smallest.
"""

from collections.abc import Iterator
from decimal import Decimal
from math import ceil

from lotwise.domain.market import Liquidity, Market
from lotwise.domain.values import EXACT, round_down, steps_down
from lotwise.engine.checks import Wish, tradable
from lotwise.engine.exits import exit_prices, worse_by

ROUNDINGS = 4
"""A cost, a proceed and two fees are each rounded against us by less than a quote unit."""


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
        budget = EXACT.subtract(
            EXACT.multiply(wish.equity, plan.risks.loss),
            EXACT.multiply(Decimal(ROUNDINGS), market.quote_unit),
        )
        yield _notional(EXACT.multiply(budget, wish.opportunity.price), loss_each(wish, market), market)
    if plan.risks.swing is not None and wish.swing > 0:
        swing = EXACT.scaleb(Decimal(ceil(wish.swing * 1_000_000)), -6)
        yield _notional(EXACT.multiply(wish.equity, plan.risks.swing), swing, market)
    if plan.limits.volume is not None:
        yield round_down(tradable(wish), market.quote_unit)


def _notional(budget: Decimal, loss: Decimal, market: Market) -> Decimal:
    """budget / loss in whole quote units, rounded down, and never below 0."""
    units = steps_down(budget, EXACT.multiply(loss, market.quote_unit))
    return EXACT.multiply(Decimal(max(units, 0)), market.quote_unit)


def loss_each(wish: Wish, market: Market) -> Decimal:
    """What each coin of a stopped-out entry loses in quote: the fall to the stop and the assumed slippage
    below it, each down to the tick, the fee on the entry, and the taker's fee on what the stop fetches."""
    plan, price = wish.plan, wish.opportunity.price
    stop, _ = exit_prices(market, price, plan.stop, plan.target)
    fetched = worse_by(plan.slippage, stop, market)
    entry_fee = EXACT.multiply(price, market.fee_rate(wish.opportunity.liquidity))
    exit_fee = EXACT.multiply(fetched, market.fee_rate(Liquidity.TAKER))
    return EXACT.add(EXACT.subtract(price, fetched), EXACT.add(entry_fee, exit_fee))
