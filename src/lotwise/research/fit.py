"""What can a balance trade? Each pair's answer under the exact sizing rule, and how long it lasts."""

from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import Liquidity, Market, break_even_move
from lotwise.domain.orders import Opportunity
from lotwise.domain.policy import Policy, fixed
from lotwise.domain.sizing import Refused, Sized, size_order
from lotwise.domain.values import EXACT, Amount, round_down, round_up

LOSSES_LOOKED_AHEAD = 1_000


@dataclass(frozen=True, slots=True)
class Fit:
    """One pair: its size today or the remedy, and what trading it costs.

    size is the decision at `price`; break_even_move the rise (a fraction) that pays both fees;
    losses_to_lock_out the straight losing trades after which no order fits any more (None: more
    than LOSSES_LOOKED_AHEAD).
    """

    symbol: str
    price: Decimal
    size: Sized | Refused
    break_even_move: Decimal
    losses_to_lock_out: int | None


def fit(
    market: Market, price: Decimal, free: Amount, policy: Policy, roles: tuple[Liquidity, Liquidity]
) -> Fit:
    """The answer for one pair at a price (rounded down to its tick), flat, with this much free; roles: of
    the entry and of the sale at the target."""
    price, (entry, leave) = market.price_down(price), roles
    wish = Opportunity(market.symbol, price, entry)
    return Fit(
        market.symbol,
        price,
        size_order(wish, market, free, policy),
        break_even_move(market.fee_rate(entry), market.fee_rate(leave)),
        losses_to_lock_out(market, wish, free, policy),
    )


def losses_to_lock_out(market: Market, wish: Opportunity, free: Amount, policy: Policy) -> int | None:
    """Straight losses, each a sale at the stop as taker, until the next order no longer fits."""
    for losses in range(LOSSES_LOOKED_AHEAD):
        size = size_order(wish, market, free, policy)
        if isinstance(size, Refused):
            return losses
        got = round_down(size.exit_notional, market.quote_unit)
        fee = round_up(EXACT.multiply(size.exit_notional, market.taker_fee), market.quote_unit)
        free = free - Amount(size.debit, market.quote) + Amount(EXACT.subtract(got, fee), market.quote)
    return None


def fits_fixed(market: Market, price: Decimal, free: Amount, policy: Policy, size: Decimal) -> bool:
    """Whether a bot with one fixed order size could trade the pair."""
    wish = Opportunity(market.symbol, market.price_down(price))
    return isinstance(size_order(wish, market, free, fixed(size, policy)), Sized)
